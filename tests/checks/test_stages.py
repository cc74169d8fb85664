"""One engine's accounts of its answer: each way in which two of them can contradict one another."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from harness.checks import stages
from harness.checks.tolerances import DEFAULTS, Tolerances
from harness.engines.contract import Entry, Reading
from harness.recordings.store import Recording

FLOAT32 = DEFAULTS["float32"]
BFLOAT16 = DEFAULTS["bfloat16"]

Make = Callable[..., Recording]


def check_stages(recording: Recording, tolerances: Tolerances) -> stages.Stages:
    return stages.check_stages(recording, ("A", "B", "C"), tolerances)


def test_one_story_on_all_paths_passes(make_recording: Make, rows: Any) -> None:
    result = check_stages(make_recording({"two-stage": rows, "captured": rows}), FLOAT32)
    assert result
    assert [metric.name for metric in result.metrics] == [
        "logprob, 'two-stage' and 'captured'",
        "logprob, stage 1 and 'two-stage'",
        "logprob, stage 1 and 'captured'",
        "answer's row, 'two-stage' and 'captured'",
    ]
    assert all(metric.value <= 1e-9 and metric.where for metric in result.metrics)


def test_rounding_noise_passes(make_recording: Make, rows: Any) -> None:
    noise = np.random.default_rng(1).uniform(-5e-6, 5e-6, rows.shape).astype(np.float32)
    assert check_stages(make_recording({"two-stage": rows, "captured": rows + noise}), FLOAT32)


def test_rounding_noise_of_large_logits_passes_and_more_does_not(make_recording: Make, rows: Any) -> None:
    """SmolLM2-135M's logits are of 33 to 36, and its paths up to 3.4e-5 apart."""
    large = rows + np.float32(30)
    near, far = (large + np.float32(by) * (rows > 0) for by in (3.4e-5, 1e-4))
    assert check_stages(make_recording({"forward": large, "generate": near}), FLOAT32)
    assert not check_stages(make_recording({"forward": large, "generate": far}), FLOAT32)
    # A path that is wrong by being large widens no limit, and small logits have the table's.
    assert not check_stages(make_recording({"forward": rows, "generate": rows + np.float32(3.4e-5)}), FLOAT32)


def test_a_single_path_with_reported_values_is_compared(make_recording: Make, rows: Any) -> None:
    result = check_stages(make_recording({"two-stage": rows}), FLOAT32)
    assert result
    assert len(result.metrics) == 1


def test_two_paths_without_reported_values_are_compared(make_recording: Make, rows: Any) -> None:
    recording = make_recording({"forward": rows, "generate": rows}, reported_logprobs=(), reported_top=())
    result = check_stages(recording, FLOAT32)
    assert result
    assert len(result.metrics) == 2
    assert "reports no log-probabilities" in str(result)


def test_a_single_account_is_no_pass(make_recording: Make, rows: Any) -> None:
    result = check_stages(make_recording({"forward": rows}, reported_logprobs=()), FLOAT32)
    assert not result
    assert "comparing takes two" in str(result)


def test_no_generated_token_is_no_pass(make_recording: Make, rows: Any) -> None:
    recording = make_recording({"forward": rows[:0], "generate": rows[:0]}, generated=())
    assert not check_stages(recording, FLOAT32)


@pytest.mark.parametrize("field", ["argmax", "logprobs"])
def test_an_account_that_is_too_short_fails(
    make_recording: Make, with_reading: Any, rows: Any, field: str
) -> None:
    recording = make_recording({"two-stage": rows})
    value = getattr(recording.answer.readings[0], field)[:-1]
    result = check_stages(with_reading(recording, "two-stage", **{field: value}), FLOAT32)
    assert f"two-stage: {field} has 2 entries for 3 generated tokens" in str(result)


def test_too_few_reported_values_fail(make_recording: Make, rows: Any) -> None:
    recording = make_recording({"two-stage": rows}, reported_logprobs=(-0.1,))
    assert "stage 1: logprobs has 1 entries for 3" in str(check_stages(recording, FLOAT32))


def test_a_token_that_is_not_the_rows_argmax_fails_with_its_step(make_recording: Make, rows: Any) -> None:
    recording = make_recording({"two-stage": rows}, generated=(11, 7, 6))
    result = check_stages(recording, FLOAT32)
    assert [finding.metric for finding in result.findings] == ["greedy token, 'two-stage'"]
    assert "first at step 1: id 7 was generated, id 5 is the most probable" in str(result)


def test_a_tie_at_the_answers_row_is_let_through_and_told(make_recording: Make, rows: Any) -> None:
    rows[0, 10] = rows[0, 11]
    result = check_stages(make_recording({"two-stage": rows}, generated=(11, 5, 6)), FLOAT32)
    assert result
    assert "path 'two-stage' ties at step 0: 'B' (id 11) was generated, 'A' (id 10) is 0 above it" in str(
        result
    )


def test_a_near_tie_beyond_the_limit_fails(make_recording: Make, rows: Any) -> None:
    rows[0, 10] = rows[0, 11] + np.float32(1e-3)
    recording = make_recording({"two-stage": rows}, generated=(11, 5, 6))
    assert not check_stages(recording, FLOAT32)
    assert check_stages(recording, BFLOAT16)


def test_a_tie_elsewhere_cannot_be_proved_and_fails(make_recording: Make, rows: Any) -> None:
    rows[1, 4] = rows[1, 5]
    assert not check_stages(make_recording({"two-stage": rows}, generated=(11, 5, 6)), FLOAT32)


@pytest.mark.parametrize("value", [0.01, math.nan])
def test_a_reported_value_that_differs_fails_with_step_and_path(
    make_recording: Make, rows: Any, value: float
) -> None:
    recording = make_recording({"two-stage": rows})
    first, second, third = recording.answer.reported_logprobs
    answer = replace(recording.answer, reported_logprobs=(first, second - value, third))
    result = check_stages(replace(recording, answer=answer), FLOAT32)
    assert [finding.metric for finding in result.findings] == ["logprob, stage 1 and 'two-stage'"]
    assert "1 of 3 steps differ" in str(result)
    assert "at step 1 " in str(result)
    assert "allowed: 2e-05" in str(result)


def test_paths_that_differ_at_a_step_fail(make_recording: Make, rows: Any) -> None:
    other = rows.copy()
    other[2, 6] += 0.1
    result = check_stages(make_recording({"two-stage": rows, "captured": other}), FLOAT32)
    assert {finding.metric for finding in result.findings} == {
        "logprob, 'two-stage' and 'captured'",
        "logprob, stage 1 and 'captured'",
    }


@pytest.mark.parametrize("trapped", ["two-stage", "captured"])
def test_the_temperature_trap_is_recognised_between_paths(
    make_recording: Make, rows: Any, trapped: str
) -> None:
    scaled = rows.copy()
    scaled[0] = rows[0] / np.float32(0.8)
    paths = {"two-stage": rows, "captured": rows} | {trapped: scaled}
    result = check_stages(make_recording(paths, reported=rows), FLOAT32)
    assert not result
    assert result.scaling is not None
    assert f"path '{trapped}' was divided by a temperature of 0.800" in str(result)


def test_the_temperature_trap_is_recognised_with_a_single_path(make_recording: Make, rows: Any) -> None:
    scaled = rows.copy()
    scaled[0] = rows[0] / np.float32(0.8)
    result = check_stages(make_recording({"two-stage": scaled}, reported=rows), FLOAT32)
    assert not result
    assert result.scaling is not None
    assert result.scaling.factor == pytest.approx(1.25, rel=1e-4)
    assert "path 'two-stage' was divided by a temperature of 0.800" in str(result)


def test_a_changed_answers_row_fails_though_the_generated_token_is_unmoved(
    make_recording: Make, with_reading: Any, rows: Any
) -> None:
    recording = make_recording({"two-stage": rows, "captured": rows})
    letters = recording.answer.readings[1].letter_logits
    changed = with_reading(recording, "captured", letter_logits=(letters[0], letters[1], letters[2] + 0.5))
    result = check_stages(changed, FLOAT32)
    assert [finding.metric for finding in result.findings] == ["answer's row, 'two-stage' and 'captured'"]
    assert "logit of C" in str(result)


@pytest.mark.parametrize("changes", [{"log_z": math.nan}, {"log_z": 100.0}, {"top": (Entry(1, math.nan),)}])
def test_a_damaged_answers_row_fails(
    make_recording: Make, with_reading: Any, rows: Any, changes: dict[str, Any]
) -> None:
    recording = with_reading(make_recording({"two-stage": rows, "captured": rows}), "captured", **changes)
    assert not check_stages(recording, FLOAT32)


def test_another_token_in_the_kept_top_fails(make_recording: Make, with_reading: Any, rows: Any) -> None:
    recording = make_recording({"two-stage": rows, "captured": rows})
    top = recording.answer.readings[1].top
    changed = with_reading(recording, "captured", top=(*top[:1], Entry(63, top[1].logprob), *top[2:]))
    assert f"logprob of id {top[1].id}" in str(check_stages(changed, FLOAT32)) or "logprob of id 63" in str(
        check_stages(changed, FLOAT32)
    )


def test_a_path_without_the_answers_row_fails(make_recording: Make, with_reading: Any, rows: Any) -> None:
    recording = make_recording({"two-stage": rows, "captured": rows})
    result = check_stages(with_reading(recording, "captured", letter_logits=(), log_z=None, top=()), FLOAT32)
    assert "missing at step 0" in str(result)


def test_an_answer_never_reached_is_still_compared_step_by_step(
    make_recording: Make, without_letter: Callable[[Recording], Recording], rows: Any
) -> None:
    recording = without_letter(make_recording({"two-stage": rows, "captured": rows}))
    assert check_stages(recording, FLOAT32)


def beside_scored(recording: Recording, **changes: Any) -> Recording:
    """The recording with the path ``scored`` beside its first, from the same row."""
    first = recording.answer.readings[0]
    letters = tuple(logit - (first.log_z or 0.0) for logit in first.letter_logits)
    scored = Reading(
        path="scored",
        argmax=first.argmax,
        logprobs=first.logprobs,
        letter_logits=letters,
        log_z=0.0,
        top=first.top,
        letter_ceilings=letters,
    )
    answer = replace(recording.answer, readings=(first, replace(scored, **changes)))
    return replace(recording, answer=answer)


def test_letters_scored_one_by_one_are_compared_with_the_row(make_recording: Make, rows: Any) -> None:
    result = check_stages(beside_scored(make_recording({"two-stage": rows})), FLOAT32)

    assert result
    assert "answer's row, 'two-stage' and 'scored'" in [metric.name for metric in result.metrics]


def test_a_letter_that_is_scored_otherwise_fails(make_recording: Make, rows: Any) -> None:
    recording = beside_scored(make_recording({"two-stage": rows}))
    a, b, c = recording.answer.readings[1].letter_logits
    moved = (a, b, c - 0.01)
    result = check_stages(beside_scored(recording, letter_logits=moved, letter_ceilings=moved), FLOAT32)

    assert not result
    assert "the most by 0.01 (logprob of C)" in str(result)


def test_a_generated_token_that_is_scored_otherwise_fails(make_recording: Make, rows: Any) -> None:
    recording = make_recording({"two-stage": rows})
    first, *others = recording.answer.readings[0].logprobs
    result = check_stages(beside_scored(recording, logprobs=(first - 0.01, *others)), FLOAT32)

    assert not result
    assert "logprob, 'two-stage' and 'scored'" in str(result)
