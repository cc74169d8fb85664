"""Verdicts made by hand, for the tests of what shows them. No judge made them: their numbers mean nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from harness.verdicts.verdict import (
    CaseVerdict,
    ComparisonVerdict,
    Estimate,
    ExitStatus,
    Flip,
    SuiteVerdict,
    Verdict,
)

__all__ = ["made_case", "made_comparison", "made_suite"]

_STATUS = {
    Verdict.SAME: ExitStatus.PASSED,
    Verdict.NOISE: ExitStatus.PASSED,
    Verdict.DRIFT: ExitStatus.FAILED,
    Verdict.REGRESSION: ExitStatus.FAILED,
    Verdict.ERROR: ExitStatus.ERROR,
    Verdict.INCONCLUSIVE: ExitStatus.INCONCLUSIVE,
}


def made_case(
    verdict: Verdict = Verdict.REGRESSION,
    *,
    number: int = 1,
    largest: float | None = 0.5,
    reason: str = "|Δ log-odds| 0.5 > 0.01",
    place: str = "",
) -> CaseVerdict:
    return CaseVerdict(
        case=f"shapes.case-{number}",
        suite="shapes",
        place=place or f"cases/shapes.yaml:{number}:5",
        verdict=verdict,
        reason=reason,
        letters=("A", "B"),
        expect="A",
        baseline=(0.1, -0.1),
        candidate=(-0.1, 0.1),
        difference=(-0.2, 0.2),
        largest=largest,
        sigma=0.002,
        limit=0.01,
        right=(True, False),
        gap=0.2,
        flip=Flip.LOST,
        flip_probability=1e-6,
    )


def made_suite(
    cases: Sequence[CaseVerdict],
    verdict: Verdict = Verdict.REGRESSION,
    *,
    name: str = "shapes",
    known: bool = True,
    within_budget: bool = False,
) -> SuiteVerdict:
    return SuiteVerdict(
        suite=name,
        verdict=verdict,
        sentence="three right answers were lost",
        reasons=("McNemar: 3 lost, 0 gained, p = 0.125", "spread 2.1 > 1"),
        within_budget=within_budget,
        evidence=(),
        cases=len(cases),
        clusters=len(cases),
        counts=Counter(case.verdict for case in cases),
        spread=Estimate(value=2.125, low=1.5, high=2.75) if known else None,
        shift=Estimate(value=-0.25, low=-0.5, high=0.125) if known else None,
        log_odds=Estimate(value=0.3, low=0.2, high=0.4) if known else None,
        margin=0.01,
        accuracy=(0.98, 0.931) if known else None,
        flips=3,
        expected_flips=0.21,
    )


def made_comparison(
    cases: Sequence[CaseVerdict],
    verdict: Verdict = Verdict.REGRESSION,
    *,
    suites: Sequence[SuiteVerdict] | None = None,
    sentence: str = "the candidate loses right answers beyond noise",
    status: ExitStatus | None = None,
) -> ComparisonVerdict:
    return ComparisonVerdict(
        baseline="versions/lmdeploy_0_14",
        candidate="versions/lmdeploy_0_18",
        verdict=verdict,
        sentence=sentence,
        status=_STATUS[verdict] if status is None else status,
        suites=(made_suite(cases, verdict),) if suites is None else tuple(suites),
        cases=tuple(cases),
        noise="measured floor of versions/lmdeploy_0_14",
    )
