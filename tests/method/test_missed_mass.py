"""What a list of k entries does not show: mass and intervals."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.distributions import softmax, top_k
from harness.engines.contract import Reading
from harness.errors import HarnessError
from harness.method.coverage import depth_of
from harness.method.missed_mass import Missed, WorstCase, missed_by, missed_in
from tests.method.conftest import IDS, case, full, partial, row_with

ROWS = st.lists(
    st.floats(-8.0, 8.0, allow_nan=False, width=32) | st.sampled_from([0.0, 1.0]), min_size=16, max_size=40
)


def test_mass_of_the_letters_outside() -> None:
    row = row_with(5.0, 1.0, 3.0, others=[2.0, 4.0])
    shares = softmax(row)
    found = missed_in(full(row), 2)
    assert found.letters == 2
    assert found.mass == pytest.approx(shares[11] + shares[12])
    assert found.width == pytest.approx(min(shares[1], 1 - shares[10] - shares[1]))
    assert missed_in(full(row), 5) == Missed(0, 0.0, 0.0)


def test_an_interval_is_no_wider_than_what_the_entries_leave() -> None:
    row = row_with(9.0, -8.0, -8.0, others=[9.0])
    found = missed_in(full(row), 2)
    assert found.width is not None
    assert found.width < softmax(row)[0] / 2  # the list's last entry
    assert found.width == pytest.approx(1 - 2 * softmax(row)[0])


def test_the_width_is_not_known_where_too_few_entries_are_kept() -> None:
    row = row_with(5.0, 1.0, 3.0, others=[2.0, 4.0])
    assert missed_in(full(row, kept=3), 3).width is not None
    assert missed_in(full(row, kept=2), 3).width is None
    assert missed_in(full(row, kept=0), 5) == Missed(0, 0.0, 0.0)


@given(ROWS, st.integers(1, 45))
def test_falls_with_k_and_the_interval_holds_what_it_hides(row: list[float], k: int) -> None:
    reading = full(row, kept=len(row))
    found, more = missed_in(reading, k), missed_in(reading, k + 1)
    assert more.mass <= found.mass
    assert more.letters <= found.letters
    outside = [i for i in IDS if i not in top_k(row, k).ids]
    assert found.letters == len(outside)
    assert found.mass == pytest.approx(math.fsum(softmax(row)[outside]), abs=1e-12)
    assert found.width is not None
    assert all(softmax(row)[i] <= found.width + 1e-12 for i in outside)
    assert (found.letters == 0) == (k >= depth_of(case(reading)).k)


def test_refuses_a_list_and_an_answer_without_a_row() -> None:
    with pytest.raises(HarnessError, match="'top-k' that did not see the whole row"):
        missed_in(partial(row_with(1.0, 2.0, 3.0), 2), 1)
    with pytest.raises(HarnessError, match="did not see the whole row"):
        missed_in(Reading(path="forward", argmax=(1,), logprobs=(0.0,)), 1)


def test_mean_worst_and_widest_name_their_cases() -> None:
    calm, wild = row_with(9.0, 8.0, 7.0), row_with(5.0, 1.0, 3.0, others=[2.0, 4.0])
    found = missed_by([case(full(calm), "s.calm"), case(full(wild), "s.wild", 9)], 3)
    mass = missed_in(full(wild), 3).mass
    assert (found.k, found.cases, found.touched) == (3, 2, 1)
    assert found.mean == pytest.approx(mass / 2)
    assert found.worst == WorstCase(mass, "s.wild", "cases/s.yaml:9:5")
    assert found.widest.case == "s.wild"


def test_a_width_that_is_not_known_counts_as_the_widest() -> None:
    row = row_with(5.0, 1.0, 3.0, others=[2.0, 4.0])
    known, unknown = case(full(row), "s.known"), case(full(row, kept=1), "s.unknown")
    assert missed_by([known, unknown], 3).widest[:2] == (None, "s.unknown")


def test_nothing_is_missed() -> None:
    found = missed_by([case(full(row_with(9.0, 8.0, 7.0)))], 3)
    assert (found.touched, found.mean) == (0, 0.0)
    assert found.worst == found.widest == WorstCase(0.0, None, None)
