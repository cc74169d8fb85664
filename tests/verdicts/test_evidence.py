"""The statistical tests: against published figures, and each made to find something and nothing."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from harness.verdicts.evidence import (
    accuracy_test,
    case_limit,
    case_p,
    cases_test,
    flip_p,
    flips_test,
    holm,
    lost_share,
    mean_of,
    shift_test,
    spread_of,
    spread_power,
    spread_test,
)
from harness.verdicts.noise_model import NoiseShape

CHI = math.sqrt(2 / math.pi)
NORMAL = NoiseShape(
    root=CHI,
    root_variance=math.pi / 2 - 1,
    root_between=0.0,
    shift_variance=1.0,
    shift_between=0.0,
    runs=math.inf,
)


def test_the_limit_of_a_case_is_the_normal_quantile_of_the_published_rule() -> None:
    # k = z(1 - 0.005/m): 3.7 for 50 cases, 4.1 for 200, 4.4 for 1,000; two letters leave one comparison.
    for cases, quantile in ((50, 3.7), (200, 4.1), (1000, 4.4)):
        limit = case_limit(0.01 / cases, letters=2, sigma=1.0, freedom=math.inf, seen=0.0)
        assert limit == pytest.approx(quantile, abs=0.06)


@given(
    st.floats(1e-6, 0.5),
    st.integers(2, 8),
    st.floats(1e-6, 10.0),
    st.floats(3.0, 200.0) | st.just(math.inf),
    st.floats(0.0, 5.0),
)
def test_the_limit_is_where_the_probability_is_reached(
    p: float, letters: int, sigma: float, freedom: float, seen: float
) -> None:
    limit = case_limit(p, letters=letters, sigma=sigma, freedom=freedom, seen=seen)
    assert case_p(limit * 1.001, letters=letters, sigma=sigma, freedom=freedom, seen=seen) <= p
    assert case_p(limit * 0.999, letters=letters, sigma=sigma, freedom=freedom, seen=seen) >= p * 0.999


def test_a_move_within_twice_what_runs_showed_is_noise_however_small_sigma_is() -> None:
    assert case_p(0.2, letters=4, sigma=1e-6, freedom=math.inf, seen=0.1) == 1.0
    assert case_p(0.21, letters=4, sigma=1e-6, freedom=math.inf, seen=0.1) < 1e-9


def test_a_flip_is_as_probable_as_noise_crossing_the_gap() -> None:
    assert flip_p(0.0, sigma=1.0, freedom=math.inf) == pytest.approx(0.5)
    assert flip_p(math.sqrt(2) * 1.6449, sigma=1.0, freedom=math.inf) == pytest.approx(0.05, abs=1e-4)
    assert flip_p(5.0, sigma=1.0, freedom=4.0) > flip_p(5.0, sigma=1.0, freedom=math.inf)


def test_the_smallest_of_many_probabilities_is_corrected_for_their_number() -> None:
    found = cases_test([0.5, 1e-4, 0.2], ["a", "b moved", "c"])
    assert found.p == pytest.approx(3e-4)
    assert "b moved" in found.text
    assert cases_test([0.5] * 9, ["a"] * 9).p == 1.0
    assert cases_test([], []).p == 1.0


def test_doubled_spread_is_found_in_seventeen_clusters() -> None:
    # Published for the mean square and α = .01, power .95: 17. The mean root needs a few more.
    noise = spread_test([CHI] * 17, NORMAL, budget=1.0)
    doubled = spread_test([2 * CHI] * 17, NORMAL, budget=1.0)
    assert noise.p == pytest.approx(0.5)
    assert doubled.p < 1e-3
    assert spread_test([2 * CHI] * 17, NORMAL, budget=2.0).p == pytest.approx(0.5)


def test_the_power_of_the_spread_test_is_that_of_a_normal_shift() -> None:
    assert spread_power(1.0, 30, NORMAL, alpha=0.01) == pytest.approx(0.01)
    assert spread_power(2.0, 17, NORMAL, alpha=0.01) == pytest.approx(0.876, abs=0.01)  # .95 by mean squares
    powers = [spread_power(1.5, n, NORMAL, alpha=0.01) for n in (10, 20, 40, 80)]
    assert powers == sorted(powers)


def test_spread_between_runs_makes_a_large_spread_less_surprising() -> None:
    loud = NoiseShape(
        root=CHI, root_variance=0.5, root_between=0.2, shift_variance=1.0, shift_between=0.0, runs=5
    )
    assert spread_test([2 * CHI] * 100, loud, budget=1.0).p > 0.01
    assert spread_test([2 * CHI] * 100, NORMAL, budget=1.0).p < 1e-12


@given(st.lists(st.floats(0.01, 10.0), min_size=1, max_size=50), st.floats(0.1, 10.0))
def test_the_interval_of_the_spread_holds_it_and_scales_with_it(roots: list[float], factor: float) -> None:
    estimate = spread_of(roots, NORMAL)
    assert estimate.low <= estimate.value <= estimate.high
    assert spread_of([factor * root for root in roots], NORMAL).high == pytest.approx(factor * estimate.high)


def test_the_interval_of_the_spread_and_its_test_agree() -> None:
    roots = [1.3 * CHI] * 30
    low = spread_of(roots, NORMAL).low
    assert spread_test(roots, NORMAL, budget=low).p == pytest.approx(0.05)


def test_a_common_shift_is_found_and_one_that_runs_have_too_is_not() -> None:
    assert shift_test([-0.6] * 60, NORMAL).p < 1e-4
    assert shift_test([0.6, -0.6] * 30, NORMAL).p == pytest.approx(1.0)
    wandering = NoiseShape(
        root=CHI, root_variance=0.5, root_between=0.0, shift_variance=1.0, shift_between=0.25, runs=9
    )
    assert shift_test([-0.6] * 60, wandering).p > 0.1


def test_the_mean_move_has_an_interval_as_wide_as_noise_at_least() -> None:
    estimate = mean_of([0.1] * 25, NORMAL, 0.5)
    assert estimate.value == pytest.approx(0.1)
    assert estimate.high - estimate.value > 1.64 * 0.5 / 5


def test_flips_are_counted_against_the_poisson_binomial() -> None:
    # Of equal chances it is the binomial.
    found = flips_test(4, [0.02] * 60)
    assert found.p == pytest.approx(float(stats.binom.sf(3, 60, 0.02)))
    assert flips_test(0, [0.02] * 60).p == 1.0
    assert flips_test(3, [0.5] * 6).p > 0.5  # near-ties may flip
    assert flips_test(1, [1e-9] * 6).p < 1e-7  # one that cannot


def test_five_of_five_lost_are_the_fewest_that_mcnemar_finds_at_five_per_cent() -> None:
    certain = [1e-9] * 100
    assert accuracy_test(5, 0, certain).p == pytest.approx(1 / 32)
    assert accuracy_test(4, 0, certain).p > 0.05
    assert accuracy_test(0, 5, certain).p == 1.0
    assert accuracy_test(0, 0, certain).p == 1.0


def test_near_ties_that_were_all_right_can_only_be_lost() -> None:
    assert accuracy_test(10, 0, [0.5] * 20).p > 0.4
    assert accuracy_test(10, 0, [1e-6] * 20).p == pytest.approx(1 / 1024)


def test_the_loss_that_cannot_be_excluded() -> None:
    # Nothing lost of 300: the rule of three, at 97.5%.
    assert lost_share(0, 0, 300) == pytest.approx(1 - 0.025 ** (1 / 300))
    assert lost_share(9, 0, 300) > 0.03


def test_a_floor_whose_values_are_all_alike_is_no_certainty() -> None:
    alike = replace(NORMAL, root_variance=0.0, shift_variance=0.0)
    assert spread_test([CHI] * 3, alike, budget=1.0).p == pytest.approx(0.5)
    assert shift_test([0.0] * 3, alike).p == 1.0
    assert spread_of([CHI], alike).low <= 1.0


def test_holm_corrects_step_by_step() -> None:
    tests = [cases_test([p], ["x"]) for p in (0.01, 0.04, 0.03)]
    named = [replace(test, name=name) for test, name in zip(tests, "abc", strict=True)]
    adjusted = {test.name: test.adjusted for test in holm(named, alpha=0.05)}
    assert adjusted == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06})
    assert [test.found for test in holm(named, alpha=0.05)] == [True, False, False]
