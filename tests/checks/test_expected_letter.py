"""The expected letter: right, wrong, not a letter, never reached, and NaN."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from harness.checks.expected_letter import check_expected_letter
from harness.engines.letters import LetterIds
from harness.recordings.store import Recording


@dataclass(frozen=True)
class Case:
    letters: tuple[str, ...] = ("A", "B", "C")
    expect: str = "B"
    answer_prefix: str = ""


def test_the_expected_letter_passes_with_its_share_of_the_whole_vocabulary(
    make_recording: Callable[..., Recording], rows: Any
) -> None:
    result = check_expected_letter(make_recording({"forward": rows}), Case())
    assert result
    assert result.top == "B"
    share = np.exp(8.0) / np.exp(rows[0].astype(float)).sum()
    assert result.probabilities[1] == pytest.approx(share)
    assert sum(metric.value for metric in result.metrics) == pytest.approx(1.0)


def test_another_letter_on_top_fails_with_both_probabilities(
    make_recording: Callable[..., Recording], rows: Any
) -> None:
    result = check_expected_letter(make_recording({"forward": rows}), Case(expect="C"))
    assert [finding.metric for finding in result.findings] == ["top letter", "generated token"]
    assert f"found B ({result.probabilities[1]:.4g}), expected C ({result.probabilities[2]:.4g})" in str(
        result
    )
    assert "the model wrote B, expected C" in str(result)


def test_a_token_that_is_no_letter_fails_although_the_letter_is_first_among_letters(
    make_recording: Callable[..., Recording], rows: Any
) -> None:
    rows[0, 40] = 12.0
    result = check_expected_letter(make_recording({"forward": rows}, text="The"), Case())
    assert result.top == "B"
    assert [finding.metric for finding in result.findings] == ["generated token"]
    assert "did not answer with a letter: it wrote 'The' (id 40 " in str(result)
    assert any("other spellings" in note and "set answer_prefix" in note for note in result.notes)


def test_no_word_on_other_spellings_when_they_hold_nothing(
    make_recording: Callable[..., Recording], rows: Any
) -> None:
    rows[0, [40, 41, 42, 43]] = -20.0
    assert check_expected_letter(make_recording({"forward": rows}), Case()).notes == ()


def test_a_letter_never_reached_fails_and_shows_what_was_written(
    make_recording: Callable[..., Recording],
    without_letter: Callable[[Recording], Recording],
    rows: Any,
) -> None:
    recording = without_letter(make_recording({"forward": rows}))
    result = check_expected_letter(recording, Case(answer_prefix="Answer: "))
    assert not result
    assert result.top is None
    assert "wrote 'no idea', and answer_prefix asks for 'Answer: ' first" in str(result)
    plain = check_expected_letter(recording, Case())
    assert not plain
    assert "no row for the answer" in str(plain)


def test_a_turn_that_ends_at_once_fails(make_recording: Callable[..., Recording], rows: Any) -> None:
    recording = make_recording({"forward": rows})
    answer = replace(recording.answer, generated_ids=(), text="", answer_step=None, readings=())
    result = check_expected_letter(replace(recording, answer=answer), Case())
    assert "without writing anything" in str(result)


def test_nan_fails(make_recording: Callable[..., Recording], with_reading: Any, rows: Any) -> None:
    recording = with_reading(make_recording({"forward": rows}), "forward", letter_logits=(6.0, math.nan, 4.0))
    result = check_expected_letter(recording, Case())
    assert not result
    assert "NaN" in str(result)


def test_of_tied_letters_the_lowest_id_is_on_top(make_recording: Callable[..., Recording], rows: Any) -> None:
    letter_ids = LetterIds(("A", "B", "C"), (), (12, 11, 10), ((), (), ()))
    rows[0, [10, 11, 12]] = 8.0
    recording = make_recording({"forward": rows}, letter_ids=letter_ids)
    assert recording.answer.generated_ids[0] == 10
    assert check_expected_letter(recording, Case(expect="C")).top == "C"
