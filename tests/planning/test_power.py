"""Power and numbers of cases: published figures, scipy, and what must hold of any power."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from harness.planning.power import accuracy_power, alike, counts, flips_power, needed, smallest
from harness.verdicts.evidence import Open, accuracy_test, mean_power, mean_test, spread_power
from harness.verdicts.flips import Ladder


def calm(clusters: int) -> Open:
    """What is open where whole runs do not differ."""
    return Open(0.2 / clusters, 0.0, clusters=clusters, runs=math.inf)


def loud(clusters: int) -> Open:
    """The same where they differ by more than any number of cases mends."""
    return Open(0.2 / clusters, 0.5, clusters=clusters, runs=5)


def sure(chances: Sequence[float]) -> Ladder:
    """Chances of flips where it is known for certain how loud noise is."""
    return Ladder.of(lambda _: np.array(chances), 1e-12, math.inf)


CHANCES = st.lists(st.floats(0.0, 0.5), min_size=1, max_size=40)


@settings(deadline=None, max_examples=30)
@given(CHANCES)
def test_counts_are_the_poisson_binomial(chances: list[float]) -> None:
    expected = stats.poisson_binom.pmf(np.arange(len(chances) + 1), chances)
    assert counts(chances) == pytest.approx(expected, abs=1e-12)


@settings(deadline=None, max_examples=20)
@given(CHANCES, st.floats(0.0, 0.9), st.floats(1e-4, 0.1))
def test_the_power_of_the_flips_test_is_how_often_the_judge_finds_it(
    chances: list[float], rate: float, alpha: float
) -> None:
    ladder = sure(chances)
    more = [chance + rate * (1 - chance) for chance in chances]
    found = [ladder.at_least(count) <= alpha for count in range(len(chances) + 1)]
    expected = float(counts(more)[found].sum())
    assert flips_power(ladder, rate, alpha=alpha) == pytest.approx(expected, abs=1e-9)


@settings(deadline=None, max_examples=20)
@given(
    st.lists(st.floats(0.0, 0.4), min_size=1, max_size=15),
    st.lists(st.floats(0.0, 0.4), max_size=6),
    st.floats(0.0, 0.9),
)
def test_the_power_of_the_accuracy_test_is_how_often_the_judge_finds_it(
    losing: list[float], gaining: list[float], loss: float
) -> None:
    ladder = sure([*losing, *gaining])
    lost, gained = counts([c + loss * (1 - c) for c in losing]), counts(gaining)
    expected = sum(
        lost[a] * gained[b]
        for a in range(len(lost))
        for b in range(len(gained))
        if accuracy_test(a, b, ladder.at_least(a), 0.0).p <= 0.01
    )
    found = accuracy_power(ladder, losing, gaining, loss, alpha=0.01)
    assert found == pytest.approx(float(expected), abs=1e-7)


def test_exact_mcnemar_takes_a_little_more_than_the_approximation() -> None:
    # Nothing but losses: one point of a thousand cases, each of which noise never flips.
    exact = needed(lambda n: accuracy_power(sure([1e-12] * n), [1e-12] * n, [], 0.01, alpha=0.05), power=0.8)
    assert exact is not None
    assert 617 <= exact <= 700


@pytest.mark.parametrize("left", [calm(50), loud(50)], ids=["calm", "loud"])
def test_the_power_of_a_mean_is_a_half_where_its_p_is_alpha(left: Open) -> None:
    mean = smallest(lambda size: mean_power(size, left, alpha=0.01), power=0.5, low=0.0, high=9.0)
    assert mean is not None
    assert mean_test("shift", mean, left, what="they").p == pytest.approx(0.01, rel=1e-3)


@settings(deadline=None, max_examples=30)
@given(st.floats(1.05, 3.0), st.integers(3, 500), st.floats(1e-5, 0.05))
def test_more_cases_find_more_spread_and_shift(times: float, clusters: int, alpha: float) -> None:
    few, many = calm(clusters), calm(2 * clusters)
    assert spread_power(times, many, alpha=alpha) >= spread_power(times, few, alpha=alpha)
    assert mean_power(times - 1, many, alpha=alpha) >= mean_power(times - 1, few, alpha=alpha)


@settings(deadline=None, max_examples=8)
@given(st.floats(0.0, 0.05), st.integers(20, 80))
def test_more_cases_find_smaller_rates(chance: float, clusters: int) -> None:
    found = [
        smallest(partial(flips_power, sure([chance] * n), alpha=0.002), power=0.8, low=0.0, high=1.0)
        for n in (clusters, 2 * clusters)
    ]
    assert found[0] is not None
    assert found[1] is not None
    assert found[1] < found[0]


@settings(deadline=None, max_examples=30)
@given(st.floats(1.1, 3.0), st.sampled_from([0.8, 0.95]))
def test_the_cases_needed_invert_the_power(times: float, power: float) -> None:
    cases = needed(lambda n: spread_power(times, calm(n), alpha=0.002), power=power)
    assert cases is not None
    assert spread_power(times, calm(cases), alpha=0.002) >= power
    assert cases == 1 or spread_power(times, calm(cases - 1), alpha=0.002) < power


@settings(deadline=None, max_examples=30)
@given(st.floats(0.02, 0.5), st.sampled_from([0.8, 0.95]))
def test_the_smallest_effect_inverts_the_power(rate: float, power: float) -> None:
    chances = sure([0.01] * 60)
    found = smallest(lambda r: flips_power(chances, r, alpha=0.002), power=power, low=0.0, high=1.0)
    assert found is not None
    assert flips_power(chances, found, alpha=0.002) >= power
    assert flips_power(chances, found * 0.99, alpha=0.002) < power


def test_what_cannot_be_found_has_no_number() -> None:
    assert needed(lambda n: spread_power(1.1, loud(n), alpha=0.002), power=0.8) is None
    # Five clusters lost of five have a probability of 1 in 32.
    assert (
        smallest(
            lambda loss: accuracy_power(sure([1e-9] * 5), [1e-9] * 5, [], loss, alpha=0.002),
            power=0.8,
            low=0.0,
            high=1.0,
        )
        is None
    )


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=30), st.integers(1, 4))
def test_a_suite_of_another_size_is_of_the_same_kind(values: list[float], copies: int) -> None:
    assert alike(values, len(values)) == sorted(values)
    assert math.fsum(alike(values, copies * len(values))) == pytest.approx(copies * math.fsum(values))
