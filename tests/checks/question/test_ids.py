"""Where id lists part, with the image's placeholders out of account."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from harness.checks.question.ids import (
    Chunk,
    begin_twice,
    collapsed,
    lacks_begin,
    placeholder_of,
    same_places,
    shown_ids,
    unlike,
)

IDS = st.lists(st.integers(1, 6), max_size=20)


def test_the_placeholder_is_the_id_of_the_longest_run() -> None:
    assert placeholder_of([1, 2, 2, 3], [1, 9, 9, 9, 3]) == 9
    assert placeholder_of([1, 2, 3], []) is None
    assert collapsed([1, 9, 9, 3, 3, 9], 9) == (1, 9, 3, 3, 9)
    assert collapsed([1, 9, 9], None) == (1, 9, 9)


def test_places_of_an_image_get_one_id_on_both_sides() -> None:
    assert same_places([1, 9, 9, 2], [1, 0, 0, 0, 2, 0]) == (1, 9, 9, 9, 2, 0)
    assert same_places([1, 9, 9, 2], [1, 9, 9, 9]) == (1, 9, 9, 9)
    # Two newlines of an asked question are no place of an image, as they are there on both sides.
    assert same_places([1, 9, 9, 9, 5, 5], [1, 5, 5]) == (1, 5, 5)
    assert same_places([1, 2], [1, 5, 5]) == (1, 5, 5)


def test_a_first_id_too_many_or_too_few() -> None:
    assert begin_twice([1, 1, 2], [1, 2])
    assert not begin_twice([1, 1, 2], [1, 1, 3])
    assert not begin_twice([1, 2], [1, 1, 2])
    assert not begin_twice([1, 1], [2, 1])
    assert lacks_begin([2, 3, 4], [1, 2, 3, 4])
    assert not lacks_begin([2, 3, 4], [1, 2, 9, 4])
    assert not lacks_begin([1, 2], [1, 2])
    assert not lacks_begin([], [1])


def test_the_first_piece_that_is_unlike_ends_where_the_lists_meet_again() -> None:
    assert unlike([1, 2, 3, 4, 5], [1, 7, 8, 3, 4, 5]) == Chunk(1, (2,), (7, 8))
    assert unlike([1, 2], [1, 2, 3]) == Chunk(2, (), (3,))
    assert unlike([1, 2], [3, 4]) == Chunk(0, (1, 2), (3, 4))
    assert unlike([1, 2], [1, 2]) is None


@given(IDS, IDS)
def test_the_piece_is_what_it_says(left: list[int], right: list[int]) -> None:
    chunk = unlike(left, right)
    if chunk is None:
        assert left == right
        return
    assert left[: chunk.step] == right[: chunk.step]
    assert tuple(left[chunk.step : chunk.step + len(chunk.left)]) == chunk.left
    assert tuple(right[chunk.step : chunk.step + len(chunk.right)]) == chunk.right
    assert chunk.left != chunk.right


def test_ids_are_shown_with_a_few_around_and_runs_in_short() -> None:
    ids = [1, 2, 3, 4, 5, 6, 6, 6, 7, 8]
    assert shown_ids(ids, 4, 1) == "1 2 3 4 [5] 6×3 7 8"
    assert shown_ids(list(range(20)), 10, 2) == "… 6 7 8 9 [10 11] 12 13 14 15 …"
    assert shown_ids([1, 2], 2, 0) == "1 2 []"
