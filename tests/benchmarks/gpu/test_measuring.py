"""The temperature trap as it shows in an answer, and figures of the cases that both engines have."""

from __future__ import annotations

import pytest

from benchmarks.gpu.measuring import TRAP, _between, _factor
from harness.engines.contract import Answer, Reading


def answer(**logits_by_path: tuple[float, ...]) -> Answer:
    readings = tuple(
        Reading(path=path.replace("_", "-"), argmax=(1,), logprobs=(0.0,), letter_logits=logits, log_z=5.0)
        for path, logits in logits_by_path.items()
    )
    return Answer(
        prompt_ids=(1,), generated_ids=(1,), text="", letter_ids=(1, 2, 3), answer_step=0, readings=readings
    )


LOGITS = (4.0, 2.0, -1.0, 0.5)


@pytest.mark.parametrize("factor", [1.25, 1.0])
def test_the_factor_of_the_trap(factor: float) -> None:
    scaled = tuple(factor * logit for logit in LOGITS)
    assert _factor(answer(captured=LOGITS, two_stage=scaled), 0.02) == pytest.approx(factor)


def test_rounding_is_no_factor() -> None:
    rounded = tuple(logit + (-1) ** n * 0.01 for n, logit in enumerate(LOGITS))
    assert _factor(answer(captured=LOGITS, two_stage=rounded), 0.02) == 1.0


def test_what_springs_the_trap_is_there() -> None:
    assert "STAGE_TWO_TEMPERATURE = 0.8" in TRAP.read_text()


def test_only_cases_that_both_have() -> None:
    one = answer(captured=LOGITS)
    assert _between("a", "b", {"a": {"x": one, "y": one}}, {"b": {"y": one}}).cases == 1
    assert _between("a", "b", {"a": {"x": one}}, {"b": {}}).cases == 0
