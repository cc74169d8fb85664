"""What a finding makes of a verdict."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.errors import CheckFailed
from harness.gate.changed import WhatChanged
from harness.gate.comparison import Comparison
from harness.gate.side import GateSide
from harness.plugin.gate_tests import SuiteGate
from harness.verdicts.findings import Finding, with_findings
from harness.verdicts.verdict import ComparisonVerdict, ExitStatus, Verdict
from tests.reports.made_verdicts import made_case, made_comparison, made_suite

BLOCKS = Finding(name="question", text="asked otherwise", cases=("shapes.case-1",), blocks=True)
NOTE = replace(BLOCKS, blocks=False)
ELSEWHERE = replace(BLOCKS, cases=("other.case-9",))


def found(verdict: Verdict, *findings: Finding, within_budget: bool = False) -> ComparisonVerdict:
    cases = [made_case(verdict)]
    suites = [made_suite(cases, verdict, within_budget=within_budget or verdict < Verdict.DRIFT)]
    quiet = verdict in (Verdict.SAME, Verdict.NOISE)
    suites = [made_suite(cases, verdict, within_budget=within_budget or quiet)]
    status = ExitStatus.PASSED if within_budget else None
    made = made_comparison(cases, verdict, suites=suites, status=status)
    return with_findings(replace(made, findings=findings))


@pytest.mark.parametrize("verdict", [Verdict.SAME, Verdict.NOISE])
def test_what_is_quiet_becomes_inconclusive(verdict: Verdict) -> None:
    judged = found(verdict, BLOCKS)
    assert (judged.verdict, judged.status) == (Verdict.INCONCLUSIVE, ExitStatus.INCONCLUSIVE)
    assert judged.sentence.endswith(
        f"say {verdict}, which these findings do not let stand: question (1 case)"
    )
    (suite,) = judged.suites
    assert suite.verdict is Verdict.INCONCLUSIVE
    assert suite.reasons[0] == "asked otherwise"


@pytest.mark.parametrize("verdict", [Verdict.DRIFT, Verdict.REGRESSION])
@pytest.mark.parametrize("within_budget", [True, False])
def test_what_was_found_stands_and_passes_no_more(verdict: Verdict, *, within_budget: bool) -> None:
    judged = found(verdict, BLOCKS, within_budget=within_budget)
    assert judged.verdict is verdict
    assert judged.status is (ExitStatus.INCONCLUSIVE if within_budget else ExitStatus.FAILED)
    assert judged.sentence.endswith("not passed, for these findings: question (1 case)") is within_budget
    side = GateSide(
        label="", profile="", engine="", live=True, made="", model="", fingerprint={}, recordings={},
        errors={}, asked={},
    )  # fmt: skip
    comparison = Comparison(baseline=side, candidate=side, verdict=judged, changed=WhatChanged((), ()))
    with pytest.raises(CheckFailed, match="asked otherwise"):
        SuiteGate(comparison, judged.suites[0]).require()


@pytest.mark.parametrize("verdict", [Verdict.ERROR, Verdict.INCONCLUSIVE])
def test_what_passes_no_more_anyway_stays(verdict: Verdict) -> None:
    judged = found(verdict, BLOCKS)
    assert (judged.verdict, judged.status) == (verdict, found(verdict).status)


@pytest.mark.parametrize("verdict", list(Verdict))
def test_a_note_changes_nothing(verdict: Verdict) -> None:
    assert replace(found(verdict, NOTE), findings=()) == found(verdict)


def test_a_finding_is_of_the_suites_that_have_its_cases() -> None:
    judged = found(Verdict.SAME, ELSEWHERE)
    assert judged.verdict is Verdict.SAME
    assert judged.suites == found(Verdict.SAME).suites
