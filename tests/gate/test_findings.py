"""Why two sides were not asked the same, grouped by cause: on recordings made by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.checks.agreement import compare
from harness.checks.question.causes import Cause, QuestionDifference
from harness.engines.contract import Question
from harness.gate.findings import question_causes, question_findings
from harness.verdicts.noise_model import Noise
from harness.verdicts.verdict import Change
from tests.verdicts.changes import LETTERS, change, recording

NOISE = Noise(None, None, dtypes=("float32", "float32"), table=1e-4)


def asked(number: int, *texts: str | None) -> Change:
    """A case that two sides with equal answers were asked in these renderings."""
    both = [
        replace(one, answer=replace(one.answer, question=Question(text=text), prompt_ids=()))
        for name, text in zip("ab", texts, strict=True)
        for one in [recording([1.0, 0.0, 0.0, 0.0], engine=f"p-{name}")]
    ]
    return replace(
        change(None, None, NOISE, case=f"s.c{number}"), agreement=compare(both[0], both[1], LETTERS)
    )


CHANGES = [
    asked(0, "same words", "same  words"),
    asked(1, "a b", "a c"),
    asked(2, "a b", "a d"),
    asked(3, None, "whatever"),
]


def test_the_cause_of_most_cases_comes_first_with_its_first_case() -> None:
    first, second = question_findings(CHANGES, allowed=False, upgrade=False)
    assert first.text == (
        "asked different questions in 2 of 4 cases: another question text: 'a b' in p-a, 'a c' in p-b "
        "(first s.c1; cases/s.yaml:3:5); allowed: the same question on both sides, or --allow question"
    )
    assert (first.cases, first.blocks) == (("s.c1", "s.c2"), True)
    assert second.text.startswith("asked different questions in 1 of 4 cases: white space in the template: ")
    assert "--allow" not in second.text
    assert question_causes(CHANGES) == [
        "the question: another question text (2 of 4 cases)",
        "the question: white space in the template (1 of 4 cases)",
    ]


def test_the_words_are_those_of_the_check() -> None:
    agreement = CHANGES[1].agreement
    assert agreement is not None
    (difference,) = [each for each in agreement.question if not each.note]
    found, *_ = question_findings(CHANGES, allowed=False, upgrade=False)
    assert f"{difference.title}: {difference.text}" in found.text


def test_what_is_not_told_is_no_difference() -> None:
    assert question_findings(CHANGES[3:], allowed=False, upgrade=False) == ()


@pytest.mark.parametrize(("allowed", "upgrade"), [(True, False), (False, True), (True, True)])
def test_two_models_may_be_asked_otherwise(allowed: bool, upgrade: bool) -> None:
    found = question_findings(CHANGES, allowed=allowed, upgrade=upgrade)
    assert [one.blocks for one in found] == [False, False]
    assert ("let pass: --allow question" in found[0].text) is allowed


def test_one_case_of_several_causes_counts_once() -> None:
    agreement = CHANGES[1].agreement
    assert agreement is not None
    twice = (QuestionDifference(cause=Cause.TILES, title="t", text="x"),) * 2
    (found,) = question_findings(
        [replace(CHANGES[1], agreement=replace(agreement, question=twice))], allowed=False, upgrade=False
    )
    assert found.cases == ("s.c1",)
    assert found.text.startswith("asked different questions in 1 of 1 cases: t: x")
