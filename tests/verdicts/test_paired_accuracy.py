"""The change of accuracy: published and exact figures, coverage, and what must hold of any counts."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, special, stats

from harness.verdicts.paired_accuracy import AccuracyChange, accuracy_change, cases_for, margin_for

COUNTS = st.integers(0, 30)


def change(lost: int, gained: int, both: int = 0, neither: int = 0) -> AccuracyChange:
    """One case to a cluster."""
    before = [1] * (lost + both) + [0] * (gained + neither)
    after = [0] * lost + [1] * both + [1] * gained + [0] * neither
    return accuracy_change(before, after, range(len(before)))


def test_the_numbers_of_a_model_that_gains_ten_points() -> None:
    found = change(3, 24, both=157, neither=16)
    assert (found.baseline, found.candidate) == (0.8, 0.905)
    assert found.change == pytest.approx(0.105)
    # Bonett and Price: one more lost, one more gained.
    centre, spread = 21 / 202, 29 / 202
    half = 1.959964 * math.sqrt((spread - centre**2) / 202)
    assert (found.low, found.high) == pytest.approx((centre - half, centre + half), abs=1e-7)
    assert found.upper_loss < -0.05
    assert found.noninferior(0.02)
    assert not found.noninferior(-0.08)


@pytest.mark.parametrize(("lost", "gained", "both"), [(3, 24, 173), (12, 0, 45), (4, 4, 32), (1, 9, 990)])
def test_the_bound_on_the_loss_is_tangos(lost: int, gained: int, both: int) -> None:
    # By the greatest likelihood with the change held fixed, found by a search and not by its quadratic.
    cases, true = lost + gained + both, -change(lost, gained, both).upper_loss

    def unlikely(q: float) -> float:
        return -float(
            special.xlogy(lost, q) + special.xlogy(gained, q + true) + special.xlogy(both, 1 - 2 * q - true)
        )

    ends = (max(0.0, -true), (1 - true) / 2)
    q = optimize.minimize_scalar(unlikely, bounds=ends, method="bounded", options={"xatol": 1e-10}).x
    z = (gained - lost - cases * true) / math.sqrt(cases * (2 * q + true - true**2))
    assert z == pytest.approx(1.644854, abs=1e-4)


@given(COUNTS, COUNTS, st.integers(0, 30))
def test_one_case_to_an_image_is_mcnemar(lost: int, gained: int, both: int) -> None:
    if not lost + gained + both:
        return
    found = change(lost, gained, both)
    assert found.design == 1.0
    for seen, p in ((lost, found.p_lost), (gained, found.p_gained)):
        exact = (
            stats.binomtest(seen, lost + gained, 0.5, alternative="greater").pvalue if lost + gained else 1
        )
        assert p == pytest.approx(exact, abs=1e-12)


@given(COUNTS, COUNTS, st.integers(1, 30))
def test_both_ways_are_mirrors(lost: int, gained: int, both: int) -> None:
    one, other = change(lost, gained, both), change(gained, lost, both)
    assert one.low == pytest.approx(-other.high)
    assert one.p_lost == other.p_gained
    assert -1 <= one.low <= one.high <= 1
    # What is shown no worse than a margin is not shown worse than it.
    for margin in (0.0, 0.02, 0.2):
        assert not (one.noninferior(margin) and one.worse(margin, alpha=0.05))


def test_images_that_change_as_a_whole_count_as_one_case_each() -> None:
    # 10 images of 5 cases, two of them lost entirely.
    before, after = [1] * 50, [0] * 10 + [1] * 40
    whole = accuracy_change(before, after, [case // 5 for case in range(50)])
    assert whole.clusters == 10
    assert whole.design == pytest.approx((40 + 5 * 5) / (10 + 5))  # squares of net changes over changes
    assert whole.p_lost == 0.25  # two coins
    alone = accuracy_change(before, after, range(50))
    assert alone.p_lost < 0.001
    assert whole.upper_loss > alone.upper_loss + 0.1
    assert whole.decides > 1.9 * alone.decides
    # Answers that change one by one have no design effect to speak of.
    spread = [0 if case % 5 == 0 else 1 for case in range(500)]
    assert accuracy_change([1] * 500, spread, [case // 5 for case in range(500)]).design < 1.3


def test_one_image_shows_nothing() -> None:
    found = accuracy_change([1] * 9, [0] * 9, ["one"] * 9)
    assert (found.low, found.high, found.upper_loss) == (-1.0, 1.0, 1.0)
    assert not found.noninferior(0.99)
    assert not found.worse(0.0, alpha=0.01)


@pytest.mark.parametrize(
    ("before", "after", "clusters"), [([], [], []), ([1], [1, 0], ["a"]), ([1], [1], [])]
)
def test_no_cases_or_unequal_lengths(before: list[int], after: list[int], clusters: list[str]) -> None:
    with pytest.raises(ValueError, match="allowed: as many, and one"):
        accuracy_change(before, after, clusters)


@pytest.mark.parametrize(("discordance", "cases"), [(0.05, 774), (0.15, 2320)])
def test_cases_that_two_points_take(discordance: float, cases: int) -> None:
    assert cases_for(0.02, discordance) == cases
    assert margin_for(cases, discordance) <= 0.02 < margin_for(cases - 1, discordance)


def test_so_many_cases_show_it_four_times_of_five() -> None:
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(774, [0.025, 0.025, 0.95], 400)
    shown = np.mean([change(lost, gained, both).noninferior(0.02) for lost, gained, both in drawn])
    assert shown == pytest.approx(0.8, abs=0.06)  # exactly 0.78


def test_the_missing_cases_invert_the_margin() -> None:
    found = change(5, 5, both=90)
    missing = found.missing(0.02)
    assert missing is not None
    assert margin_for(100 + missing, 0.1) == pytest.approx(0.02, rel=0.1)
    lost = change(6, 5, both=89).missing(0.02)
    assert lost is not None
    assert lost > 3 * missing  # half of the margin is used up
    assert change(8, 5, both=87).missing(0.02) is None


@settings(max_examples=30)
@given(st.integers(1, 8), st.integers(1, 8))
def test_more_of_the_same_shows_more(lost: int, times: int) -> None:
    small, large = change(lost, lost, both=100), change(lost * times, lost * times, both=100 * times)
    assert large.upper_loss <= small.upper_loss
    assert large.decides <= small.decides


def _clustered(
    rng: np.random.Generator, images: int, shares: tuple[float, float], together: float
) -> AccuracyChange:
    """Images of 5 cases; ``shares`` are lost and gained; a case does as its image does ``together``."""
    chances = [*shares, 1 - sum(shares)]
    whole, own = rng.choice(3, (images, 1), p=chances), rng.choice(3, (images, 5), p=chances)
    what = np.where(rng.random((images, 5)) < together, whole, own).ravel()
    return accuracy_change(what != 1, what != 0, [case // 5 for case in range(5 * images)])


@pytest.mark.parametrize("together", [0.0, 1.0])
def test_intervals_cover_the_true_change_of_clustered_cases(together: float) -> None:
    rng = np.random.default_rng(1)
    found = [_clustered(rng, 40, (0.06, 0.04), together) for _ in range(400)]
    assert np.mean([one.low <= -0.02 <= one.high for one in found]) >= 0.93
    # As if each case were its own image: too narrow where they change together.
    assert together == 0 or np.mean([one.p_lost <= 0.01 for one in found]) <= 0.03


def test_a_loss_of_the_margin_is_seldom_taken_for_none() -> None:
    rng = np.random.default_rng(2)
    # Forty images of which a few change as a whole: a plain sandwich of variances calls a third of them good.
    found = [_clustered(rng, 40, (0.025, 0.005), 1.0) for _ in range(400)]
    assert np.mean([one.noninferior(0.02) for one in found]) <= 0.07
    alone = [change(*rng.multinomial(200, [0.06, 0.04, 0.9])) for _ in range(400)]
    assert np.mean([one.noninferior(0.02) for one in alone]) <= 0.07


@pytest.mark.parametrize("discordance", [0.1, 0.4])
def test_models_as_good_as_one_another_are_called_worse_in_one_percent_at_most(discordance: float) -> None:
    called = 0.0  # exact: over every number of lost and gained of 40
    for changed in range(41):
        for lost in range(changed + 1):
            found = change(lost, changed - lost, both=40 - changed)
            if found.p_lost <= 0.01 or found.worse(0.02, alpha=0.01):
                called += float(
                    stats.binom.pmf(changed, 40, discordance) * stats.binom.pmf(lost, changed, 0.5)
                )
    assert 0.0005 < called < 0.01
