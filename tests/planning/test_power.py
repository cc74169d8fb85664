"""Power and numbers of cases: published figures, scipy, and what must hold of any power."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from harness.planning.power import (
    accuracy_power,
    alike,
    at_least_one,
    counts,
    flips_power,
    mcnemar_cases,
    needed,
    rate_power,
    smallest,
)
from harness.verdicts.evidence import accuracy_test, flips_test, shift_power, shift_test, spread_power
from harness.verdicts.noise_model import NoiseShape

SHAPE = NoiseShape(
    root=0.92, root_variance=0.2, root_between=0.0, shift_variance=0.75, shift_between=0.0, runs=math.inf
)
LOUD = NoiseShape(
    root=0.92, root_variance=0.2, root_between=0.5, shift_variance=0.75, shift_between=0.04, runs=5
)
CHANCES = st.lists(st.floats(0.0, 0.5), min_size=1, max_size=40)


@pytest.mark.parametrize(("power", "cases"), [(0.8, 161), (0.95, 299), (0.99, 459)])
def test_cases_that_show_one_flip_of_a_hundred(power: float, cases: int) -> None:
    assert at_least_one(0.01, power) == cases
    assert 1 - 0.99**cases >= power > 1 - 0.99 ** (cases - 1)


@pytest.mark.parametrize(("usual", "rate", "cases"), [(0.005, 0.015, 604), (0.01, 0.02, 905)])
def test_cases_that_tell_two_rates_of_flips_apart(usual: float, rate: float, cases: int) -> None:
    power = partial(rate_power, usual=usual, rate=rate, alpha=0.05)
    assert next(n for n in range(400, 1200) if power(n) >= 0.8) == cases


@pytest.mark.parametrize(("discordance", "cases"), [(0.01, 617), (0.02, 1235), (0.05, 3090)])
def test_cases_that_show_a_lost_point_of_accuracy(discordance: float, cases: int) -> None:
    assert mcnemar_cases(0.01, discordance, alpha=0.05, power=0.8) == cases


def test_the_published_spreads_are_close_to_those_of_the_mean_root() -> None:
    # Published for mean squares of one normal number each, α .01, power .95: ×1.5 in 47, ×2 in 17.
    normal = NoiseShape(
        root=math.sqrt(2 / math.pi),
        root_variance=math.pi / 2 - 1,
        root_between=0.0,
        shift_variance=1.0,
        shift_between=0.0,
        runs=math.inf,
    )
    cases = [
        needed(partial(spread_power, times, shape=normal, alpha=0.01), power=0.95) for times in (1.5, 2.0)
    ]
    assert cases == [58, 22]


@settings(deadline=None, max_examples=30)
@given(CHANCES)
def test_counts_are_the_poisson_binomial(chances: list[float]) -> None:
    expected = stats.poisson_binom.pmf(np.arange(len(chances) + 1), chances)
    assert counts(chances) == pytest.approx(expected, abs=1e-12)


@settings(deadline=None, max_examples=30)
@given(CHANCES, st.floats(0.0, 0.9), st.floats(1e-4, 0.1))
def test_the_power_of_the_flips_test_is_how_often_the_judge_finds_it(
    chances: list[float], rate: float, alpha: float
) -> None:
    more = [chance + rate * (1 - chance) for chance in chances]
    ps = [flips_test(count, chances).p for count in range(len(chances) + 1)]
    assume(all(abs(p - alpha) > 1e-9 for p in ps))  # where two sums of the same may differ in the last bit
    found = [p <= alpha for p in ps]
    expected = float(counts(more)[found].sum())
    assert flips_power(chances, rate, alpha=alpha) == pytest.approx(expected, abs=1e-9)


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.floats(0.0, 0.4), min_size=1, max_size=15),
    st.lists(st.floats(0.0, 0.4), max_size=6),
    st.floats(0.0, 0.9),
)
def test_the_power_of_the_accuracy_test_is_how_often_the_judge_finds_it(
    losing: list[float], gaining: list[float], loss: float
) -> None:
    lost, gained = counts([c + loss * (1 - c) for c in losing]), counts(gaining)
    expected = sum(
        lost[a] * gained[b]
        for a in range(len(lost))
        for b in range(len(gained))
        if accuracy_test(a, b, losing).p <= 0.01
    )
    assert accuracy_power(losing, gaining, loss, alpha=0.01) == pytest.approx(float(expected), abs=1e-7)


def test_exact_mcnemar_takes_a_little_more_than_the_approximation() -> None:
    # Nothing but losses: one point of a thousand cases, each of which noise never flips.
    exact = needed(lambda n: accuracy_power([1e-12] * n, [], 0.01, alpha=0.05), power=0.8)
    assert exact is not None
    assert 617 <= exact <= 700


@pytest.mark.parametrize("shape", [SHAPE, LOUD], ids=["calm", "loud"])
def test_the_power_of_the_shift_test_is_a_half_where_its_p_is_alpha(shape: NoiseShape) -> None:
    shift = smallest(partial(shift_power, clusters=50, shape=shape, alpha=0.01), power=0.5, low=0.0, high=9.0)
    assert shift is not None
    assert shift_test([shift] * 50, shape).p == pytest.approx(0.01, rel=1e-3)


def test_the_power_of_the_shift_test_is_how_often_the_judge_finds_it() -> None:
    rng = np.random.default_rng(0)
    drawn = rng.normal(0.3, math.sqrt(SHAPE.shift_variance), (1000, 50))
    found = np.mean([shift_test([float(x) for x in row], SHAPE).p <= 0.01 for row in drawn])
    assert shift_power(0.3, 50, SHAPE, alpha=0.01) == pytest.approx(found, abs=0.05)


@settings(deadline=None, max_examples=30)
@given(st.floats(1.05, 3.0), st.integers(2, 500), st.floats(1e-5, 0.05))
def test_more_cases_find_more_spread_and_shift(times: float, clusters: int, alpha: float) -> None:
    assert spread_power(times, 2 * clusters, SHAPE, alpha=alpha) >= spread_power(
        times, clusters, SHAPE, alpha=alpha
    )
    assert shift_power(times - 1, 2 * clusters, SHAPE, alpha=alpha) >= shift_power(
        times - 1, clusters, SHAPE, alpha=alpha
    )


@settings(deadline=None, max_examples=30)
@given(st.floats(0.0, 0.05), st.integers(20, 150))
def test_more_cases_find_smaller_rates(chance: float, clusters: int) -> None:
    found = [
        smallest(partial(flips_power, [chance] * n, alpha=0.002), power=0.8, low=0.0, high=1.0)
        for n in (clusters, 2 * clusters)
    ]
    assert found[0] is not None
    assert found[1] is not None
    assert found[1] < found[0]


@settings(deadline=None, max_examples=30)
@given(st.floats(1.1, 3.0), st.sampled_from([0.8, 0.95]))
def test_the_cases_needed_invert_the_power(times: float, power: float) -> None:
    cases = needed(lambda n: spread_power(times, n, SHAPE, alpha=0.002), power=power)
    assert cases is not None
    assert spread_power(times, cases, SHAPE, alpha=0.002) >= power
    assert cases == 1 or spread_power(times, cases - 1, SHAPE, alpha=0.002) < power


@settings(deadline=None, max_examples=30)
@given(st.floats(0.02, 0.5), st.sampled_from([0.8, 0.95]))
def test_the_smallest_effect_inverts_the_power(rate: float, power: float) -> None:
    chances = [0.01] * 60
    found = smallest(lambda r: flips_power(chances, r, alpha=0.002), power=power, low=0.0, high=1.0)
    assert found is not None
    assert flips_power(chances, found, alpha=0.002) >= power
    assert flips_power(chances, found * 0.99, alpha=0.002) < power


def test_what_cannot_be_found_has_no_number() -> None:
    assert needed(lambda n: spread_power(1.1, n, LOUD, alpha=0.002), power=0.8) is None
    # Five clusters lost of five have a probability of 1 in 32.
    assert (
        smallest(lambda loss: accuracy_power([1e-9] * 5, [], loss, alpha=0.002), power=0.8, low=0.0, high=1.0)
        is None
    )


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=30), st.integers(1, 4))
def test_a_suite_of_another_size_is_of_the_same_kind(values: list[float], copies: int) -> None:
    assert alike(values, len(values)) == sorted(values)
    assert math.fsum(alike(values, copies * len(values))) == pytest.approx(copies * math.fsum(values))
