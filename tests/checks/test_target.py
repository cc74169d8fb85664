"""The checks on a text that is accepted: each passes on equal answers and finds what is planted."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from harness.checks.agreement import Agreed, check_agreement, compare
from harness.checks.expected_letter import check_expected_letter
from harness.checks.full_vocabulary import compare_rows
from harness.checks.log_odds import of_reading, rest_of, share_of
from harness.checks.same_question import check_question
from harness.checks.stages import check_stages
from harness.checks.target import stretch, tokens_told
from harness.checks.tolerances import DEFAULTS
from harness.checks.top_k import check_top_k
from harness.recordings.store import Recording
from tests.text_answers import NAMES, STOP, TARGET, rows_for, text_answer, text_recording

CASE = SimpleNamespace(letters=NAMES, expect="1984", answer_prefix="")
LIMITS = DEFAULTS["float32"]
RIGHT, WRONG, SHORT = (5.0, 2.0, 6.0), (5.0, -2.0, 6.0), (5.0, 2.0, -3.0)


def agreed(a: Recording, b: Recording) -> Agreed:
    rows = [one.answer.rows["forward"] for one in (a, b)]
    return check_agreement(compare(a, b, NAMES, full=compare_rows(rows[0], rows[1])), LIMITS)


def findings(result: Agreed) -> set[str]:
    return {finding.metric for finding in result.findings}


def test_a_text_that_is_written_is_right() -> None:
    result = check_expected_letter(text_recording(*RIGHT), CASE)
    assert result
    assert (result.top, result.wrote) == ("1984", "1984")
    assert result.probabilities == pytest.approx((0.7, 0.3), abs=0.2)
    assert sum(result.probabilities) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("leads", "wrote", "words"),
    [
        (WRONG, "1985", "token 2 of the text: '85' (0.8"),
        ((-1.0, 2.0, 6.0), "85", "token 1 of the text: '85' (0.7"),
        (SHORT, "198485", "'85' (0.9"),
    ],
)
def test_a_text_that_is_not_written_names_the_first_token_that_differs(
    leads: tuple[float, ...], wrote: str, words: str
) -> None:
    result = check_expected_letter(text_recording(*leads), CASE)
    assert not result
    assert result.top == NAMES[1]
    assert result.wrote == wrote
    assert f"the model wrote {wrote!r}, expected '1984'" in str(result)
    assert str(result).startswith("expected text: ")
    assert words in str(result)


def test_a_text_that_goes_on_is_wrong_where_it_should_end() -> None:
    assert "where the text ends" in str(check_expected_letter(text_recording(*SHORT), CASE))


def test_a_long_text_may_be_right_below_half() -> None:
    result = check_expected_letter(text_recording(0.2, 0.3, 0.2), CASE)
    assert result
    assert result.probabilities[0] < 0.5


def test_a_path_that_did_not_see_the_whole_text_cannot_tell() -> None:
    recording = text_recording(*RIGHT)
    partial = text_answer({"top-k": rows_for(*RIGHT)})
    (reading,) = partial.readings
    part = replace(
        reading, target=reading.target[:1], letter_logits=(-math.inf,) * 2, letter_ceilings=(-0.1, 0.0)
    )
    result = check_expected_letter(replace(recording, answer=replace(partial, readings=(part,))), CASE)
    assert result.top is None
    assert "raise max_new_tokens" in str(result)
    assert math.isnan(of_reading(part)[0])


def test_equal_texts_agree() -> None:
    result = agreed(text_recording(*RIGHT), text_recording(*RIGHT, engine="p-lmdeploy"))
    assert result, str(result)
    assert any("the end" in note for note in result.notes)


def test_another_text_and_a_moved_probability_are_found() -> None:
    result = agreed(text_recording(*RIGHT), text_recording(*WRONG, engine="p-lmdeploy"))
    assert findings(result) >= {"text", "generated ids", "probability", "log_odds"}
    assert "p-lmdeploy alone writes another text: token 2" in str(result)
    moved = agreed(text_recording(*RIGHT), text_recording(5.0, 2.001, 6.0, engine="p-lmdeploy"))
    assert findings(moved) == {"probability", "total_variation", "log_odds"}


def test_a_near_tie_of_one_token_is_let_through() -> None:
    result = agreed(text_recording(5.0, 1e-6, 6.0), text_recording(5.0, -1e-6, 6.0, engine="p-lmdeploy"))
    assert result, str(result)
    assert sum("near-tie let through" in note for note in result.notes) == 2


def test_other_ids_of_the_text_are_a_finding_of_the_question() -> None:
    a, b = text_recording(*RIGHT), text_recording(*RIGHT, engine="p-lmdeploy")
    assert check_question(compare(a, b, NAMES))
    b = replace(b, answer=replace(b.answer, target_ids=(10, 14)))
    result = check_question(compare(a, b, NAMES))
    assert [finding.metric for finding in result.findings] == ["ids of the accepted text"]
    assert "[10 11] in p-torch, [10 14] in p-lmdeploy" in str(result)


def test_two_accounts_of_a_text_are_compared_token_by_token() -> None:
    recording = text_recording(*RIGHT, paths=("two-stage", "captured"))
    assert check_stages(recording, NAMES, LIMITS)
    other = rows_for(*RIGHT)
    other[1] *= 1.05  # behind the answer's row: its first token is as before
    answer = text_answer({"two-stage": rows_for(*RIGHT), "captured": other})
    result = check_stages(replace(recording, answer=answer), NAMES, LIMITS)
    assert "answer's row, 'two-stage' and 'captured'" in {finding.metric for finding in result.findings}
    assert "logprob of token 2 of the text" in str(result)


def test_the_reported_list_is_audited_at_the_first_token() -> None:
    recording = text_recording(*RIGHT)
    assert check_top_k(recording, NAMES, LIMITS, asked=20)
    reported = tuple(entry._replace(logprob=entry.logprob * 1.1) for entry in recording.answer.reported_top)
    wrong = replace(recording, answer=replace(recording.answer, reported_top=reported))
    assert not check_top_k(wrong, NAMES, LIMITS, asked=20)


def test_the_coordinates_are_the_lead_and_all_that_is_not_the_text() -> None:
    reading = text_answer({"forward": rows_for(*WRONG)}).readings[0]
    assert of_reading(reading) == pytest.approx((-1.0, 1.0), abs=1e-5)
    rest = rest_of(reading, ())
    assert rest is not None
    assert rest.exact
    assert share_of(rest.low) == pytest.approx(math.exp(reading.letter_logits[1]))


def test_a_row_of_logits_shifted_as_a_whole_moves_nothing() -> None:
    one, other = (text_answer({"forward": rows_for(*RIGHT) + np.float32(shift)}) for shift in (0.0, 4.0))
    assert of_reading(one.readings[0]) == pytest.approx(of_reading(other.readings[0]), abs=1e-5)


@pytest.mark.parametrize("leads", [(5.0, 2.0, 6.0), (0.1, 0.1, 0.1), (-3.0, -3.0, -3.0), (15.0, 15.0, 15.0)])
def test_the_whole_moves_by_no_more_than_the_stretch_of_a_token(leads: tuple[float, ...]) -> None:
    """The bound that a limit on log-odds gives for a probability holds for texts of several tokens."""
    step = 1e-4

    def odds(shift: float) -> float:
        rows = rows_for(*leads)
        for place, token in enumerate((*TARGET, STOP)):
            rows[place, token] += np.float32(shift)
        text, rest = text_answer({"forward": rows}).readings[0].letter_logits
        return text - rest

    reading = text_answer({"forward": rows_for(*leads)}).readings[0]
    assert 1.0 <= stretch(reading) <= 3.0 + 1e-6
    assert odds(step) - odds(0.0) == pytest.approx(stretch(reading) * step, rel=0.1)


def test_of_a_long_text_only_the_tokens_about_the_first_other_one_are_told() -> None:
    answer = text_recording(*WRONG).answer
    reading = answer.readings[0]
    long = replace(
        reading, target=(*[reading.target[0]] * 400, reading.target[1], *[reading.target[0]] * 400)
    )
    told = tokens_told(answer, long)
    assert "tokens 393 to 408 of 801" in told
    assert len(told) < 400
    assert tokens_told(answer, replace(long, target=long.target[:16])).startswith(
        "log-probabilities of the text's tokens: "
    )
