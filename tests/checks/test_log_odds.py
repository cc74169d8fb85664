"""Centred log-odds and how they differ."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.checks.log_odds import centred, difference, largest, mean_square

_LOGITS = st.lists(st.floats(-50, 50), min_size=2, max_size=6)


@given(_LOGITS, st.floats(-100, 100))
def test_what_shifts_a_whole_row_moves_nothing(logits: list[float], shift: float) -> None:
    moved = difference(centred(logits), centred([logit + shift for logit in logits]))
    assert largest(moved) == pytest.approx(0.0, abs=1e-10)


@given(_LOGITS)
def test_centred_values_add_up_to_nothing(logits: list[float]) -> None:
    assert math.fsum(centred(logits)) == pytest.approx(0.0, abs=1e-9)


def test_a_letter_that_was_not_seen_counts_for_nothing() -> None:
    assert centred([1.0, -math.inf, 3.0])[::2] == (-1.0, 1.0)
    moved = difference(centred([1.0, 2.0, 3.0]), centred([1.0, -math.inf, 4.0]))
    assert math.isnan(moved[1])
    assert moved[::2] == pytest.approx((-0.5, 0.5))
    assert largest(moved) == pytest.approx(0.5)


def test_one_letter_in_common_compares_nothing() -> None:
    assert largest(difference(centred([1.0, -math.inf]), centred([-math.inf, 1.0]))) is None
    assert largest(difference((), centred([1.0, 2.0]))) is None


def test_the_mean_square_estimates_the_variance_of_one_letter() -> None:
    assert mean_square(centred([3.0, 1.0])) == pytest.approx(2.0)  # the sample variance of 3 and 1
