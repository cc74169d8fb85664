"""The check on its own, and its place before probabilities in the judgement of an agreement."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from harness.checks.agreement import Agreement, check_agreement, compare
from harness.checks.full_vocabulary import compare_rows
from harness.checks.same_question import check_question
from harness.checks.tolerances import DEFAULTS
from harness.engines.contract import Question
from harness.recordings.store import Recording

ASKED = Question(text="<s>Look<image>?", tokens=3, tiles=1, pixels="1" * 64, pixel_means=(0.5,))
OTHER = replace(ASKED, tiles=2, pixels="2" * 64, pixel_means=(0.5, 0.1))
ROUNDED = replace(ASKED, pixels="3" * 64, pixel_means=(0.501,))

Ask = Callable[[Question, Question], Agreement]


@pytest.fixture
def asked(make_recording: Callable[..., Recording], rows: Any) -> Ask:
    """Two recordings with equal answers to these questions."""

    def build(a: Question, b: Question) -> Agreement:
        left = make_recording({"forward": rows}, question=a)
        right = make_recording({"captured": rows}, engine="embedded-lmdeploy", question=b)
        return compare(left, right, ("A", "B", "C"), full=compare_rows(rows[0], rows[0]))

    return build


def test_the_same_question_passes_without_notes(asked: Ask) -> None:
    result = check_question(asked(ASKED, ASKED))
    assert result
    assert result.notes == ()
    assert "same question: shapes.red-circle, embedded-lmdeploy against embedded-torch: passed" in str(result)


def test_a_difference_fails_though_the_answers_are_equal(asked: Ask) -> None:
    result = check_question(asked(ASKED, OTHER))
    assert not result
    assert [finding.metric for finding in result.findings] == ["1 against 2 tiles"]


def test_rounding_and_what_is_not_known_are_notes(asked: Ask) -> None:
    assert [n.partition(":")[0] for n in check_question(asked(ASKED, ROUNDED)).notes] == ["pixel values"]
    silent = check_question(asked(ASKED, Question()))
    assert silent
    assert silent.notes == (
        "not known: embedded-lmdeploy does not tell its rendered prompt, its number of tiles and its pixel "
        "values",
    )


def test_the_agreement_names_the_cause_first_and_once(asked: Ask) -> None:
    result = check_agreement(asked(ASKED, OTHER), DEFAULTS["float32"])
    (finding,) = result.findings
    assert str(finding) == (
        "question: the engines were asked different questions: 1 against 2 tiles (test_same_question shows "
        "them); what follows compares answers to different questions"
    )
    assert check_agreement(asked(ASKED, ASKED), DEFAULTS["float32"])
    assert check_agreement(asked(ASKED, ROUNDED), DEFAULTS["float32"])
