"""Seconds of LMDeploy's ways to full logits, in turn, and of generation without them, on one pipeline.

Run as ``python -m benchmarks.time_lmdeploy ORDER RESULT`` in the engine's interpreter.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks.ratios import interleaved
from harness.engines.codec import request_from_json, settings_from_json
from harness.engines.contract import EngineSettings, Failure, Request
from harness.engines.lmdeploy_pipeline.engine import LmdeployPipeline, load
from harness.engines.lmdeploy_pipeline.options import AT_ONCE, CAPTURED, STEPWISE, TWO_STAGE
from harness.engines.lmdeploy_pipeline.stages import Stages
from harness.engines.lmdeploy_pipeline.steps.pytorch import PytorchSteps
from harness.errors import EngineError, ErrorKind

Ids = dict[str, tuple[int, ...]]


def generated(engine: LmdeployPipeline, requests: Sequence[Request]) -> Ids:
    """The ids generated for each case; raises `EngineError` for one that gets no answer."""
    ids = {}
    for case, result in engine.score(requests):
        if isinstance(result, Failure):
            raise EngineError(result.kind, result.message)
        ids[case] = result.generated_ids
    return ids


def generate_only(pipe: Any, requests: Sequence[Request], steps: Sequence[int]) -> Ids:  # noqa: ANN401
    """``pipe(messages)`` with the same options, but neither log-probabilities nor rows of logits."""
    from lmdeploy import GenerationConfig

    messages = []
    for request in requests:
        content: list[dict[str, Any]] = [{"type": "text", "text": request.prompt}]
        for at, shown in enumerate(request.images):
            with Image.open(shown) as image:
                content.insert(at, {"type": "image", "image": image.convert("RGB")})
        system = [] if request.system is None else [{"role": "system", "content": request.system}]
        messages.append([*system, {"role": "user", "content": content}])
    options = [
        GenerationConfig(max_new_tokens=most, do_sample=False, include_stop_str_in_output=True)
        for most in steps
    ]
    responses = pipe(messages, gen_config=options)
    return {request.case: tuple(r.token_ids) for request, r in zip(requests, responses, strict=True)}


def time_paths(
    settings: EngineSettings,
    pipe: Any,  # noqa: ANN401
    requests: Sequence[Request],
    repeats: int,
) -> dict[str, list[float]]:
    """All cases at once: bare generation, each path alone, and what the profile asks for.

    The seed method is stage two stepwise, a case at a time.
    """
    captured = LmdeployPipeline(replace(settings, paths=(CAPTURED,), top_k=0), pipe)
    two_stage = LmdeployPipeline(replace(settings, paths=(TWO_STAGE,), top_k=0), pipe)
    as_given = LmdeployPipeline(settings, pipe)
    one_by_one = replace(settings, batch_size=1, options={**settings.options, "stage_two": STEPWISE})
    seed = LmdeployPipeline(replace(one_by_one, paths=(TWO_STAGE,), top_k=0), pipe)
    expected = generated(captured, requests)
    steps = [len(expected[request.case]) for request in requests]
    work: dict[str, Callable[[], Ids]] = {
        "bare": partial(generate_only, pipe, requests, steps),
        "captured": partial(generated, captured, requests),
        "two-stage": partial(generated, two_stage, requests),
        "as-given": partial(generated, as_given, requests),
        "seed": partial(generated, seed, requests),
    }
    for name, once in work.items():
        if once() != expected:
            raise EngineError(ErrorKind.FAILED, f"{name} generates other ids: this is not the same work")
    return interleaved(work, repeats)


def time_stage_two(
    settings: EngineSettings,
    pipe: Any,  # noqa: ANN401
    request: Request,
    tokens: Sequence[int],
    repeats: int,
) -> dict[str, list[float]]:
    """Stage two of one case for several numbers of generated tokens, in one pass and stepwise.

    The tokens are put there by hand, since which ones they are costs nothing and a real answer is short.
    """
    loop, steps = pipe.internal_thread.loop, PytorchSteps(pipe.async_engine, settings)
    stages = {
        way: Stages(pipe.async_engine, steps, paths=(TWO_STAGE,), top_k=0, stage_two=way, image_options={})
        for way in (AT_ONCE, STEPWISE)
    }

    # The halves of Stages.score are its own; from outside they can be timed apart in no other way.
    async def begin() -> Any:  # noqa: ANN401
        return await stages[AT_ONCE]._stage_one(request)  # noqa: SLF001

    async def finish(way: str, given: Any) -> None:  # noqa: ANN401
        try:
            await stages[way]._stage_two(given)  # noqa: SLF001
        finally:
            steps.reset()

    one = asyncio.run_coroutine_threadsafe(begin(), loop).result()

    def once(way: str, count: int) -> None:
        given = replace(one, generated=replace(one.generated, ids=one.generated.ids[:1] * count))
        asyncio.run_coroutine_threadsafe(finish(way, given), loop).result()

    work = {f"{way} {count}": partial(once, way, count) for count in tokens for way in stages}
    return interleaved(work, repeats)


def main(order_file: str, result_file: str) -> None:
    """Time what the order names under ``measure``."""
    order = json.loads(Path(order_file).read_text(encoding="utf-8"))
    settings, repeats = settings_from_json(order["settings"]), order["repeats"]
    requests = [request_from_json(request) for request in order["requests"]]
    engine: Any = load(settings)
    pipe = engine._pipe  # noqa: SLF001 - the plain pipeline that the engine works with, and nothing else has it
    seconds: dict[str, dict[str, list[float]]] = {}
    if "stage two" in order["measure"]:
        with_image = next((request for request in requests if request.images), requests[0])
        seconds["stage two"] = time_stage_two(settings, pipe, with_image, order["tokens"], repeats)
    if "paths" in order["measure"]:
        seconds["paths"] = time_paths(settings, pipe, requests, repeats)
    engine.close()
    Path(result_file).write_text(json.dumps(seconds), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
