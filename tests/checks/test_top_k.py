"""The audit of reported top-k lists: each way in which a list can be wrong."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from harness.checks.tolerances import DEFAULTS
from harness.checks.top_k import check_top_k
from harness.distributions import log_softmax
from harness.engines.contract import Entry
from harness.recordings.store import Recording

LETTERS = ("A", "B", "C")
FLOAT32 = DEFAULTS["float32"]
K = 20

Make = Callable[..., Recording]


def audit(recording: Recording, **options: Any) -> Any:
    return check_top_k(recording, LETTERS, FLOAT32, **{"asked": K} | options)


def with_top(recording: Recording, top: list[Entry]) -> Recording:
    return replace(recording, answer=replace(recording.answer, reported_top=tuple(top)))


@pytest.mark.parametrize("with_row", [True, False])
def test_a_true_list_passes_with_and_without_the_row(make_recording: Make, rows: Any, with_row: bool) -> None:
    recording = make_recording({"two-stage": rows, "captured": rows}, asked=K)
    result = audit(recording, rows={"two-stage": rows[0]} if with_row else None)
    assert result
    assert [metric.name for metric in result.metrics] == ["logprob, 'two-stage'", "logprob, 'captured'"]
    assert result.metrics[0].value <= 1e-9
    assert result.missed == ()


def test_a_list_as_long_as_the_vocabulary_is_what_a_larger_k_gets(make_recording: Make, rows: Any) -> None:
    assert audit(make_recording({"captured": rows}, asked=100), asked=100)


def test_letters_outside_the_list_are_named_and_do_not_fail(make_recording: Make, rows: Any) -> None:
    rows[0, 12] = -3.0
    result = audit(make_recording({"captured": rows}, asked=K))
    assert result
    share = float(np.exp(log_softmax(rows[0])[12]))
    assert [letter for letter, _ in result.missed] == ["C"]
    assert sum(mass for _, mass in result.missed) == pytest.approx(share)
    assert f"letters outside the 20 reported: C ({share:.3g}); {share:.3g} missed" in str(result)


def test_no_list_fails(make_recording: Make, rows: Any) -> None:
    result = audit(make_recording({"captured": rows}, reported_top=()))
    assert [finding.metric for finding in result.findings] == ["entries"]
    assert "reports no log-probabilities, although 20 were asked for" in str(result)


def test_asking_for_nothing_is_no_audit(make_recording: Make, rows: Any) -> None:
    with pytest.raises(ValueError, match="asked = 0"):
        audit(make_recording({"captured": rows}), asked=0)


def test_an_answer_never_reached_fails(
    make_recording: Make, without_letter: Callable[[Recording], Recording], rows: Any
) -> None:
    result = audit(without_letter(make_recording({"captured": rows})))
    assert not result
    assert "no reading has the answer's row; the model wrote 'no idea'" in str(result)


def test_too_few_and_too_many_entries_fail(make_recording: Make, rows: Any) -> None:
    recording = make_recording({"captured": rows}, asked=K)
    longer = make_recording({"captured": rows}, asked=K + 1).answer.reported_top
    for top in (recording.answer.reported_top[:-1], longer):
        result = audit(with_top(recording, list(top)))
        assert result.findings[0].metric == "entries"
        assert f"found {len(top)} entries; expected 20" in str(result)


def test_a_single_certain_entry_is_explained(make_recording: Make, rows: Any) -> None:
    result = audit(with_top(make_recording({"captured": rows}, asked=K), [Entry(11, 0.0)]))
    assert "normalised over its one candidate" in str(result)


def test_a_reading_that_kept_too_little_cannot_vouch(make_recording: Make, rows: Any) -> None:
    recording = make_recording({"captured": rows}, asked=5)
    result = audit(recording)
    assert "kept 5 entries of the full row, too few to audit 20" in str(result)


def test_duplicates_fail(make_recording: Make, rows: Any) -> None:
    recording = make_recording({"captured": rows}, asked=K)
    top = list(recording.answer.reported_top)
    result = audit(with_top(recording, [*top[:-1], top[-2]]))
    assert f"ids [{top[-2].id}] are in the list more than once" in str(result)


def test_a_wrong_order_fails(make_recording: Make, rows: Any) -> None:
    recording = make_recording({"captured": rows}, asked=K)
    top = list(recording.answer.reported_top)
    top[3], top[4] = top[4], top[3]
    result = audit(with_top(recording, top))
    assert [finding.metric for finding in result.findings] == ["order"]
    assert "at place 3" in str(result)


@pytest.mark.parametrize("value", [1e-3, math.nan])
def test_one_wrong_value_fails_and_is_named(make_recording: Make, rows: Any, value: float) -> None:
    recording = make_recording({"captured": rows}, asked=K)
    top = list(recording.answer.reported_top)
    top[0] = Entry(top[0].id, top[0].logprob + value)
    result = audit(with_top(recording, top))
    assert not result
    assert "1 of 20 values differ" in str(result)
    assert "'B' (id 11)" in str(result)


@pytest.mark.parametrize("with_row", [True, False])
def test_a_token_that_does_not_belong_fails_and_so_does_the_one_it_displaced(
    make_recording: Make, rows: Any, with_row: bool
) -> None:
    recording = make_recording({"captured": rows}, asked=K)
    top = list(recording.answer.reported_top)
    ordered = np.argsort(-rows[0])
    stranger = int(ordered[30])
    true = float(log_softmax(rows[0])[stranger])
    result = audit(
        with_top(recording, [*top[:5], *top[6:], Entry(stranger, true)]),
        rows={"captured": rows[0]} if with_row else {},
    )
    assert [finding.metric for finding in result.findings] == ["membership", "membership"]
    assert f"id {stranger} reported, but not among the 20 largest" in str(result)
    assert f"id {top[5].id} ({top[5].logprob:.6g}) missing from the list" in str(result)


def test_a_stranger_with_a_large_value_fails_without_the_row(make_recording: Make, rows: Any) -> None:
    recording = make_recording({"captured": rows}, asked=K)
    top = list(recording.answer.reported_top)
    stranger = int(np.argsort(-rows[0])[30])
    result = audit(with_top(recording, [top[0], Entry(stranger, top[1].logprob), *top[2:]]))
    assert f"id {stranger} reported, but not among the 20 largest" in str(result)


@pytest.mark.parametrize("with_row", [True, False])
def test_either_of_two_tied_tokens_may_be_at_the_edge(
    make_recording: Make, rows: Any, with_row: bool
) -> None:
    ordered = np.argsort(-rows[0])
    rows[0, ordered[K]] = rows[0, ordered[K - 1]]
    recording = make_recording({"captured": rows}, asked=K)
    top = list(recording.answer.reported_top)
    other = int(({int(ordered[K]), int(ordered[K - 1])} - {top[-1].id}).pop())
    swapped = with_top(recording, [*top[:-1], Entry(other, top[-1].logprob)])
    assert audit(swapped, rows={"captured": rows[0]} if with_row else {})


@pytest.mark.parametrize("temperature", [0.8, 2.0])
def test_values_taken_after_temperature_are_recognised(
    make_recording: Make, rows: Any, temperature: float
) -> None:
    recording = make_recording({"captured": rows}, asked=K, reported=rows / temperature)
    result = audit(recording)
    assert not result
    assert result.scaling is not None
    assert result.scaling.factor == pytest.approx(1 / temperature, rel=1e-4)
    text = str(result)
    if temperature < 1:
        assert f"the reported list was divided by a temperature of {temperature:.3f}" in text
    else:
        assert f"or the reported list by one of {temperature:.3f}" in text


def test_values_normalised_over_the_list_are_recognised(make_recording: Make, rows: Any) -> None:
    recording = make_recording({"captured": rows}, asked=K)
    top = recording.answer.reported_top
    total = math.log(sum(math.exp(entry.logprob) for entry in top))
    shifted = [Entry(entry.id, entry.logprob - total) for entry in top]
    result = audit(with_top(recording, shifted))
    assert not result
    assert result.scaling is None
    assert "normalised over a part of the vocabulary" in str(result)


def test_each_path_is_audited(make_recording: Make, rows: Any) -> None:
    other = rows.copy()
    other[0, 11] += 0.1
    result = audit(make_recording({"captured": rows, "two-stage": other}, asked=K))
    assert {finding.metric for finding in result.findings} == {"logprob, 'two-stage'"}


def test_ids_no_path_knows_fail(make_recording: Make, rows: Any) -> None:
    recording = make_recording({"captured": rows}, asked=3)
    strangers = [Entry(int(i), -1.0 - n) for n, i in enumerate(np.argsort(rows[0])[:3])]
    result = audit(with_top(recording, strangers), asked=3)
    assert "none of the 3 reported ids is known" in str(result)
