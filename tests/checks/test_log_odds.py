"""Centred log-odds and how they differ."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.checks.log_odds import REST, centred, difference, largest, mean_square, rest_of, scalars_of
from harness.engines.contract import Entry, Reading

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


def _row(*shares: float, top: tuple[Entry, ...] = (), ceilings: tuple[float, ...] = ()) -> Reading:
    """A row in which the letters have these shares, 0 for one that was not seen."""
    logits = tuple(math.log(share) if share else -math.inf for share in shares)
    return Reading(
        path="p", argmax=(), logprobs=(), letter_logits=logits, log_z=0.0, top=top, letter_ceilings=ceilings
    )


def test_the_rest_is_what_is_not_on_the_letters() -> None:
    rest = rest_of(_row(0.6, 0.3), (0, 1))
    assert rest is not None
    assert rest.exact
    assert rest.low == pytest.approx(math.log(0.1 / 0.9))
    assert scalars_of(_row(0.6, 0.3), (0, 1)) == {REST: rest.low}
    assert rest_of(Reading(path="p", argmax=(), logprobs=()), ()) is None
    assert rest_of(_row(math.nan, 0.5), ()) is None


def test_of_a_rest_too_small_for_a_difference_the_tokens_that_were_seen_are_the_sum() -> None:
    seen = (Entry(0, math.log1p(-1e-9)), Entry(7, math.log(1e-9)))
    rest = rest_of(_row(1.0 - 1e-9, top=seen), (0,))
    assert rest is not None
    assert rest.low == pytest.approx(math.log(2e-9))  # a hundredth of what a recording resolves
    more = rest_of(_row(1.0, top=(seen[0], Entry(7, math.log(1e-7)))), (0,))
    assert more is not None
    assert more.low == pytest.approx(math.log(1e-7), abs=1e-6)


def test_a_letter_outside_the_top_leaves_the_rest_an_interval() -> None:
    partial = _row(0.6, 0.3, 0.0, ceilings=(math.log(0.6), math.log(0.3), math.log(0.02)))
    rest = rest_of(partial, ())
    assert rest is not None
    assert rest.low == pytest.approx(math.log(0.08 / 0.92))
    assert rest.high == pytest.approx(math.log(0.1 / 0.9))
    assert scalars_of(partial, ()) == {}
