"""The statistical tests: against published figures, and each made to find something and nothing."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from harness.verdicts.evidence import (
    Open,
    accuracy_test,
    case_limit,
    evidence,
    found_from,
    holm,
    mean_power,
    mean_test,
    spread_of,
    spread_power,
    spread_test,
)
from harness.verdicts.flips import NEVER, Ladder, at_least, flip_chances
from harness.verdicts.scale import Floats

CASES_ALONE = Open(0.5 / 17, 0.0, clusters=10**9, runs=math.inf)
RUNS_TOO = Open(0.5 / 17, 0.1, clusters=17, runs=5)


def test_the_limit_of_a_case_is_the_normal_quantile_of_the_published_rule() -> None:
    # k = z(1 - 0.005/m): 3.7 for 50 cases, 4.1 for 200, 4.4 for 1,000; two letters leave one comparison.
    for cases, quantile in ((50, 3.7), (200, 4.1), (1000, 4.4)):
        limit = case_limit(0.01 / cases, letters=2, sigma=1.0, freedom=math.inf, seen=0.0)
        assert limit == pytest.approx(quantile, abs=0.06)
    assert case_limit(0.01, letters=2, sigma=1e-6, freedom=math.inf, seen=0.1) == 0.2


def test_a_spread_is_held_against_what_is_open_about_it() -> None:
    assert spread_test(1.0, CASES_ALONE, clusters=17, budget=1.0).p == pytest.approx(0.5)
    assert spread_test(2.0, CASES_ALONE, clusters=17, budget=1.0).p < 1e-4
    assert spread_test(2.0, CASES_ALONE, clusters=17, budget=2.0).p == pytest.approx(0.5)
    assert spread_test(0.0, CASES_ALONE, clusters=17, budget=1.0).p == 1.0  # bit-equal answers
    assert spread_test(2.0, RUNS_TOO, clusters=17, budget=1.0).p > 0.01


def test_the_interval_of_a_spread_and_its_test_and_its_power_agree() -> None:
    estimate = spread_of(1.3, RUNS_TOO)
    assert estimate.low <= estimate.value <= estimate.high
    assert spread_test(1.3, RUNS_TOO, clusters=17, budget=estimate.low).p == pytest.approx(0.05)
    least = found_from(RUNS_TOO, alpha=0.01)
    assert spread_test(least, RUNS_TOO, clusters=17, budget=1.0).p == pytest.approx(0.01)
    assert spread_power(least, RUNS_TOO, alpha=0.01) == pytest.approx(0.5)


def test_more_cases_narrow_what_they_vary_by_and_not_what_runs_differ_by() -> None:
    many = RUNS_TOO.at(17_000)
    assert many.by_cases == pytest.approx(RUNS_TOO.by_cases / 1000)
    assert many.by_runs == RUNS_TOO.by_runs
    # As published for one telling run of equal loudness: found from 1.42 times, however many cases.
    one_run = Open(0.2 / 10**6, 0.07**2 * 1.5, clusters=10**6, runs=8)
    assert found_from(one_run, alpha=0.01 / 6) == pytest.approx(1.42, abs=0.01)


def test_a_common_move_is_found_and_one_that_runs_have_too_is_not() -> None:
    few = Open(1.0 / 60, 0.0, clusters=60, runs=math.inf)
    assert mean_test("shift", -0.6, few, what="they").p < 1e-4
    assert mean_test("shift", 0.0, few, what="they").p == 1.0
    assert mean_test("shift", -0.6, Open(1.0 / 60, 0.25, clusters=60, runs=9), what="they").p > 0.1
    assert mean_power(0.6, few, alpha=0.01) > 0.95
    assert mean_power(0.1, few, alpha=0.01) < 0.1


def test_five_of_five_lost_are_the_fewest_that_mcnemar_finds_at_five_per_cent() -> None:
    assert accuracy_test(5, 0, 0.0, 0.0).p == pytest.approx(1 / 32)
    assert accuracy_test(4, 0, 0.0, 0.0).p > 0.05
    assert accuracy_test(0, 5, 0.0, 0.0).p == 1.0
    assert accuracy_test(0, 0, 1.0, 0.0).p == 1.0
    assert accuracy_test(10, 0, 0.4, 9.0).p == 0.4  # near-ties that were all right can only be lost


def test_holm_corrects_step_by_step() -> None:
    named = [evidence(name, 0.0, p, "x") for name, p in (("a", 0.01), ("b", 0.04), ("c", 0.03))]
    adjusted = {test.name: test.adjusted for test in holm(named, alpha=0.05)}
    assert adjusted == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06})
    assert [test.found for test in holm(named, alpha=0.05)] == [True, False, False]
    # Groups have tests of one name each.
    alike = holm([replace(test, name="same") for test in named], alpha=0.05)
    assert [test.found for test in alike] == [True, False, False]


def _chances(
    truth: Floats, sigma: float, *, reference: bool, seed: int = 3, runs: int = 4000
) -> tuple[float, float]:
    """How often two runs of cases of ``truth`` [n, L] differ at the top: seen, and as told beforehand."""
    rng = np.random.default_rng(seed)
    cases = np.repeat(truth, runs // len(truth), axis=0)
    before, after = (cases + sigma * rng.normal(size=cases.shape) for _ in range(2))
    known = cases if reference else np.full_like(cases, np.nan)
    variances, freedom = np.full((2, len(cases)), sigma**2), np.full(len(cases), math.inf)
    told = flip_chances(before, after, known, variances, freedom)
    return float((before.argmax(1) != after.argmax(1)).mean()), float(told.mean())


@pytest.mark.parametrize("letters", [2, 4, 6])
@pytest.mark.parametrize("reference", [True, False], ids=["reference", "midpoint"])
def test_near_ties_flip_as_often_as_they_are_said_to(letters: int, reference: bool) -> None:
    truth = np.random.default_rng(letters).normal(0, 0.02, (100, letters))
    seen, told = _chances(truth, 0.03, reference=reference)
    assert told == pytest.approx(seen, abs=0.03)
    assert seen > 0.2


def test_what_cannot_be_on_top_flips_nothing() -> None:
    logits = np.array([[1.0, 0.0, NEVER], [1.0, 1.0, NEVER]])
    sigma, freedom = np.full((2, 2), 0.1**2), np.full(2, math.inf)
    # Of a midpoint that is tied, one side is on either side of it.
    for reference, expected in ((logits, 0.5), (np.full_like(logits, np.nan), 1.0)):
        wide, tied = flip_chances(logits, logits, reference, sigma, freedom)
        assert wide < 1e-6
        assert tied == pytest.approx(expected, abs=0.01)
    heavy = flip_chances(logits, logits, logits, sigma, np.full(2, 4.0))
    assert heavy[0] > 1e-4  # a tail brings it where a normal law does not


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(0.0, 0.9), min_size=41, max_size=120), st.integers(1, 60))
def test_many_flips_are_counted_as_few_are(chances: list[float], count: int) -> None:
    exact = float(stats.poisson_binom.sf(count - 1, chances))
    assert at_least(count, np.array(chances)) == pytest.approx(exact, abs=0.02)


def test_flips_are_averaged_over_how_loud_noise_may_be() -> None:
    def chances(loudness: float) -> Floats:
        found: Floats = np.clip(np.full(30, 0.02 * loudness), 0.0, 1.0)
        return found

    sure = Ladder.of(chances, 1e-12, math.inf)
    assert sure.at_least(3) == pytest.approx(float(stats.binom.sf(2, 30, 0.02)), rel=1e-3)
    doubtful = Ladder.of(chances, 0.3**2, 8.0)
    assert doubtful.at_least(3) > sure.at_least(3)
    assert doubtful.at_least(0) == 1.0
    assert doubtful.at_least(31) == 0.0
    assert sure.like(60).middle.sum() == pytest.approx(2 * sure.middle.sum())
