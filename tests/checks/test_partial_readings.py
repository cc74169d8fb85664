"""Every check on partial readings and on answers by text: passes what is known, fails what is not."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from harness.checks.agreement import Agreed, check_agreement, compare
from harness.checks.answers import letter_probabilities, top_index, written_letter
from harness.checks.expected_letter import ExpectedLetter, check_expected_letter
from harness.checks.intervals import Interval, apart, letter_intervals
from harness.checks.stages import Stages, check_stages
from harness.checks.tolerances import DEFAULTS
from harness.checks.top_k import check_top_k
from harness.distributions import log_softmax
from harness.engines.contract import Answer, Entry, Reading
from harness.engines.letters import LetterIds
from harness.engines.readings import TextEntry, read_top, read_top_texts
from harness.recordings.store import Recording
from harness.snapshots.answers import differences, snapshot_data
from tests.checks.test_expected_letter import Case

LETTERS = ("A", "B", "C")
IDS = LetterIds(LETTERS, (), (10, 11, 12), ((40, 41), (42,), (43,)))
FLOAT32 = DEFAULTS["float32"]
Rows = Any
Make = Callable[..., Recording]


def by_text(row: Any, count: int, *, text: str = "B", path: str = "chat", **changes: Any) -> Recording:
    """What a server with a cap of ``count`` tells of ``row`` [V]; ids 10 to 12 are A to C."""
    logprobs = log_softmax(row)
    best = [int(i) for i in np.argsort(-logprobs, kind="stable")[:count]]
    names = dict(zip(IDS.ids, LETTERS, strict=True))
    top = [TextEntry(names.get(i, f"token {i}"), float(logprobs[i])) for i in best]
    reading = read_top_texts(path, top, [top[0].logprob], letters=LETTERS, spellings=((), (), ()))
    answer = Answer(
        prompt_ids=(), generated_ids=(), text=text, letter_ids=(), answer_step=0, readings=(reading,)
    )
    return Recording(
        key="t", case="shapes.red-circle", engine="p-api", answer=replace(answer, **changes), fingerprint={}
    )


def with_top(recording: Recording, row: Any, count: int) -> Recording:
    """The recording by ids with a first path that saw only the ``count`` most probable of ``row``."""
    logprobs = log_softmax(row)
    best = [int(i) for i in np.argsort(-logprobs, kind="stable")[:count]]
    top = {i: float(logprobs[i]) for i in best}
    tops = [top, *({i: -0.1} for i in recording.answer.generated_ids[1:])]
    reading = read_top("top", tops, recording.answer.generated_ids, letter_ids=IDS)
    return replace(recording, answer=replace(recording.answer, readings=(reading,)))


def agreed(a: Recording, b: Recording) -> Agreed:
    return check_agreement(compare(a, b, LETTERS), FLOAT32)


def expected(recording: Recording, **changes: Any) -> ExpectedLetter:
    return check_expected_letter(recording, Case(**changes))


@pytest.fixture
def row(rows: Rows) -> Any:
    """A row in which B, A and C are the three most probable, with 0.87, 0.12 and 0.016."""
    rows[0, 13:] = np.minimum(rows[0, 13:], 0.0)
    rows[0, :10] = np.minimum(rows[0, :10], 0.0)
    return rows[0]


def test_an_unseen_letter_is_never_shown_as_zero(row: Any) -> None:
    reading = by_text(row, 2).answer.readings[0]
    assert math.isnan(letter_probabilities(reading)[2])
    low, high = letter_intervals(reading)[2]
    assert low == 0.0
    assert high > 0.0
    assert math.exp(log_softmax(row)[12]) <= high
    assert str(letter_intervals(reading)[2]).startswith("at most ")


def test_differences_of_intervals() -> None:
    assert apart(Interval(0.5, 0.5), Interval(0.4, 0.4)) == pytest.approx((0.1, 0.1))
    assert apart(Interval(0.0, 0.2), Interval(0.1, 0.1)) == (0.0, 0.1)
    assert apart(Interval(0.0, 0.2), Interval(0.5, 0.5)) == (0.3, 0.5)
    assert all(math.isnan(end) for end in apart(Interval(math.nan, math.nan), Interval(0.5, 0.5)))


# Expected letter.


def test_the_expected_letter_passes_when_nothing_outside_can_be_above_it(row: Any) -> None:
    result = expected(by_text(row, 2))
    assert result, str(result)
    assert result.top == "B"
    assert any(metric.name == "p(C) at most" for metric in result.metrics)


def test_another_letter_on_top_fails_and_the_expected_one_is_bounded(row: Any) -> None:
    result = expected(by_text(row, 2), expect="C")
    assert [finding.metric for finding in result.findings] == ["top letter", "generated token"]
    assert "expected C (at most " in str(result)
    assert "the model wrote B, expected C" in str(result)


def test_no_letter_in_the_list_is_undecided(row: Any) -> None:
    row[30] = 20.0
    result = expected(by_text(row, 1, text="token 30"))
    assert result.top is None
    assert [finding.metric for finding in result.findings] == ["top letter", "generated token"]
    assert "undecided between A (at most " in str(result)
    assert "A, B, C outside the engine's list; it would take a top_k" in str(result)


def test_a_letter_that_may_tie_with_one_outside_is_undecided(make_recording: Make, rows: Rows) -> None:
    # A server whose list ends at B: what is outside may be exactly as probable.
    recording = make_recording({"forward": rows})
    reading = replace(
        recording.answer.readings[0],
        letter_logits=(-math.inf, math.log(0.3), -math.inf),
        letter_ceilings=(math.log(0.3), math.log(0.3), math.log(0.3)),
        log_z=0.0,
    )
    result = expected(replace(recording, answer=replace(recording.answer, readings=(reading,))))
    assert result.top is None
    assert "undecided between A (at most 0.3), B (0.3), C (at most 0.3): A, C outside the 20 tokens" in str(
        result
    )
    assert "it would take a top_k above 20" in str(result)


def test_equal_letters_with_known_ids_go_to_the_lower_id(make_recording: Make, rows: Rows) -> None:
    rows[0, [10, 11, 12]] = 7.0, 7.0, 1.0
    recording = with_top(make_recording({"forward": rows}, generated=(10, 5, 6)), rows[0], 2)
    assert top_index(recording.answer.readings[0], recording.answer.letter_ids) == 0


def test_equal_letters_by_text_are_undecided(row: Any) -> None:
    row[10] = row[11]
    assert "undecided between A (" in str(expected(by_text(row, 3)))


@pytest.mark.parametrize(
    ("text", "prefix", "letter"),
    [
        ("B", "", "B"),
        ("Answer: B", "Answer: ", "B"),
        ("B. red", "", "B"),
        ("Blue", "", None),
        ("The", "", None),
        ("", "", None),
        ("b", "", None),
    ],
)
def test_the_written_letter_by_text(row: Any, text: str, prefix: str, letter: str | None) -> None:
    assert written_letter(by_text(row, 3, text=text).answer, LETTERS, prefix) == letter


def test_a_word_in_the_letters_place_fails_by_text(row: Any) -> None:
    result = expected(by_text(row, 3, text="Blue"))
    assert "did not answer with a letter: it wrote 'Blue', expected B" in str(result)


# Agreement.


def test_all_letters_in_the_list_agree_as_full_readings_do(
    make_recording: Make, rows: Rows, row: Any
) -> None:
    result = agreed(make_recording({"forward": rows[:1]}), by_text(row, 20))
    assert result, str(result)
    assert result.agreement.worst == pytest.approx(0.0, abs=1e-9)
    assert any("KL and JS over the full vocabulary cannot be told: p-api" in note for note in result.notes)


def test_a_letter_that_may_be_anywhere_in_an_interval_is_not_decidable(
    make_recording: Make, rows: Rows, row: Any
) -> None:
    result = agreed(make_recording({"forward": rows[:1]}), by_text(row, 2))
    found = {finding.metric: finding.text for finding in result.findings}
    assert set(found) == {"probability", "total_variation"}
    assert "not decidable: the difference is at most " in found["probability"]
    assert "C is only known to be at most " in found["probability"]
    assert "It would take a top_k" in found["probability"]
    assert result.agreement.least == pytest.approx(0.0, abs=1e-9)


def test_an_interval_within_the_limit_passes(make_recording: Make, rows: Rows, row: Any) -> None:
    rows[0, [10, 11, 12]] = 0.0, 30.0, 0.0
    result = agreed(make_recording({"forward": rows[:1]}), by_text(rows[0], 2))
    assert result, str(result)
    assert 0.0 < (result.agreement.worst or 0.0) < FLOAT32.probability


def test_a_difference_that_no_interval_explains_fails(make_recording: Make, rows: Rows, row: Any) -> None:
    moved = row.copy()
    moved[10] += 0.5
    result = agreed(make_recording({"forward": rows[:1]}), by_text(moved, 2))
    found = {finding.metric: finding for finding in result.findings}
    assert "at least " in found["probability"].text
    assert "is over the limit of" in found["probability"].text
    assert found["probability"].value == result.agreement.least


def test_the_reference_outside_the_others_interval_fails(make_recording: Make, rows: Rows, row: Any) -> None:
    lowered = row.copy()
    lowered[12] = -20.0
    result = agreed(make_recording({"forward": rows[:1]}), by_text(lowered, 40))
    assert "at least " in {finding.metric: finding.text for finding in result.findings}["probability"]


def test_other_text_fails_where_ids_are_not_told(make_recording: Make, rows: Rows, row: Any) -> None:
    result = agreed(make_recording({"forward": rows[:1]}), by_text(row, 20, text="A"))
    assert "generated text: 'B' in embedded-torch, 'A' in p-api" in str(result)


def test_other_letters_by_text_are_a_near_tie_where_they_are_that_close(
    make_recording: Make, rows: Rows, row: Any
) -> None:
    rows[0, 10] = rows[0, 11] - 1e-6
    other = rows[0].copy()
    other[10] = other[11] + 1e-6
    result = agreed(make_recording({"forward": rows[:1]}), by_text(other, 20, text="A"))
    assert not any(finding.metric == "generated text" for finding in result.findings), str(result)
    assert any("near-tie let through: generated 'B'" in note for note in result.notes)


def test_one_side_undecided_is_a_finding(make_recording: Make, rows: Rows, row: Any) -> None:
    hidden = row.copy()
    hidden[30] = 20.0
    result = agreed(make_recording({"forward": rows[:1]}), by_text(hidden, 1, text="token 30"))
    assert "p-api: undecided between" in str(result)


# Stages and top-k.


def staged(readings: Sequence[Reading], row: Any) -> Recording:
    recording = by_text(row, 3)
    return replace(recording, answer=replace(recording.answer, readings=tuple(readings)))


def test_two_partial_accounts_by_text_are_compared(row: Any) -> None:
    first, second = (by_text(row, count).answer.readings[0] for count in (3, 2))
    assert check_stages(staged([first, second], row), LETTERS, FLOAT32)
    moved = row.copy()
    moved[10] += 0.1
    result = check_stages(staged([first, by_text(moved, 3).answer.readings[0]], row), LETTERS, FLOAT32)
    assert "answer's row, 'chat' and 'chat'" in str(result)
    assert not result


def test_a_path_that_knows_the_letters_only_is_compared_at_its_row(row: Any) -> None:
    first, second = (by_text(row, count).answer.readings[0] for count in (3, 4))
    silent = replace(second, path="scored", logprobs=())

    def compared(*readings: Reading) -> Stages:
        return check_stages(staged(readings, row), LETTERS, FLOAT32)

    result = compared(first, silent)
    assert result, str(result)
    assert "path 'scored' tells of the letters only" in str(result)
    moved = row.copy()
    moved[10] += 0.1
    other = replace(by_text(moved, 3).answer.readings[0], path="scored", logprobs=())
    assert "answer's row, 'chat' and 'scored'" in str(
        check_stages(staged([first, other], row), LETTERS, FLOAT32)
    )
    unknown = replace(silent, letter_logits=(), log_z=None)
    assert "scored: logprobs has 0 entries" in str(
        check_stages(staged([first, unknown], row), LETTERS, FLOAT32)
    )


def test_a_letter_above_the_ceiling_of_another_account_fails(row: Any) -> None:
    lowered = row.copy()
    lowered[12] = -20.0
    first, second = by_text(row, 3).answer.readings[0], by_text(lowered, 30).answer.readings[0]
    result = check_stages(staged([first, second], row), LETTERS, FLOAT32)
    assert "(logprob of C)" in str(result)


def test_one_account_by_text_contradicts_nothing(row: Any) -> None:
    assert "comparing takes two" in str(check_stages(by_text(row, 3), LETTERS, FLOAT32))


def test_a_list_without_a_full_row_is_looked_at_on_its_own(make_recording: Make, rows: Rows) -> None:
    recording = with_top(make_recording({"forward": rows}), rows[0], 20)
    result = check_top_k(recording, LETTERS, FLOAT32, asked=20)
    assert result, str(result)
    assert any("were not audited" in note for note in result.notes)
    reported = recording.answer.reported_top
    planted = {
        "not in descending order": tuple(reversed(reported)),
        "found 5 entries; expected 20": reported[:5],
        "sum to 1.8": (Entry(1, math.log(0.9)), Entry(2, math.log(0.9)), *reported[2:20]),
        "more than once": (reported[0], reported[0], *reported[2:]),
    }
    for said, entries in planted.items():
        changed = replace(recording, answer=replace(recording.answer, reported_top=entries))
        assert said in str(check_top_k(changed, LETTERS, FLOAT32, asked=20)), said


# Snapshots.


def test_a_snapshot_keeps_the_bound_of_an_unseen_letter(row: Any) -> None:
    kept = snapshot_data(by_text(row, 2).answer, LETTERS, "float32")
    assert kept["token_ids"] == []
    letters = kept["letters"]
    assert isinstance(letters, dict)
    bound = letters["C"]
    assert isinstance(bound, dict)
    assert list(bound) == ["at most"]
    high = letter_intervals(by_text(row, 2).answer.readings[0])[2].high
    assert high <= float(str(bound["at most"])) <= high + 1e-6


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('{"at most": 0.001}', '{"at most": 0.001005}', None),
        ('{"at most": 0.001}', '{"at most": 0.002}', "moved by 0.001"),
        ("0.000004", '{"at most": 0.000009}', None),
        ("0.000004", '{"at most": 0.001}', "may have moved by 0.000996"),
        ('{"at most": 0.001}', "0.5", "may have moved by 0.5"),
        ('{"at most": 0.0}', "0.000001", None),
        ('{"at most": 0.001}', "null", "may have moved by inf"),
    ],
)
def test_bounds_are_compared(old: str, new: str, said: str | None) -> None:
    found = differences(f'{{"letters": {{"C": {old}}}}}', f'{{"letters": {{"C": {new}}}}}', 1e-5)
    assert (said is None and found == []) or (said is not None and said in found[0]), found
