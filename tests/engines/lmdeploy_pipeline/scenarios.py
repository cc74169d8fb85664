"""Runs the real LMDeploy for test_engine.py: ``python scenarios.py FOLDER``.

LMDeploy needs the CPU device plug-in before it is imported, and leaves threads behind; so all that is asked
of the real engine runs here, in one process of its own, and pytest looks at what it left in FOLDER:
``NAME.json`` with the answers of the engine NAME by case, ``NAME.npz`` with their rows, and ``facts.json``.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from harness.engines.codec import answer_to_json
from harness.engines.contract import Answer, EngineSettings, Failure, Json, Request
from harness.engines.images import open_image
from harness.engines.lmdeploy_pipeline import engine as lmdeploy_pipeline
from harness.engines.lmdeploy_pipeline import prompts as lmdeploy_prompts
from harness.engines.lmdeploy_pipeline import stages as lmdeploy_stages
from harness.errors import EngineError
from tests.engines.lmdeploy_pipeline.scenario_models import (
    BOTH,
    CONFIG,
    EMBEDDED,
    FOLDER,
    facts,
    images,
    in_bfloat16,
    later,
    newer_items,
    random_model,
    random_stopping,
    requests,
    with_config,
)


def settings(model: Path = EMBEDDED, **changes: Any) -> EngineSettings:
    plain = EngineSettings(
        kind="lmdeploy",
        model=str(model),
        dtype="float32",
        device="cpu",
        paths=BOTH,
        top_k=20,
        batch_size=8,
        options={"threads": 1},
    )
    return replace(plain, **changes)


@contextmanager
def loaded(made: EngineSettings) -> Iterator[lmdeploy_pipeline.LmdeployPipeline]:
    engine = lmdeploy_pipeline.load(made)
    assert isinstance(engine, lmdeploy_pipeline.LmdeployPipeline)
    try:
        yield engine
    finally:
        engine.close()


def keep(name: str, results: dict[str, Answer | Failure]) -> None:
    """Leave the results of the engine ``name`` for pytest."""
    answers: dict[str, Json] = {}
    rows = {}
    for case, result in results.items():
        if isinstance(result, Failure):
            answers[case] = {"failure": result.kind.value, "message": result.message}
            continue
        answers[case] = answer_to_json(result)
        rows.update({f"{case}/{path}": row for path, row in result.rows.items()})
    (FOLDER / f"{name}.json").write_text(json.dumps(answers))
    np.savez(FOLDER / f"{name}.npz", **rows)  # type: ignore[arg-type]


def picture_only(path: str) -> list[dict[str, Any]]:
    """A conversation that is a picture and nothing else, in the form that the engine gives it."""
    request = Request(case="picture", prompt="", letters=("A",), images=(path,))
    (message,) = lmdeploy_prompts.messages(request, [open_image(path)])
    return [{**message, "content": message["content"][:1]}]


def score(engine: Any, asked: Sequence[Request]) -> dict[str, Answer | Failure]:
    return {outcome.case: outcome.result for outcome in engine.score(asked)}


def generated(result: Answer | Failure) -> tuple[int, ...]:
    assert isinstance(result, Answer), result
    return result.generated_ids


def refused(call: Callable[[], object]) -> dict[str, str]:
    try:
        call()
    except EngineError as error:
        return {"kind": error.kind.value, "message": error.message}
    return {"kind": "none", "message": "nothing was raised"}


def three_ways(pictures: dict[str, str], random: Path) -> None:
    """The same cases by LMDeploy in one pass, stepwise and captured, and by Transformers."""
    from harness.engines.torch_native import engine as torch_native

    asked = requests(pictures, None)
    asked = [*asked, *map(later, asked)]
    for model, cases in ((EMBEDDED, asked), (random, requests(pictures, 12))):
        with loaded(settings(model)) as engine:
            keep(f"{model.name}-both", score(engine, cases))
            keep(f"{model.name}-again", score(engine, cases))  # after stage two, in the same engine
        stepwise = settings(model, paths=("two-stage",), options={"threads": 1, "stage_two": "stepwise"})
        with loaded(stepwise) as engine:
            keep(f"{model.name}-stepwise", score(engine, cases))
        native = torch_native.load(
            settings(model, kind="torch", paths=("generate",), options={"threads": 1}, batch_size=1)
        )
        keep(f"{model.name}-transformers", score(native, cases))

    stopping = random_stopping(random, json.loads((FOLDER / "random-both.json").read_text()))
    cases = requests(pictures, 12)
    with loaded(settings(stopping)) as engine:
        keep("stopping-both", score(engine, cases))
    native = torch_native.load(
        settings(stopping, kind="torch", paths=("generate",), options={"threads": 1}, batch_size=1)
    )
    keep("stopping-transformers", score(native, cases))


def public_call(pictures: dict[str, str], random: Path) -> None:
    """What ``pipe(messages)`` itself answers; and pixels next to those of Transformers."""
    from lmdeploy import GenerationConfig
    from PIL import Image
    from transformers import AutoProcessor

    asked = requests(pictures, 5)
    with loaded(settings(random)) as engine:
        messages = []
        for request in asked:
            content: list[dict[str, Any]] = [
                {"type": "text", "text": part}
                if isinstance(part, str)
                else {"type": "image", "image": request.images[part]}
                for part in request.parts
            ]
            system = [{"role": "system", "content": request.system}] if request.system is not None else []
            messages.append([*system, {"role": "user", "content": content}])
        responses = engine._pipe(
            messages, gen_config=GenerationConfig(max_new_tokens=5, do_sample=False, logprobs=20)
        )
        facts["public"] = {
            request.case: {
                "ids": response.token_ids,
                "prompt_tokens": response.input_token_len,
                "logprobs": [
                    entries[token]
                    for token, entries in zip(response.token_ids, response.logprobs, strict=True)
                ],
            }
            for request, response in zip(asked, responses, strict=True)
        }
        keep("public", score(engine, asked))

        processor = AutoProcessor.from_pretrained(EMBEDDED)
        facts["pixels"] = {}
        for name, path in pictures.items():
            image = Image.open(path).convert("RGB")
            wanted = processor.image_processor(image, crop_to_patches=True, return_tensors="pt").pixel_values
            prepared = engine._in_loop(engine._steps.prepare(picture_only(path))).result()
            found = prepared.inputs["multimodal"][0]["pixel_values"]
            facts["pixels"][name] = {"tiles": len(found), "equal": bool((found == wanted).all())}


def temperature_trap(pictures: dict[str, str]) -> None:
    """A case scored alone, with the guard and without."""
    asked = requests(pictures, None)[:1]
    with loaded(settings()) as engine:
        keep("guarded", score(engine, asked))
        lmdeploy_stages.STAGE_TWO_TEMPERATURE = 0.8
        try:
            keep("unguarded", score(engine, asked))
        finally:
            lmdeploy_stages.STAGE_TWO_TEMPERATURE = 1.0


def what_stage_two_leaves(pictures: dict[str, str], random: Path) -> None:
    """Generation after stage two, where nothing is done about the state that it leaves behind."""
    asked = requests(pictures, 6)
    with loaded(settings(random)) as engine:
        before = score(engine, asked)
        engine._engine.engine.executor.model_agent.reset_runtime_state = lambda: None
        score(engine, asked)
        try:
            after = score(engine, asked)
        except EngineError as error:
            facts["without_reset"] = {"same": 0, "message": error.message}
        else:
            same = [generated(after[case]) == generated(before[case]) for case in before]
            facts["without_reset"] = {"same": sum(same), "of": len(same)}


def small_cache(pictures: dict[str, str], random: Path) -> None:
    """A cache that holds two cases of eight, first as it is shared out, then with all let in at once."""
    asked = requests(pictures, 40)
    options = {"threads": 1, "block_size": 16, "num_gpu_blocks": 16}
    with loaded(settings(random, options=options)) as engine:
        keep("small-cache", score(engine, asked))
    with loaded(settings(random, options=options, paths=("captured",))) as engine:
        steps: Any = engine._steps
        steps._room._free = steps._room._blocks = 10**6
        keep("crowded-cache", score(engine, asked))
    with loaded(settings(random, paths=("captured",))) as engine:
        keep("ample-cache", score(engine, asked))


def dtypes(pictures: dict[str, str]) -> None:
    """Which dtype is loaded, and pixels are rounded to, for what is asked and what the checkpoint has."""
    half = in_bfloat16()
    asked = requests(pictures, None)
    facts["dtypes"] = {}
    for model, dtype in (
        (EMBEDDED, "auto"),
        (EMBEDDED, "bfloat16"),
        (EMBEDDED, "float16"),
        (half, "auto"),
        (half, "float32"),
    ):
        with loaded(settings(model, dtype=dtype)) as engine:
            fingerprint = engine.fingerprint()
            name = f"{model.name}-{dtype}"
            prepared = engine._in_loop(engine._steps.prepare(picture_only(pictures["square"]))).result()
            facts["dtypes"][name] = {
                "dtype": fingerprint["dtype"],
                "logits": fingerprint["logits"]["dtype"],  # type: ignore[index,call-overload]
                "pixels": str(prepared.inputs["multimodal"][0]["pixel_values"].dtype),
            }
            keep(name, score(engine, asked))


def refusals(pictures: dict[str, str]) -> None:
    """Settings and models that must not be scored."""
    load = lmdeploy_pipeline.load
    quantised = {"quant_method": "awq", "bits": 4}
    facts["refused"] = {
        "top_k": refused(lambda: load(settings(top_k=CONFIG["text_config"]["vocab_size"] + 1))),
        "no_gpu": refused(lambda: load(settings(device="cuda", dtype="float16"))),
        "no_folder": refused(lambda: load(settings(FOLDER / "nothing"))),
        "no_model": refused(lambda: load(settings(FOLDER))),
        "misfit": refused(lambda: load(settings(with_config("misfit", {"architectures": None})))),
        "weights": refused(lambda: load(settings(with_config("quantised", quantization_config=quantised)))),
        "engine_option": refused(lambda: load(settings(options={"cache_max_entry_count": 7}))),
    }


def failures(pictures: dict[str, str], random: Path) -> None:
    """Cases that fail on their own, next to one that does not."""
    import torch

    good = requests(pictures, None)[0]
    broken = FOLDER / "broken.png"
    broken.write_bytes(b"no image at all")
    half = FOLDER / "half.png"
    whole = Path(pictures["large"]).read_bytes()
    half.write_bytes(whole[: len(whole) // 2])
    bad = {
        "no-such-image": replace(good, images=(str(FOLDER / "missing.png"),)),
        "broken-image": replace(good, images=(str(broken),)),
        "half-an-image": replace(good, images=(str(half),)),
        "letters": replace(good, answer_prefix="a prefix that ends in a letter: X", letters=("A", "a")),
        "too-long": replace(good, prompt="red " * 1200),
        "too-many": replace(good, max_new_tokens=990),
        "placeholder": replace(good, images=(), prompt="<IMG_CONTEXT> is no picture"),
    }
    asked = [good, *(replace(request, case=name) for name, request in bad.items())]
    with loaded(settings(options={"threads": 1, "session_len": 1000})) as engine:
        keep("failures", score(engine, asked))
    with loaded(settings(options={"threads": 1, "max_prefill_token_num": 40})) as engine:
        keep("chunked", score(engine, [good]))
    with loaded(settings(random)) as engine:
        model = engine._engine.engine.executor.model_agent.patched_model.get_model()
        (first,) = generated(score(engine, [good])[good.case])
        with torch.inference_mode():
            model.lm_head.weight[CONFIG["image_token_id"]] = 2 * model.lm_head.weight[first]
        keep("placeholder", score(engine, [replace(good, max_new_tokens=3), replace(good, case="other")]))


def broken_engines(pictures: dict[str, str]) -> None:
    """Weights that are no numbers, and an engine whose loop ends."""
    import torch

    asked = requests(pictures, None)[:3]
    with loaded(settings()) as engine:
        model = engine._engine.engine.executor.model_agent.patched_model.get_model()
        with torch.inference_mode():
            model.lm_head.weight[7] = float("nan")
        keep("not-finite", score(engine, asked))
    facts["ended"] = {}
    for name, planted in {
        "crash": RuntimeError("planted"),
        "memory": torch.OutOfMemoryError("planted"),
    }.items():
        with loaded(settings()) as engine:

            def fail(*_: object, error: Exception = planted, **__: object) -> None:
                raise error

            engine._engine.engine.executor.model_agent._forward_impl = fail
            started = time.monotonic()
            facts["ended"][name] = refused(lambda engine=engine: score(engine, asked))  # type: ignore[misc]
            facts["ended"][name]["seconds"] = time.monotonic() - started


def placeholders() -> None:
    """An item that tells where its placeholders are; as it is, and with one that was spelled out."""
    made = newer_items()
    ids, mark = made["input_ids"], made["placeholder"]
    facts["placeholders"] = {
        "keys": sorted(made["multimodal"][0]),
        "count": ids.count(mark),
        "sound": refused(lambda: lmdeploy_prompts.check_placeholders(made, mark)),
        "spelled": refused(
            lambda: lmdeploy_prompts.check_placeholders({**made, "input_ids": [*ids, mark]}, mark)
        ),
    }


def memory_at_load() -> None:
    """A vision tower for which memory does not suffice, or whose kernels fail, and what it was shown."""
    import torch
    from lmdeploy.pytorch.models import internvl3_hf

    forward = internvl3_hf.InternVLVisionEncoder.forward
    facts["vision"] = {}
    for name, error in {
        "crash": RuntimeError("planted"),
        "memory": torch.OutOfMemoryError("planted"),
    }.items():
        shown: list[int] = []

        def fail(_: object, inputs_embeds: Any, error: Exception = error, shown: list[int] = shown) -> None:
            shown.append(len(inputs_embeds))
            raise error

        internvl3_hf.InternVLVisionEncoder.forward = fail
        facts["vision"][name] = {**refused(lambda: lmdeploy_pipeline.load(settings())), "shown": shown}
    internvl3_hf.InternVLVisionEncoder.forward = forward


def main() -> None:
    pictures = images()
    started = time.monotonic()
    with loaded(settings()) as engine:  # puts the plug-in in place, before anything imports torch
        facts["load_seconds"] = time.monotonic() - started
        import torch

        facts["cuda_available"] = torch.cuda.is_available()
        facts["fingerprint"] = engine.fingerprint()
    random = random_model()
    three_ways(pictures, random)
    public_call(pictures, random)
    temperature_trap(pictures)
    what_stage_two_leaves(pictures, random)
    small_cache(pictures, random)
    dtypes(pictures)
    refusals(pictures)
    failures(pictures, random)
    broken_engines(pictures)
    placeholders()
    memory_at_load()
    (FOLDER / "facts.json").write_text(json.dumps(facts))


if __name__ == "__main__":
    main()
