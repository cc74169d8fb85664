"""Which to judge next: on every row, wherever the change is and whatever cannot be judged."""

from __future__ import annotations

from collections.abc import Collection

from hypothesis import given
from hypothesis import strategies as st

from harness.bisecting.search import Judged, Span, next_of, span_of, usual_steps


def searched(count: int, first_bad: int, skipped: Collection[int] = ()) -> tuple[Span, list[int]]:
    """What is found in a row that is bad from ``first_bad`` on, and what was judged for it."""
    judged: dict[int, Judged] = {}
    while (place := next_of(count, judged)) is not None:
        assert place not in judged
        assert 0 < place < count - 1
        judged[place] = Judged.SKIP if place in skipped else Judged.BAD if place >= first_bad else Judged.GOOD
    return span_of(count, judged), list(judged)


@st.composite
def rows(draw: st.DrawFn) -> tuple[int, int, set[int]]:
    count = draw(st.integers(2, 60))
    return count, draw(st.integers(1, count - 1)), draw(st.sets(st.integers(1, 58)))


@given(rows())
def test_the_change_is_always_in_the_span_and_all_in_it_was_tried(row: tuple[int, int, set[int]]) -> None:
    count, first_bad, skipped = row
    span, order = searched(count, first_bad, skipped)
    assert span.good < first_bad <= span.bad
    assert set(span.between) <= skipped & set(order)


@given(st.integers(2, 300), st.data())
def test_without_a_skip_it_names_the_first_bad_in_as_many_steps_as_halving_takes(
    count: int, data: st.DataObject
) -> None:
    first_bad = data.draw(st.integers(1, count - 1))
    span, order = searched(count, first_bad)
    assert span == (first_bad - 1, first_bad)
    assert len(order) <= usual_steps(count)


def test_the_middle_comes_first_and_behind_a_skip_a_place_well_away_from_it() -> None:
    assert next_of(17, {}) == 8
    assert next_of(17, {8: Judged.SKIP}) in (4, 12)


def test_a_run_that_cannot_be_judged_is_left_in_few_steps() -> None:
    span, order = searched(100, 80, range(30, 70))
    assert span == (79, 80)
    assert sum(place in range(30, 70) for place in order) <= 4


def test_where_all_between_is_skipped_the_ends_remain() -> None:
    assert searched(5, 2, {1, 2, 3})[0] == Span(0, 4)
    assert list(Span(0, 4).between) == [1, 2, 3]


def test_a_row_of_two_takes_nothing() -> None:
    assert searched(2, 1) == (Span(0, 1), [])
    assert usual_steps(2) == 0
