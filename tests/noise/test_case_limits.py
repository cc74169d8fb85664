"""Limits from noise floors."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.checks.intervals import Interval
from harness.checks.log_odds import centred, difference, largest
from harness.noise.case_limits import noise_limits
from harness.verdicts.noise_floor import NoiseFloor, PairNoise
from tests.verdicts.changes import floor_of

NOISE = PairNoise(sigma=0.01, freedom=math.inf, seen=0.0, measured=True)
HALVES = [Interval(0.5, 0.5), Interval(0.4, 0.4)]


def _floor(**full: float) -> NoiseFloor:
    floor = floor_of(np.zeros((3, 2)), [np.ones((3, 2))])
    return replace(floor, full={f"s.c{i}": dict(full) for i in range(3)})


def test_log_odds_have_the_larger_of_two_limits() -> None:
    limits = noise_limits(NOISE, HALVES, case="s.c0", cases=50, floors=[])
    assert limits["log_odds"] == pytest.approx(3.7 * 0.01, rel=0.03)
    seen = noise_limits(replace(NOISE, seen=0.5), HALVES, case="s.c0", cases=50, floors=[])
    assert seen["log_odds"] == pytest.approx(1.0)


def test_more_cases_have_wider_limits() -> None:
    few, many = (noise_limits(NOISE, HALVES, case="s.c0", cases=n, floors=[])["log_odds"] for n in (10, 1000))
    assert few < many


@given(
    st.lists(st.floats(-6, 6), min_size=2, max_size=5),
    st.lists(st.floats(-1, 1), min_size=5, max_size=5),
)
def test_what_is_within_the_limit_of_log_odds_is_within_that_of_probabilities(
    logits: list[float], moves: list[float]
) -> None:
    # Where letters have all the probability: what leaves them is for the limit of probabilities to find.
    after = [logit + move for logit, move in zip(logits, moves, strict=False)]
    far = largest(difference(centred(logits), centred(after)))
    assert far is not None
    noise = PairNoise(sigma=1e-12, freedom=math.inf, seen=far / 2, measured=True)
    p, q = (np.exp(values) / np.exp(values).sum() for values in (logits, after))
    limits = noise_limits(noise, [Interval(x, x) for x in p], case="s.c0", cases=1, floors=[])
    assert np.abs(p - q).max() <= limits["probability"] * (1 + 1e-6) + 1e-12
    assert np.abs(p - q).sum() / 2 <= limits["total_variation"] * (1 + 1e-6) + 1e-12


def test_an_interval_is_taken_at_its_wider_end() -> None:
    open_ = noise_limits(NOISE, [Interval(0.0, 0.4), Interval(0.1, 0.1)], case="s.c0", cases=1, floors=[])
    known = noise_limits(NOISE, [Interval(0.4, 0.4), Interval(0.1, 0.1)], case="s.c0", cases=1, floors=[])
    assert open_["probability"] == known["probability"]


def test_divergences_are_four_times_what_runs_showed_and_add_up_as_roots() -> None:
    one = noise_limits(NOISE, HALVES, case="s.c0", cases=1, floors=[_floor(kl=1e-4, js=3e-5)])
    assert one["kl"] == pytest.approx(4e-4)
    assert one["js"] == pytest.approx(12e-5)
    two = noise_limits(NOISE, HALVES, case="s.c0", cases=1, floors=[_floor(kl=1e-4)] * 2)
    assert two["kl"] == pytest.approx(16e-4)
    assert "js" not in two


def test_a_quiet_case_has_the_suites_middle_and_a_loud_one_its_own() -> None:
    floor = replace(_floor(kl=1e-4), full={"s.c0": {"kl": 1e-9}, "s.c1": {"kl": 1e-4}, "s.c2": {"kl": 1.0}})
    quiet, loud = (
        noise_limits(NOISE, HALVES, case=case, cases=3, floors=[floor])["kl"] for case in ("s.c0", "s.c2")
    )
    assert quiet == pytest.approx(4e-4)
    assert loud == pytest.approx(4.0)


def test_without_rows_the_divergences_are_left_to_the_table() -> None:
    assert set(noise_limits(NOISE, HALVES, case="s.c0", cases=1, floors=[_floor()])) == {
        "log_odds",
        "probability",
        "total_variation",
    }


def test_probabilities_near_one_may_move_as_far_as_the_whole_row_does() -> None:
    # The letters' log-odds are wide, so they alone would allow 1e-13.
    sure = [Interval(1 - 1e-12, 1 - 1e-12), Interval(1e-13, 1e-13)]
    quiet = noise_limits(NOISE, sure, case="s.c0", cases=1, floors=[])
    assert quiet["probability"] == quiet["total_variation"] == 2e-7
    moved = noise_limits(NOISE, sure, case="s.c0", cases=1, floors=[_floor(kl=2e-6)])
    assert moved["probability"] == moved["total_variation"] == pytest.approx(math.sqrt(moved["kl"] / 2))
