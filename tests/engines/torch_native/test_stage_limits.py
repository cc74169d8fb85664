"""What `check_stages` lets pass and finds on the embedded model, where one of its paths has a fault.

Both paths are `forward` of the engine ``torch``: one as it is, the other with a fault planted into its model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.checks.stages import check_stages
from harness.checks.tolerances import resolve
from harness.engines.contract import Answer, Request
from harness.recordings.store import Recording
from tests.engines.torch_native.asking import EMBEDDED, LETTERS, answers_of, loaded

pytestmark = [pytest.mark.slow, pytest.mark.engines]

CASES = Path(__file__).parents[3] / "cases"


@cache
def requests() -> tuple[Request, ...]:
    suite = yaml.safe_load((CASES / "shapes.yaml").read_text())
    return tuple(
        Request(
            case=case["id"],
            prompt=case.get("prompt", suite["defaults"].get("prompt")),
            letters=LETTERS,
            images=(str(CASES / case["image"]),),
        )
        for case in suite["cases"]
    )


def answers(plant: Callable[[Any], None] = lambda model: None, **changes: Any) -> dict[str, Answer]:
    engine = loaded(EMBEDDED, paths=("forward",), **changes)
    plant(engine._passes.model)
    return answers_of(engine, requests())


@pytest.fixture(scope="module")
def right() -> dict[str, Answer]:
    return answers()


def failing(right: dict[str, Answer], other: dict[str, Answer]) -> list[str]:
    """The cases whose paths are found to contradict one another."""
    limits, failed = resolve("float32"), []
    for case, answer in right.items():
        second = replace(other[case].readings[0], path="generate")
        both = replace(answer, readings=(answer.readings[0], second))
        recording = Recording(key="", case=case, engine="e", answer=both, fingerprint={})
        failed += [] if check_stages(recording, LETTERS, limits) else [case]
    return failed


@pytest.mark.parametrize("changes", [{"batch_size": 1}, {"options": {"attention": "eager"}}])
def test_another_batch_or_kernel_passes(right: dict[str, Answer], changes: dict[str, Any]) -> None:
    assert failing(right, answers(**changes)) == []


def epsilon(model: Any) -> None:
    """Of one norm of the vision tower; of some nearer to the end it moves less than rounding does."""
    model.model.vision_tower.encoder.layer[1].layernorm_after.eps *= 100


def head(model: Any) -> None:
    import torch

    with torch.no_grad():
        model.model.language_model.layers[2].self_attn.o_proj.weight[:, :32] *= 1.01


def bfloat16(model: Any) -> None:
    import torch

    def as_dtype(value: Any, dtype: torch.dtype) -> Any:
        if isinstance(value, tuple):
            return tuple(as_dtype(each, dtype) for each in value)
        return value.to(dtype) if torch.is_tensor(value) and value.is_floating_point() else value

    layer = model.model.language_model.layers[2].to(torch.bfloat16)
    layer.register_forward_pre_hook(
        lambda _, args, named: (
            as_dtype(args, torch.bfloat16),
            {name: as_dtype(value, torch.bfloat16) for name, value in named.items()},
        ),
        with_kwargs=True,
    )
    layer.register_forward_hook(lambda _, __, out: as_dtype(out, torch.float32))


@pytest.mark.parametrize(
    ("plant", "least"),
    [(epsilon, 5), (head, None), (bfloat16, None)],
)
def test_a_fault_of_one_path_is_found(
    right: dict[str, Answer], plant: Callable[[Any], None], least: int | None
) -> None:
    """``least`` is in how many cases, None for all."""
    found = failing(right, answers(plant))
    assert len(found) >= (len(right) if least is None else least)
