"""The judge: from the changes of all cases to the verdict on a candidate."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from harness.cases.budgets import Budgets
from harness.verdicts.case_judging import Look, look
from harness.verdicts.evidence import holm_levels
from harness.verdicts.noise_model import Noise, Place
from harness.verdicts.rules import ALPHA
from harness.verdicts.suite_judging import judge_suite
from harness.verdicts.verdict import CaseVerdict, Change, ComparisonVerdict, ExitStatus, SuiteVerdict, Verdict

__all__ = ["judge", "shares"]

# The worst first; an error comes after what was found in spite of it.
_ORDER = (
    Verdict.REGRESSION,
    Verdict.DRIFT,
    Verdict.ERROR,
    Verdict.INCONCLUSIVE,
    Verdict.NOISE,
    Verdict.SAME,
)


def judge(
    changes: Sequence[Change],
    *,
    baseline: str,
    candidate: str,
    budgets: Mapping[str, Budgets],
    margin: float,
    noise: Noise,
    alpha: float = ALPHA,
) -> ComparisonVerdict:
    """Judge all ``changes`` between two sides, suite by suite.

    ``budgets`` are by suite; a suite without has the defaults, and ``margin`` is used where they name none.
    ``alpha`` is shared evenly by the suites (Bonferroni), so that a comparison raises a false alarm no more
    often than one suite would.
    """
    suites: dict[str, list[Look]] = defaultdict(list)
    for change in changes:
        suites[change.suite].append(look(change))
    # A suite alone says too little of how runs differ, so the shape is that of all cases.
    shape = noise.shape({change.case: _place(change) for change in changes})
    suite_verdicts: list[SuiteVerdict] = []
    cases: list[CaseVerdict] = []
    for name, looks in suites.items():
        verdict, own = judge_suite(
            name,
            looks,
            shape=shape,
            budgets=budgets.get(name, Budgets()),
            margin=margin,
            alpha=alpha / len(suites),
        )
        suite_verdicts.append(verdict)
        cases += own
    overall = min((v.verdict for v in suite_verdicts), key=_ORDER.index, default=Verdict.INCONCLUSIVE)
    status = _status(suite_verdicts)
    return ComparisonVerdict(
        baseline=baseline,
        candidate=candidate,
        verdict=overall,
        sentence=_sentence(baseline, candidate, overall, status, suite_verdicts),
        status=status,
        suites=tuple(suite_verdicts),
        cases=tuple(cases),
        noise=noise.words,
    )


def shares(verdicts: Sequence[ComparisonVerdict]) -> tuple[float, ...]:
    """Of `ALPHA`, what each of the comparisons of one call is to be judged with; ``verdicts`` had all of it.

    Holm over comparisons: that any in which nothing changed is called DRIFT or REGRESSION has a probability
    of at most `ALPHA`, however many there are. One alone has all of it.
    """
    return holm_levels([_p(verdict) for verdict in verdicts], alpha=ALPHA)


def _p(verdict: ComparisonVerdict) -> float:
    """The smallest share of false alarms with which something is found."""
    adjusted = (test.adjusted for suite in verdict.suites for test in suite.evidence)
    return min(1.0, max(1, len(verdict.suites)) * min(adjusted, default=1.0))


def _place(change: Change) -> Place:
    return Place(change.cluster, change.letters.index(change.expect))


def _status(suites: Sequence[SuiteVerdict]) -> ExitStatus:
    if any(not suite.within_budget for suite in suites):
        return ExitStatus.FAILED
    if any(suite.counts[Verdict.ERROR] for suite in suites):
        return ExitStatus.ERROR
    if not suites or any(suite.verdict is Verdict.INCONCLUSIVE for suite in suites):
        return ExitStatus.INCONCLUSIVE
    return ExitStatus.PASSED


def _sentence(
    baseline: str, candidate: str, verdict: Verdict, status: ExitStatus, suites: Sequence[SuiteVerdict]
) -> str:
    cases = sum(suite.cases for suite in suites)
    head = f"{verdict}: {candidate} against {baseline}, {cases} case{'s' * (cases != 1)}"
    if not suites:
        return f"{head}: there is nothing to compare"
    own = [suite for suite in suites if suite.verdict is verdict]
    names = ", ".join(suite.suite for suite in own)
    lost = sum(suite.counts[Verdict.REGRESSION] for suite in suites)
    moved = sum(suite.counts[Verdict.DRIFT] for suite in suites)
    said = {
        Verdict.SAME: "the answers are shown to be the same within the margin",
        Verdict.NOISE: "they differ no more than noise makes them",
        Verdict.DRIFT: f"the probabilities moved beyond noise in {names} ({_single(moved)})",
        Verdict.REGRESSION: f"right answers were lost beyond noise in {names} ({_single(lost)})",
        Verdict.ERROR: f"no case of {names} has an answer on both sides",
        Verdict.INCONCLUSIVE: f"too little is known in {names}",
    }[verdict]
    if verdict in (Verdict.DRIFT, Verdict.REGRESSION):
        said += "; within budget" if status is not ExitStatus.FAILED else "; beyond budget"
    errors = sum(suite.counts[Verdict.ERROR] for suite in suites)
    return f"{head}: {said}" + (f"; {errors} without an answer (ERROR)" if errors else "")


def _single(count: int) -> str:
    return f"{count} single case{'s' * (count != 1)}" if count else "all cases together, none by itself"
