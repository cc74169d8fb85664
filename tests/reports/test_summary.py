"""What the table shows of each check's result."""

from __future__ import annotations

import math

import numpy as np

from harness.checks.agreement import check_agreement, compare
from harness.checks.expected_letter import ExpectedLetter
from harness.checks.full_vocabulary import compare_rows
from harness.checks.result import Result
from harness.checks.tolerances import DEFAULTS
from harness.engines.contract import Answer, Reading
from harness.recordings.store import Recording
from harness.reports.summary import Figures, figures_of


def test_the_expected_letter_tells_top_and_probability() -> None:
    made = ExpectedLetter(
        case="s.c",
        subject="e",
        letters=("A", "B"),
        findings=(),
        expected="A",
        top="B",
        probabilities=(0.2, 0.7),
    )
    assert figures_of(made) == Figures(top="B", probability=0.7)


def test_an_answer_never_reached_and_other_checks_tell_nothing() -> None:
    made = ExpectedLetter(
        case="s.c", subject="e", letters=("A", "B"), findings=(), expected="A", top=None, probabilities=()
    )
    assert figures_of(made) == Figures()
    assert figures_of(Result(case="s.c", subject="e", letters=("A",), findings=())) == Figures()


def test_an_agreement_tells_the_worst_letter_and_kl() -> None:
    def recording(first: float) -> Recording:
        logits = np.array([first, 0.0], dtype=np.float32)
        log_z = math.log(math.exp(first) + 2.0)
        reading = Reading(
            path="p", argmax=(0,), logprobs=(-0.1,), letter_logits=tuple(logits.tolist()), log_z=log_z
        )
        answer = Answer(
            prompt_ids=(1,),
            generated_ids=(0,),
            text="A",
            letter_ids=(0, 1),
            answer_step=0,
            readings=(reading,),
        )
        return Recording(key="k", case="s.c", engine="e", answer=answer, fingerprint={})

    rows = [np.array([first, 0.0, 0.0], dtype=np.float32) for first in (1.0, 2.0)]
    agreement = compare(recording(1.0), recording(2.0), ("A", "B"), full=compare_rows(*rows))
    figures = figures_of(check_agreement(agreement, DEFAULTS["float32"]))
    assert figures.worst == agreement.worst
    assert figures.worst_letter == "A"
    assert agreement.full is not None
    assert figures.kl == agreement.full.kl
    without = check_agreement(compare(recording(1.0), recording(2.0), ("A", "B")), DEFAULTS["float32"])
    assert figures_of(without).kl is None
