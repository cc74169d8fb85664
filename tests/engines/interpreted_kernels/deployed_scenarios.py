"""Runs what users deploy on interpreted kernels: ``python deployed_scenarios.py FOLDER [NAME...]``.

The models are made in FOLDER, where ``deployed.json`` is left with all answers. One process,
since the interpreter stays mended. The references are Transformers in float32, some of them quantised
as LMDeploy's kernels do it.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.engines.contract import Answer, Engine, EngineSettings, Request
from harness.engines.interpreted_kernels.installing import install

SETTINGS = EngineSettings(
    kind="lmdeploy", model="", dtype="float32", device="cpu", paths=("captured",), top_k=5, batch_size=3,
    options={"kernels": "interpreted", "processors": 8, "threads": 1},
)  # fmt: skip
install(SETTINGS)

import torch  # noqa: E402
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS  # noqa: E402

from harness.engines.lmdeploy_pipeline import engine as lmdeploy_pipeline  # noqa: E402
from harness.engines.torch_native import engine as torch_native  # noqa: E402
from tests.engines.interpreted_kernels.deployed_models import (  # noqa: E402
    CACHE,
    END,
    IMAGE,
    POISON,
    QUESTIONS,
    SYSTEM,
    make,
)

PAGES: dict[str, Any] = {"block_size": 64, "num_gpu_blocks": 6}
"""So few that they are used again at once."""

made: dict[str, Any] = {}


def requests(*, pictured: bool = False, random: bool = False) -> list[Request]:
    """Three cases that begin with one system message; ``pictured`` with an image, the last without.

    What a ``random`` model writes holds no answer: its answer is what it writes first, of three tokens.
    """
    return [
        Request(
            case=name,
            prompt=f"{question}\n{END}",
            letters=tuple("ABCD"),
            images=(str(IMAGE),) if pictured and name != "place" else (),
            system=SYSTEM,
            answer_prefix="" if random else "Answer: ",
            max_new_tokens=3,
        )
        for name, (question, _) in QUESTIONS.items()
    ]


def told(result: object) -> dict[str, Any]:
    if not isinstance(result, Answer):
        return {"failure": f"{result.kind.value}: {result.message}"}  # type: ignore[attr-defined]
    (reading,) = result.readings
    return {
        "ids": list(result.generated_ids),
        "tokens": len(result.prompt_ids),
        "logprobs": list(reading.logprobs),
        "letters": list(reading.letter_logits),
    }


def answers(engine: Engine, asked: Sequence[Request]) -> dict[str, Any]:
    return {outcome.case: told(outcome.result) for outcome in engine.score(asked)}


def run(
    name: str,
    model: Path,
    asked: Sequence[Request],
    *,
    path: str = "captured",
    batch: int = 3,
    **options: Any,
) -> None:
    """Leave the answers of LMDeploy's interpreted kernels, and what its scheduler tells."""
    options = {**SETTINGS.options, **options}
    settings = replace(SETTINGS, model=str(model), paths=(path,), batch_size=batch, options=options)
    started = time.process_time()
    engine = lmdeploy_pipeline.load(settings)
    assert isinstance(engine, lmdeploy_pipeline.LmdeployPipeline)
    try:
        if name.startswith("chunked"):
            made[f"{name}, refused"] = answers(engine, asked)
            lifted: Any = engine._steps
            del lifted.limits["max_prefill_token_num"]
        made[name] = {"answers": answers(engine, asked), "seconds": time.process_time() - started}
        made[name]["hits"] = engine._engine.engine.scheduler.block_trie.stats.num_hit_tokens
    finally:
        engine.close()


def natively(name: str, model: Path, asked: Sequence[Request]) -> None:
    """Leave Transformers' answers in float32."""
    settings = replace(SETTINGS, kind="torch", model=str(model), paths=("forward",), options={"threads": 1})
    engine = torch_native.load(settings)
    made[name] = {"answers": answers(engine, asked)}
    engine.close()


@contextmanager
def quantised_cache(bits: int) -> Iterator[None]:
    """Have Transformers attend over keys and values that went through LMDeploy's cache of ``bits``.

    Per token and head, from the smallest value to the largest (`_quant_int8` and `_quant_int4` of
    lmdeploy/pytorch/kernels/cuda/fill_kv_cache.py). Prefill and decoding both read them from the cache.
    """
    plain = ALL_ATTENTION_FUNCTIONS["sdpa"]

    def kept(values: torch.Tensor) -> torch.Tensor:
        least, most = values.amin(-1, keepdim=True), values.amax(-1, keepdim=True)
        scale = (most - least) / (2**bits - 1)
        zero = -least / scale
        return (torch.floor(values / scale + zero + 0.5) - zero) * scale

    def attend(module: Any, query: Any, key: Any, value: Any, *rest: Any, **named: Any) -> Any:
        if hasattr(module, "layer_idx"):  # not that of the vision model, which has no cache
            key, value = kept(key), kept(value)
        return plain(module, query, key, value, *rest, **named)

    ALL_ATTENTION_FUNCTIONS["sdpa"] = attend
    try:
        yield
    finally:
        ALL_ATTENTION_FUNCTIONS["sdpa"] = plain


@contextmanager
def eight_bit_layers(vocabulary: int = 704) -> Iterator[None]:
    """Have Transformers' linear layers multiply in eight bits, all but the head, as LMDeploy's W8A8.

    Weights by output, inputs by token, to -127..127, ties away from zero (`per_channel_quant`,
    `rms_norm_quant_kernel` and `_per_token_quant_int8`).
    """
    plain = torch.nn.Linear.forward

    def quantised(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        scale = values.abs().amax(-1, keepdim=True) / 127
        steps = values / scale
        return torch.copysign(torch.floor(steps.abs() + 0.5), steps).clamp(-128, 127), scale

    def forward(self: torch.nn.Linear, values: torch.Tensor) -> torch.Tensor:
        if self.out_features == vocabulary:
            return plain(self, values)
        (left, left_scale), (right, right_scale) = quantised(values), quantised(self.weight)
        found = left @ right.T * left_scale * right_scale.T  # whole numbers below 2**24 are exact
        return found if self.bias is None else found + self.bias

    torch.nn.Linear.forward = forward
    try:
        yield
    finally:
        torch.nn.Linear.forward = plain


def poisoned(models: dict[str, Path]) -> None:
    """A case that meets a NaN in the weights, then healthy ones in the pages that it leaves; and alone."""
    healthy = requests()[0]
    bad = replace(healthy, case="bad", prompt=f"{POISON * 20}{healthy.prompt}")
    run("healthy alone", models["poison"], [healthy, replace(healthy, case="again")], batch=1, **PAGES)
    run("healthy behind", models["poison"], [bad, healthy, replace(healthy, case="again")], batch=1, **PAGES)


def main(folder: Path, *names: str) -> None:
    torch.set_num_threads(1)
    models = make(folder)
    texts, pictures, guesses = requests(), requests(pictured=True), requests(random=True)

    def cached(name: str, asked: list[Request]) -> None:
        natively(f"{name}, natively", models[name], asked)
        for bits in (8, 4):
            run(f"{name}, kv{bits}", models[name], asked, quant_policy=bits)
            with quantised_cache(bits):
                natively(f"{name}, kv{bits}, natively", models[name], asked)

    def text() -> None:
        natively("text, natively", models["text"], texts)
        run("plain", models["text"], texts)
        for kind in ("cold", "warm"):
            run(kind, models["text"], texts, prefix_cache=kind, **CACHE)
        run("warm, kv8", models["text"], texts, prefix_cache="warm", quant_policy=8, **CACHE)
        with quantised_cache(8):
            natively("warm, kv8, natively", models["text"], texts)
        for path in ("captured", "top-k"):
            run(f"chunked, {path}", models["text"], texts, path=path, max_prefill_token_num=32)

    def experts() -> None:
        natively("experts, natively", models["experts"], guesses)
        run("experts", models["experts"], guesses)

    def eight() -> None:
        run("w8a8", models["w8a8"], texts)
        with eight_bit_layers():
            natively("w8a8, natively", models["text"], texts)

    parts: dict[str, Callable[[], None]] = {
        "text": text,
        "experts": experts,
        "w8a8": eight,
        "embedded": lambda: cached("embedded", pictures),
        "heads": lambda: cached("heads", guesses),
        "poison": lambda: poisoned(models),
    }
    for name in names or parts:
        parts[name]()
    (folder / "deployed.json").write_text(json.dumps(made))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
