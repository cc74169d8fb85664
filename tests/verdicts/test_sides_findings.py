"""What a finding on the two sides makes of a verdict of the judge's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from harness.cases.budgets import Budgets
from harness.errors import CheckFailed
from harness.gate.changed import WhatChanged
from harness.gate.comparison import Comparison
from harness.gate.side import GateSide
from harness.plugin.gate_tests import SuiteGate
from harness.verdicts.findings import Finding
from harness.verdicts.judging import judge
from harness.verdicts.noise_model import Noise
from harness.verdicts.verdict import Change, ComparisonVerdict, ExitStatus, Verdict
from tests.verdicts.changes import Floats, change, suite_changes

NOISE = Noise(None, None, dtypes=("float32", "float32"), table=1e-4)
BLOCKS = Finding(name="question", text="asked otherwise", cases=("s.c1",), blocks=True)
TRUTH: Floats = np.tile(np.array([6.0, 1.0, 0.5, 0.0]), (12, 1))
LOST: Floats = TRUTH[:, ::-1]
ALL = Budgets(spread=1e9, moved=12, lost=12)


def moved(by: float) -> Floats:
    after: Floats = TRUTH.copy()
    after[:, 2] += by
    return after


def judged(after: Floats, *findings: Finding, budgets: Budgets | None = None) -> ComparisonVerdict:
    return told(suite_changes(TRUTH, after, NOISE), *findings, budgets=budgets)


def told(changes: list[Change], *findings: Finding, budgets: Budgets | None = None) -> ComparisonVerdict:
    return judge(
        changes,
        baseline="p/a",
        candidate="p/b",
        budgets={} if budgets is None else {"s": budgets},
        margin=0.1,
        noise=NOISE,
        findings=findings,
    )


def test_what_is_the_same_becomes_inconclusive() -> None:
    assert judged(TRUTH).verdict is Verdict.SAME
    verdict = judged(TRUTH, BLOCKS)
    assert (verdict.verdict, verdict.status) == (Verdict.INCONCLUSIVE, ExitStatus.INCONCLUSIVE)
    assert verdict.sentence == (
        "INCONCLUSIVE: p/b against p/a, 12 cases: the numbers alone say SAME, which these findings do not "
        "let stand: question (1 case)"
    )
    (suite,) = verdict.suites
    assert (suite.verdict, suite.reasons[0], suite.passes) == (Verdict.INCONCLUSIVE, "asked otherwise", False)


@pytest.mark.parametrize(
    ("after", "budgets", "word", "status"),
    [
        (moved(0.01), None, Verdict.DRIFT, ExitStatus.PASSED),
        (moved(1.0), None, Verdict.DRIFT, ExitStatus.FAILED),
        (moved(1.0), ALL, Verdict.DRIFT, ExitStatus.PASSED),
        (LOST, None, Verdict.REGRESSION, ExitStatus.FAILED),
        (LOST, ALL, Verdict.REGRESSION, ExitStatus.PASSED),
    ],
)
def test_what_was_found_stands_and_passes_no_more(
    after: Floats, budgets: Budgets | None, word: Verdict, status: ExitStatus
) -> None:
    without = judged(after, budgets=budgets)
    assert (without.verdict, without.status) == (word, status)
    verdict = judged(after, BLOCKS, budgets=budgets)
    let_pass = status is ExitStatus.PASSED
    assert (verdict.verdict, verdict.status) == (word, ExitStatus.INCONCLUSIVE if let_pass else status)
    assert verdict.sentence.endswith("; not passed, for these findings: question (1 case)") is let_pass
    side = GateSide(
        label="", profile="", engine="", live=True, made="", model="", fingerprint={}, recordings={},
        errors={}, asked={},
    )  # fmt: skip
    comparison = Comparison(baseline=side, candidate=side, verdict=verdict, changed=WhatChanged((), ()))
    with pytest.raises(CheckFailed, match="asked otherwise"):
        SuiteGate(comparison, verdict.suites[0]).require()


def test_an_error_stays_one() -> None:
    changes = [*suite_changes(TRUTH, TRUTH, NOISE), change(None, None, NOISE, case="s.x", errors=("gone",))]
    verdict = told(changes, BLOCKS)
    assert (verdict.verdict, verdict.status) == (Verdict.ERROR, ExitStatus.ERROR)


@pytest.mark.parametrize("after", [TRUTH, moved(1.0), LOST])
def test_a_note_changes_nothing(after: Floats) -> None:
    assert replace(judged(after, replace(BLOCKS, blocks=False)), findings=()) == judged(after)


def test_what_blocks_in_a_case_that_is_not_compared_is_of_the_whole_and_of_no_suite() -> None:
    verdict = judged(TRUTH, replace(BLOCKS, cases=("t.c1",)))
    assert (verdict.verdict, verdict.status) == (Verdict.INCONCLUSIVE, ExitStatus.INCONCLUSIVE)
    assert verdict.suites == judged(TRUTH).suites
