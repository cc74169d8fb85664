"""Runs one version of LMDeploy for the tests beside it: ``python scenarios.py FILE``, in its environment."""

from __future__ import annotations

import importlib.metadata
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.engines.contract import Answer, EngineSettings, Request
from harness.engines.lmdeploy_pipeline import engine as lmdeploy_pipeline
from harness.engines.lmdeploy_pipeline import stages as lmdeploy_stages
from tests.engines.lmdeploy_pipeline.scenarios import refused

ROOT = Path(__file__).parents[2]
EMBEDDED = ROOT / "cases" / "models" / "embedded"
PROMPT = "What colour is the circle?\nA. red\nB. blue\nC. green\nD. grey\nAnswer with the option's letter."
PLAIN = EngineSettings(
    kind="lmdeploy",
    model=str(EMBEDDED),
    dtype="float32",
    device="cpu",
    paths=(),
    top_k=20,
    batch_size=8,
    options={"threads": 1},
)

facts: dict[str, Any] = {"version": importlib.metadata.version("lmdeploy")}


def requests() -> list[Request]:
    """One tile and three, and text only; a letter at once and behind a prefix; one and more tokens."""
    images = ("red-circle-centre", "blue-circle-top-left", "red-circle-top-left-112x56", None)
    made = []
    for number, name in enumerate(images):
        image = None if name is None else str(ROOT / "cases" / "images" / f"{name}.png")
        plain = Request(
            case=f"{name}", prompt=PROMPT, letters=tuple("ABCD"), images=() if image is None else (image,)
        )
        later = PROMPT.replace("the option's letter.", "'Answer: ' and the option's letter.")
        made.append(replace(plain, max_new_tokens=3 if number % 2 else None))
        made.append(replace(plain, case=f"{name}-later", prompt=later, answer_prefix="Answer: "))
    return made


@contextmanager
def loaded(**changes: Any) -> Iterator[Any]:
    engine = lmdeploy_pipeline.load(replace(PLAIN, **changes))
    try:
        yield engine
    finally:
        engine.close()


def answers(engine: Any, asked: Sequence[Request]) -> dict[str, Answer]:
    return {outcome.case: outcome.result for outcome in engine.score(asked)}


def gaps(answer: Answer) -> list[float]:
    """How far the generated tokens' log-probabilities are apart on the first path and in other accounts."""
    first, *others = answer.readings
    accounts = [*(reading.logprobs for reading in others), answer.reported_logprobs]
    return [abs(a - b) for other in accounts for a, b in zip(first.logprobs, other, strict=True)]


def paths() -> None:
    """Every case on all paths there are; the same again after stage two; and a batch of one."""
    asked = requests()
    with loaded() as engine:
        facts["fingerprint"] = engine.fingerprint()
        facts["lacking"] = dict(engine._probe.lacking)
        first, again = answers(engine, asked), answers(engine, asked)
    facts["answers"] = {
        case: {
            "ids": answer.generated_ids,
            "again": again[case].generated_ids,
            "text": answer.text,
            "paths": [reading.path for reading in answer.readings],
            "gap": max(gaps(answer)),
            "tiles": answer.question.tiles,
        }
        for case, answer in first.items()
    }
    with loaded(options={"threads": 1, "stage_two": "stepwise"}, paths=("two-stage",)) as engine:
        stepwise = answers(engine, asked)
    facts["stepwise"] = max(
        abs(a - b)
        for case, answer in stepwise.items()
        for a, b in zip(answer.readings[0].logprobs, first[case].readings[0].logprobs, strict=True)
    )


def temperature_trap() -> None:
    """One case alone without the guard: the first row's logits against the captured ones."""
    with loaded(batch_size=1) as engine:
        lmdeploy_stages.STAGE_TWO_TEMPERATURE = 0.8
        (answer,) = answers(engine, requests()[:1]).values()
        lmdeploy_stages.STAGE_TWO_TEMPERATURE = 1.0
    two_stage, captured = answer.readings
    facts["unguarded"] = [a / b for a, b in zip(two_stage.letter_logits, captured.letter_logits, strict=True)]


def remote_code() -> None:
    """A model with a Python file that must not run unasked."""
    with tempfile.TemporaryDirectory() as folder:
        model = Path(shutil.copytree(EMBEDDED, Path(folder) / "model"))
        (model / "modeling_strange.py").write_text("raise SystemExit('it ran')\n")
        facts["remote code"] = refused(lambda: lmdeploy_pipeline._trust(replace(PLAIN, model=str(model))))


def operators() -> None:
    """What the CPU plug-in's backend says, whichever way this LMDeploy asks for operators."""
    from types import SimpleNamespace

    from harness.engines.lmdeploy_on_cpu import plugin as lmdeploy_on_cpu
    from harness.engines.lmdeploy_on_cpu.ops import cacheless_attention, paged_attention

    plain = {"num_heads": 4, "head_size": 8, "head_dim": 8, "num_kv_heads": 2, "scale": None, "causal": True}
    facts["attention"] = {
        name: refused(lambda make=make, asked=asked: make({**plain, **asked}))  # type: ignore[misc]
        for name, make, asked in (
            ("plain", paged_attention, {"sliding_window": None, "alibi": False, "block_sparse_size": 1}),
            ("window", paged_attention, {"sliding_window": 16, "logit_softcapping": 50.0}),
            ("alibi", paged_attention, {"alibi": True}),
            ("flash window", cacheless_attention, {"sliding_window": (4, 4), "causal": False}),
            ("something new", paged_attention, {"tree_mask": True}),
        )
    }
    backend: Any = lmdeploy_on_cpu._backend()
    cache = SimpleNamespace(quant_policy=8, window_size=-1)
    facts["quantised cache"] = refused(lambda: backend.build_graph_runner(None, None, cache, None, None))
    if hasattr(backend, "build_op"):
        from lmdeploy.pytorch.backends.lora import LoRABuildSpec

        facts["adapter"] = refused(lambda: backend.build_op(LoRABuildSpec.__new__(LoRABuildSpec)))
    else:
        from lmdeploy.pytorch.backends.base import OpType

        facts["adapter"] = refused(lambda: backend.get_layer_impl_builder(OpType.LoRA))


def main() -> None:
    paths()
    temperature_trap()
    remote_code()
    operators()
    Path(sys.argv[1]).write_text(json.dumps(facts))


if __name__ == "__main__":
    main()
