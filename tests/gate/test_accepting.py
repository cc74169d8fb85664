"""Which right answers an acceptance gives up."""

from __future__ import annotations

import pytest

from harness.gate.accepting import _lost
from harness.verdicts.verdict import CaseVerdict, Verdict


def case(verdict: Verdict, right: tuple[bool | None, bool | None]) -> CaseVerdict:
    return CaseVerdict(
        case="s.a",
        suite="s",
        place="s.yaml:1:1",
        verdict=verdict,
        reason="",
        letters=("A", "B"),
        expect="A",
        tags=(),
        baseline=(0.1, -0.1),
        candidate=(-0.1, 0.1),
        difference=(-0.2, 0.2),
        largest=0.2,
        sigma=0.1,
        limit=0.4,
        answers=(None, None),
        right=right,
        rest=None,
        gap=0.2,
        flip=None,
        flip_probability=None,
    )


@pytest.mark.parametrize("right", [(True, False), (True, None)])
def test_a_right_answer_lost_beyond_noise_is_given_up(right: tuple[bool | None, bool | None]) -> None:
    assert _lost([case(Verdict.REGRESSION, right)]) == ["s.a"]
    assert _lost([case(Verdict.INCONCLUSIVE, right)]) == ["s.a"]


def test_one_that_flips_within_noise_keeps_its_old_numbers_and_is_not() -> None:
    assert _lost([case(Verdict.NOISE, (True, False))]) == []


@pytest.mark.parametrize("right", [(True, True), (False, True), (False, False), (None, True)])
def test_what_was_not_right_before_cannot_be_given_up(right: tuple[bool | None, bool | None]) -> None:
    assert _lost([case(Verdict.DRIFT, right)]) == []
