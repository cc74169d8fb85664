"""Bars side by side."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.reports.bars import BAR_WIDTH, Column, bar, distinct, short, side_by_side


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.0, ""),
        (1e-30, "▏"),
        (0.5, "█" * 5),
        (0.55, "█" * 5 + "▌"),
        (1.0, "█" * 10),
        (1.2, "█" * 10),
        (math.nan, "?"),
    ],
)
def test_a_bar_is_as_long_as_its_share(share: float, text: str) -> None:
    assert bar(share, width=10) == text


@given(st.floats(0, 1), st.floats(0, 1))
def test_a_larger_share_never_has_the_shorter_bar(one: float, other: float) -> None:
    def length(share: float) -> float:
        text = bar(share)
        return text.count("█") + ("▏▎▍▌▋▊▉".find(text[-1:]) + 1) / 8 if text else 0.0

    assert (length(one) - length(other)) * (one - other) >= 0
    assert length(one) <= BAR_WIDTH


def test_columns_stand_side_by_side_with_the_expected_letter_marked() -> None:
    columns = [Column("torch", (0.25, 0.75), "B"), Column("lmdeploy", (None, 1.0), "a very long text" * 5)]
    lines = side_by_side(("A", "B"), columns, expected="B")
    assert lines[0].split() == ["torch", "lmdeploy"]
    assert lines[1].split()[:3] == ["A", "0.25", bar(0.25)]
    assert lines[1].endswith("-")
    assert lines[2].startswith("  B < 0.75")
    assert "wrote 'B'" in lines[3]
    assert "…" in lines[3]
    assert lines[4] == "  < expected"
    assert side_by_side(("A", "B"), columns, expected=None)[-1] == lines[3]


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ((0.25, 0.75), ["0.25", "0.75"]),
        ((0.98765, 0.98765), ["0.988", "0.988"]),
        ((0.98761, 0.98768), ["0.9876", "0.9877"]),
        ((0.987654, 0.987654 + 3e-9), ["0.987654", "Δ+3.0e-09"]),
        ((1e-9, 1.00001e-9), ["1e-09", "1.00001e-09"]),
        ((math.nan, 0.9876, math.inf), ["nan", "0.988", "inf"]),
        ((), []),
    ],
)
def test_numbers_have_as_many_digits_as_tell_them_apart(values: tuple[float, ...], texts: list[str]) -> None:
    assert distinct(values) == texts


def test_columns_that_are_not_equal_do_not_look_so() -> None:
    lines = side_by_side(("A",), [Column("a", (0.98761,)), Column("b", (0.98768,))], expected=None)
    assert "0.9876 " in lines[1]
    assert "0.9877 " in lines[1]


def test_a_text_in_place_of_letters_keeps_columns_in_line() -> None:
    columns = [Column("a", (0.9, 0.1), "1984"), Column("b", (0.8, 0.2), "1984")]
    lines = side_by_side(("nineteen eighty-four", "anything else"), columns, expected="nineteen eighty-four")
    assert lines[1].startswith("  nineteen eighty…< 0.9 ")
    assert (
        len({line.index(text) for line, text in zip(lines[:4], ("a", "0.9", "0.1", "wrote"), strict=True)})
        == 1
    )


@pytest.mark.parametrize(
    ("text", "shown"),
    [("A", "A"), ("A ", "'A '"), ("A\nB", "'A\\nB'"), ("two words", "two words"), ("x" * 20, "x" * 15 + "…")],
)
def test_white_space_that_counts_is_seen(text: str, shown: str) -> None:
    assert short(text) == shown
