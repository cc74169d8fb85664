"""Two recordings side by side: every limit, near-ties, missing rows, padding and NaN."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.checks.agreement import Agreement, check_agreement, compare, row_belongs
from harness.checks.full_vocabulary import FullVocabulary, compare_rows
from harness.checks.tolerances import DEFAULTS, resolve
from harness.distributions import js_divergence, kl_divergence, log_softmax
from harness.errors import RecordingError
from harness.recordings.store import Recording

LETTERS = ("A", "B", "C")
FLOAT32 = DEFAULTS["float32"]

Compare = Callable[..., Agreement]


@pytest.fixture
def side_by_side(make_recording: Callable[..., Recording]) -> Compare:
    """Compare two engines' rows [T, V], with the answer's rows at hand unless ``keep_rows`` is off."""

    def build(
        left: Any, right: Any, *, keep_rows: bool = True, a: dict[str, Any] | None = None, **b: Any
    ) -> Agreement:
        first = make_recording({"forward": left}, **(a or {}))
        second = make_recording({"two-stage": right}, engine="embedded-lmdeploy", **b)
        return compare(first, second, LETTERS, full=compare_rows(left[0], right[0]) if keep_rows else None)

    return build


def test_equal_answers_agree_with_all_distances_zero(side_by_side: Compare, rows: Any) -> None:
    result = check_agreement(side_by_side(rows, rows), FLOAT32)
    assert result
    names = ["total_variation", "probability", "log_odds", "kl", "js"]
    assert [metric.name for metric in result.metrics] == names
    assert all(metric.value <= 1e-15 for metric in result.metrics)
    assert "embedded-lmdeploy against embedded-torch: passed" in str(result)


def test_rounding_noise_agrees(side_by_side: Compare, rows: Any) -> None:
    noise = np.random.default_rng(0).uniform(-9e-6, 9e-6, rows.shape).astype(np.float32)
    assert check_agreement(side_by_side(rows, rows + noise), FLOAT32)


def test_the_numbers_are_those_of_the_definitions(side_by_side: Compare, rows: Any) -> None:
    moved = rows.copy()
    moved[0, 10] += 0.5
    agreement = side_by_side(rows, moved)
    p, q = (np.exp(log_softmax(row)) for row in (rows[0], moved[0]))
    letters = [10, 11, 12]
    rest = abs(p[letters].sum() - q[letters].sum())
    assert agreement.worst == pytest.approx(np.abs(p - q)[letters].max(), rel=1e-6)
    assert agreement.worst_letter == 0
    assert agreement.total_variation == pytest.approx(0.5 * (np.abs(p - q)[letters].sum() + rest), rel=1e-6)
    assert agreement.full is not None
    assert agreement.full.kl == float(kl_divergence(log_softmax(rows[0]), log_softmax(moved[0])))
    assert agreement.full.js == float(js_divergence(log_softmax(rows[0]), log_softmax(moved[0])))
    assert agreement.a.gap == pytest.approx(p[11] - p[10], rel=1e-6)


def test_every_limit_can_fail_on_its_own(side_by_side: Compare, rows: Any) -> None:
    moved = rows.copy()
    moved[0, 10] += 0.5
    agreement = side_by_side(rows, moved)
    loose = {"probability": 1.0, "total_variation": 1.0, "log_odds": 1.0, "kl": 10.0, "js": 1.0}
    assert check_agreement(agreement, resolve("float32", overrides=[loose]))
    for name in loose:
        result = check_agreement(agreement, resolve("float32", overrides=[loose, {name: 1e-9}]))
        assert [finding.metric for finding in result.findings] == [name]
        assert "over the limit of 1e-09" in str(result)


def test_a_change_outside_the_letters_fails_on_kl(side_by_side: Compare, rows: Any) -> None:
    moved = rows.copy()
    moved[0, 30], moved[0, 31] = rows[0, 31], rows[0, 30]
    result = check_agreement(side_by_side(rows, moved), FLOAT32)
    assert {finding.metric for finding in result.findings} == {"kl", "js"}


def test_another_top_letter_fails(side_by_side: Compare, rows: Any) -> None:
    moved = rows.copy()
    moved[0, 10] = 9.0
    result = check_agreement(side_by_side(rows, moved), resolve("bfloat16"))
    assert {"top letter", "generated ids"} <= {finding.metric for finding in result.findings}
    assert "B in embedded-torch, A in embedded-lmdeploy" in str(result)
    assert "over the 0.06 of a near-tie" in str(result)
    assert "'B' (id 11) against 'A' (id 10) in the letter's place" in str(result)


def test_a_near_tie_may_flip_and_is_reported(side_by_side: Compare, rows: Any) -> None:
    left, right = rows.copy(), rows.copy()
    left[0, [10, 11]] = 8.0, 8.0 + 1e-5
    right[0, [10, 11]] = 8.0 + 1e-5, 8.0
    result = check_agreement(side_by_side(left, right), FLOAT32)
    assert result
    assert sum("near-tie let through" in note for note in result.notes) == 2


def test_a_near_tie_on_one_side_only_fails(side_by_side: Compare, rows: Any) -> None:
    left, right = rows.copy(), rows.copy()
    left[0, [10, 11]] = 8.0, 8.0 + 1e-6
    right[0, [10, 11]] = 8.1, 8.0
    result = check_agreement(
        side_by_side(left, right), resolve("float32", overrides=[{"kl": 1.0, "js": 1.0}])
    )
    assert "top letter" in {finding.metric for finding in result.findings}


def test_ids_that_part_elsewhere_than_at_a_near_tie_fail(side_by_side: Compare, rows: Any) -> None:
    moved = rows.copy()
    moved[1, 7] = 20.0
    result = check_agreement(side_by_side(rows, moved), FLOAT32)
    assert [finding.metric for finding in result.findings] == ["generated ids"]
    assert "at position 1: id 5 against id 7 (lengths 3 and 3)" in str(result)


def test_one_token_more_is_a_difference(side_by_side: Compare, rows: Any) -> None:
    result = check_agreement(side_by_side(rows, rows[:2]), FLOAT32)
    assert "at position 2: id 6 against the end (lengths 3 and 2)" in str(result)


def test_prompts_that_differ_are_named_first(side_by_side: Compare, rows: Any) -> None:
    moved = rows.copy()
    moved[0, 10] = 9.0
    result = check_agreement(side_by_side(rows, moved, prompt_ids=(1, 9, 3, 4)), FLOAT32)
    assert result.findings[0].metric == "question"
    assert "different questions: token ids (test_same_question" in result.findings[0].text


def test_missing_rows_fail_and_say_what_to_do(side_by_side: Compare, rows: Any) -> None:
    result = check_agreement(side_by_side(rows, rows, keep_rows=False), FLOAT32)
    assert [finding.metric for finding in result.findings] == ["kl"]
    assert "run again with --fresh" in str(result)


def test_metrics_taken_before_serve_when_rows_are_gone(
    make_recording: Callable[..., Recording], rows: Any
) -> None:
    a, b = make_recording({"forward": rows}), make_recording({"forward": rows})
    kept = FullVocabulary.from_json(compare_rows(rows[0], rows[0]).to_json())
    assert check_agreement(compare(a, b, LETTERS, full=kept), FLOAT32)


def test_a_row_of_another_recording_is_told(make_recording: Callable[..., Recording], rows: Any) -> None:
    recording = make_recording({"forward": rows})
    assert row_belongs(recording, rows[0])
    assert not row_belongs(recording, rows[1])


def test_a_row_fits_a_recording_that_was_kept_with_nine_digits(
    make_recording: Callable[..., Recording], with_reading: Any, rows: Any
) -> None:
    rows[0, [10, 11, 12]] = np.array([6.1234567, 8.7654321, 4.9999999], dtype=np.float32)
    a = make_recording({"forward": rows})
    kept = tuple(float(f"{logit:.9g}") for logit in a.answer.readings[0].letter_logits)
    assert kept != a.answer.readings[0].letter_logits
    b = with_reading(a, "forward", letter_logits=kept)
    assert row_belongs(b, rows[0])


def test_a_letter_never_reached_fails_even_on_both_sides(
    make_recording: Callable[..., Recording],
    without_letter: Callable[[Recording], Recording],
    rows: Any,
) -> None:
    lost = without_letter(make_recording({"forward": rows}))
    result = check_agreement(compare(lost, lost, LETTERS), FLOAT32)
    assert [finding.metric for finding in result.findings] == ["answer", "answer"]
    assert "never reached the letter: it wrote 'no idea'" in str(result)
    assert result.agreement.worst is None


@pytest.mark.parametrize("place", ["letter", "log_z", "full"])
def test_nan_fails_wherever_it_is(
    make_recording: Callable[..., Recording], with_reading: Any, rows: Any, place: str
) -> None:
    a = make_recording({"forward": rows})
    b = make_recording({"forward": rows})
    full = compare_rows(rows[0], rows[0])
    if place == "letter":
        b = with_reading(b, "forward", letter_logits=(6.0, 8.0, math.nan))
    elif place == "log_z":
        b = with_reading(b, "forward", log_z=math.nan)
    else:
        full = replace(full, kl=math.nan)
    result = check_agreement(compare(a, b, LETTERS, full=full), resolve("bfloat16"))
    assert not result
    assert "not a number" in str(result) or "NaN" in str(result)


def test_nan_in_a_row_makes_every_metric_nan(rows: Any) -> None:
    bad = rows[0].copy()
    bad[60] = np.nan
    full = compare_rows(rows[0], bad)
    assert math.isnan(full.kl)
    assert math.isnan(full.js)
    assert math.isnan(FullVocabulary.from_json(full.to_json()).kl)


def test_padding_columns_are_left_out_and_told(side_by_side: Compare, rows: Any) -> None:
    padded = np.concatenate([rows, np.full((3, 16), -40.0, dtype=np.float32)], axis=1)
    result = check_agreement(side_by_side(rows, padded), FLOAT32)
    assert result
    assert any("64 (embedded-torch) and 80 (embedded-lmdeploy) columns" in note for note in result.notes)


def test_probability_on_columns_that_one_side_lacks_fails(side_by_side: Compare, rows: Any) -> None:
    wider = np.concatenate([rows, np.full((3, 16), 2.0, dtype=np.float32)], axis=1)
    loose = {"probability": 0.02, "total_variation": 1.0}
    result = check_agreement(side_by_side(rows, wider), resolve("float32", overrides=[loose]))
    assert "surplus mass" in {finding.metric for finding in result.findings}


def test_a_token_masked_on_one_side_is_an_infinite_kl(side_by_side: Compare, rows: Any) -> None:
    masked = rows.copy()
    masked[0, 63] = -np.inf
    agreement = side_by_side(rows, masked)
    assert agreement.full is not None
    assert agreement.full.kl == math.inf
    assert FullVocabulary.from_json(agreement.full.to_json()) == agreement.full
    result = check_agreement(agreement, resolve("bfloat16"))
    assert not result
    assert any("1 columns are -inf on one side only" in note for note in result.notes)


def test_mass_on_other_spellings_is_told_for_both_sides(side_by_side: Compare, rows: Any) -> None:
    moved = rows.copy()
    moved[0, 40] = 7.0
    result = check_agreement(side_by_side(rows, moved), FLOAT32)
    assert any("on other spellings of the letters" in note for note in result.notes)


@pytest.mark.parametrize("data", [{}, {"kl": 0.0, "js": 0.0}, dict.fromkeys(("kl", "js"), "x")])
def test_damaged_metrics_are_refused(data: Any) -> None:
    with pytest.raises(RecordingError, match="--fresh"):
        FullVocabulary.from_json(data)


@given(st.lists(st.floats(-20, 20, width=32), min_size=4, max_size=30), st.data())
def test_full_vocabulary_metrics_survive_json(values: list[float], data: st.DataObject) -> None:
    left = np.array(values, dtype=np.float32)
    right = np.array(data.draw(st.permutations(values)), dtype=np.float32)
    full = compare_rows(left, right)
    assert FullVocabulary.from_json(full.to_json()) == full
