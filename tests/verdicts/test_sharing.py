"""How the comparisons of one call share its false alarms."""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from harness.verdicts.evidence import holm_levels
from harness.verdicts.judging import judge, shares
from harness.verdicts.noise_floor import NoiseFloor
from harness.verdicts.rules import ALPHA
from harness.verdicts.verdict import ComparisonVerdict, ExitStatus, Verdict
from tests.verdicts.changes import Floats, floor_of, noise_of, suite_changes

SIGMA = 0.02
CASES = 40


class _Drifts:
    """Comparisons of one noise, whose expected letters all moved by so many σ."""

    def __init__(self) -> None:
        rng = np.random.default_rng(4)
        truth = rng.normal(0, 1, (CASES, 4))
        truth[:, 0] = 6.0
        self._runs = [self._run(rng, truth) for _ in range(11)]
        self._floor: NoiseFloor = floor_of(truth, self._runs[2:])

    @staticmethod
    def _run(rng: np.random.Generator, truth: Floats) -> Floats:
        moved: Floats = truth + SIGMA * rng.normal(0, 1, truth.shape)
        return moved

    def comparison(self, shift: float) -> partial[ComparisonVerdict]:
        noise = noise_of(self._floor)
        after = self._runs[1].copy()
        after[:, 0] += shift * SIGMA
        return partial(
            judge,
            suite_changes(self._runs[0], after, noise),
            baseline="p/a",
            candidate="p/b",
            budgets={},
            margin=1e-9,
            noise=noise,
        )

    def slightly_below(self, alpha: float) -> partial[ComparisonVerdict]:
        """One whose smallest p-value is from 0.6 to 1.0 times ``alpha``."""
        low, high = 0.0, 3.0  # noise, and found for certain
        while True:
            found = self.comparison((low + high) / 2)
            least = min(test.adjusted for test in found().suites[0].evidence)
            if 0.6 * alpha < least <= alpha:
                return found
            low, high = (low, (low + high) / 2) if least <= alpha else ((low + high) / 2, high)


@pytest.fixture(scope="module")
def drifts() -> _Drifts:
    return _Drifts()


@pytest.fixture(scope="module")
def one(drifts: _Drifts) -> partial[ComparisonVerdict]:
    return drifts.slightly_below(ALPHA)


def _together(*comparisons: partial[ComparisonVerdict]) -> list[ComparisonVerdict]:
    levels = shares([each() for each in comparisons])
    return [each(alpha=level) for each, level in zip(comparisons, levels, strict=True)]


def test_one_alone_has_all_of_it(one: partial[ComparisonVerdict]) -> None:
    alone = one()
    assert alone.verdict is Verdict.DRIFT
    assert shares([alone]) == (ALPHA,)


def test_what_is_drift_alone_is_not_called_where_there_are_several(one: partial[ComparisonVerdict]) -> None:
    found = _together(one, one, one)
    assert [each.verdict for each in found] == [Verdict.NOISE] * 3
    assert {test.alpha for each in found for test in each.suites[0].evidence} == {ALPHA / 3}


def test_what_was_found_leaves_its_share_to_the_others(
    drifts: _Drifts, one: partial[ComparisonVerdict]
) -> None:
    far = drifts.comparison(20)
    found = _together(one, far)
    assert [each.verdict for each in found] == [Verdict.DRIFT] * 2  # Bonferroni would not call the first
    assert shares([one(), far()]) == (ALPHA, ALPHA / 2)


def test_one_without_an_answer_takes_no_ones_verdict(drifts: _Drifts) -> None:
    far = drifts.comparison(20)
    gone = replace(far(), suites=(), whole=None, cases=(), verdict=Verdict.ERROR, status=ExitStatus.ERROR)
    assert shares([gone, far()]) == (ALPHA, ALPHA / 2)


def test_levels_are_those_of_holms_steps() -> None:
    assert holm_levels([0.04, 0.001, 0.9, 0.02], alpha=0.06) == pytest.approx([0.03, 0.015, 0.03, 0.02])
    assert holm_levels([], alpha=0.06) == ()


@pytest.mark.parametrize("true", [6, 3, 1])
def test_however_many_there_are_a_call_raises_no_more_false_alarms(true: int) -> None:
    """Of six comparisons ``true`` have no effect, and the others one that is always found."""
    rng, calls, alpha = np.random.default_rng(1), 20_000, 0.05
    false = 0
    for ps in rng.uniform(size=(calls, true)):
        levels = holm_levels([*ps, *itertools.repeat(0.0, 6 - true)], alpha=alpha)
        false += any(p <= level for p, level in zip(ps, levels, strict=False))
    allowed = 3 * (alpha * (1 - alpha) / calls) ** 0.5
    assert false / calls < alpha + allowed
    assert false / calls > alpha - allowed - alpha**2  # and none of the power is given away


def test_the_worst_status_is_what_is_beyond_budget_then_an_error_then_inconclusive() -> None:
    order = [ExitStatus.FAILED, ExitStatus.ERROR, ExitStatus.INCONCLUSIVE, ExitStatus.PASSED]
    for place, status in enumerate(order):
        assert ExitStatus.worst(set(order[place:])) is status
