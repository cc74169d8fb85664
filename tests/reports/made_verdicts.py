"""Verdicts made by hand, for the tests of what shows them. No judge made them: their numbers mean nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from harness.verdicts.judging import ALL
from harness.verdicts.verdict import (
    CaseVerdict,
    ComparisonVerdict,
    Estimate,
    ExitStatus,
    Flip,
    Place,
    Shown,
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
    answers: tuple[str | None, str | None] = ("A", "B"),
    tags: tuple[str, ...] = (),
    rest: tuple[float, float] | None = None,
) -> CaseVerdict:
    return CaseVerdict(
        case=f"shapes.case-{number}",
        suite="shapes",
        place=place or f"cases/shapes.yaml:{number}:5",
        verdict=verdict,
        reason=reason,
        letters=("A", "B"),
        expect="A",
        tags=tags,
        baseline=(0.1, -0.1),
        candidate=(-0.1, 0.1),
        difference=(-0.2, 0.2),
        largest=largest,
        sigma=0.002,
        limit=0.01,
        answers=answers,
        right=(answers[0] == "A", answers[1] == "A"),
        rest=rest,
        gap=0.2,
        flip=Flip.LOST if answers[0] != answers[1] else None,
        flip_probability=1e-6,
    )


def made_suite(
    cases: Sequence[CaseVerdict],
    verdict: Verdict = Verdict.REGRESSION,
    *,
    name: str = "shapes",
    known: bool = True,
    within_budget: bool = False,
    within_margin: bool = False,
) -> SuiteVerdict:
    passes = within_budget or within_margin or verdict not in (Verdict.DRIFT, Verdict.REGRESSION)
    return SuiteVerdict(
        suite=name,
        verdict=verdict,
        sentence="three right answers were lost",
        reasons=("McNemar: 3 lost, 0 gained, p = 0.125", "spread 2.1 > 1"),
        within_budget=within_budget,
        passes=passes,
        together=False,
        evidence=(),
        cases=len(cases),
        clusters=len(cases),
        counts=Counter(case.verdict for case in cases),
        spread=Estimate(value=2.125, low=1.5, high=2.75) if known else None,
        found_from=1.5 if known else None,
        shown=Shown(
            within=within_margin,
            open=(),
            log_odds=Estimate(value=0.3, low=0.2, high=0.4) if known else None,
            shift=Estimate(value=-0.25, low=-0.5, high=0.125) if known else None,
            rest=None,
            largest=0.5,
        ),
        margin=0.01,
        accuracy=(0.98, 0.931) if known else None,
        accuracy_change=Estimate(value=-0.049, low=-0.1, high=0.002) if known else None,
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
    whole: SuiteVerdict | None = None,
    where: Sequence[Place] = (),
) -> ComparisonVerdict:
    told = (made_suite(cases, verdict),) if suites is None else tuple(suites)
    if whole is None:
        whole = replace(told[0], suite=ALL) if len(told) == 1 else made_suite(cases, verdict, name=ALL)
    let_pass = whole.passes and verdict in (Verdict.DRIFT, Verdict.REGRESSION)
    usual = ExitStatus.PASSED if let_pass else _STATUS[verdict]
    return ComparisonVerdict(
        baseline="versions/lmdeploy_0_14",
        candidate="versions/lmdeploy_0_18",
        verdict=verdict,
        sentence=sentence,
        status=usual if status is None else status,
        suites=told,
        cases=tuple(cases),
        noise="measured floor of versions/lmdeploy_0_14",
        whole=whole,
        where=tuple(where),
    )
