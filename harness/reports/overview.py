"""Several comparisons of one call as a table, a line for each: the same in a terminal and in Markdown."""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness.reports.verdict_figures import verdict_words
from harness.reports.worst_cases import one_line, worst_cases
from harness.verdicts.rules import ALPHA, TESTS
from harness.verdicts.verdict import CaseVerdict, ComparisonVerdict, ExitStatus, Verdict

__all__ = ["COLUMNS", "ending", "overview", "share_words"]

COLUMNS = (
    "candidate",
    "verdict",
    "what decided",
    "cases",
    "spread × noise",
    "accuracy",
    "flips",
    "worst case",
)
"""What a row of `overview` has, in its order; the spread is the largest of the suites."""

_UNKNOWN = "-"
_LONGEST = 200
_ENDINGS = {
    ExitStatus.PASSED: "every comparison passes",
    ExitStatus.FAILED: "beyond budget",
    ExitStatus.ERROR: "an engine could not answer, or could not be compared",
    ExitStatus.INCONCLUSIVE: "too little is known",
}


def overview(verdicts: Sequence[ComparisonVerdict]) -> list[tuple[Verdict, tuple[str, ...]]]:
    """A row for each comparison: what it counts as, and its texts under `COLUMNS`, '-' for an unknown one."""
    return [(_counts_as(verdict), _row(verdict)) for verdict in verdicts]


def share_words(count: int) -> str:
    """What the comparisons of one call share, '' where there is one."""
    if count < 2:
        return ""
    return (
        f"{count} comparisons share a false alarm rate of {ALPHA:.3g} (Holm): the one that is farthest from "
        f"noise is judged with {ALPHA / count:.2g}"
    )


def ending(verdicts: Sequence[ComparisonVerdict]) -> str:
    """How all of them end together, such as 'exit status 1: beyond budget: p/b, p/c'."""
    status = ExitStatus.worst({verdict.status for verdict in verdicts})
    own = [verdict.candidate for verdict in verdicts if verdict.status is status]
    return f"exit status {status.value}: {_ENDINGS[status]}" + f": {', '.join(own)}" * bool(status)


def _counts_as(verdict: ComparisonVerdict) -> Verdict:
    return Verdict.ERROR if verdict.status is ExitStatus.ERROR else verdict.verdict


def _row(verdict: ComparisonVerdict) -> tuple[str, ...]:
    words = _counts_as(verdict).value
    if verdict.verdict in (Verdict.DRIFT, Verdict.REGRESSION):
        worst = min(
            (s for s in verdict.suites if s.verdict is verdict.verdict), key=lambda s: s.within_budget
        )
        words = verdict_words(worst)
    spreads = [suite.spread.value for suite in verdict.suites if suite.spread is not None]
    known = [case.right for case in verdict.cases if None not in case.right]
    before, after = (sum(bool(pair[side]) for pair in known) for side in (0, 1))
    return (
        verdict.candidate,
        words,
        _what_decided(verdict),
        str(len(verdict.cases)),
        f"{max(spreads):.3g}" if spreads else _UNKNOWN,
        f"{before / len(known):.1%} → {after / len(known):.1%}" if known else _UNKNOWN,
        str(sum(suite.flips for suite in verdict.suites)),
        _worst(verdict),
    )


def _what_decided(verdict: ComparisonVerdict) -> str:
    own = [suite for suite in verdict.suites if suite.verdict is verdict.verdict]
    if verdict.verdict in (Verdict.DRIFT, Verdict.REGRESSION):
        found = [test for suite in own for test in suite.evidence if test.found]
        names = [name for name in TESTS if any(test.name == name for test in found)]
        least = min((test.adjusted for test in found), default=math.nan)
        suites = one_line(", ".join(suite.suite for suite in own), longest=_LONGEST)
        return f"{', '.join(names)} in {suites} (adjusted p = {least:.2g})"
    if verdict.status is ExitStatus.ERROR:
        errors = [case for case in verdict.cases if case.verdict is Verdict.ERROR]
        why = errors[0].reason if errors else verdict.sentence.partition(f"{verdict.baseline}: ")[2]
        why = why.partition("\n")[0]
        return one_line(f"{len(errors)} without an answer: {why}" if errors else why, longest=_LONGEST)
    if verdict.verdict is Verdict.SAME:
        return f"within the margin of {max(suite.margin for suite in own):.3g}"
    if verdict.verdict is Verdict.NOISE:
        return "no test found more than noise"
    missing = [suite.missing_cases for suite in own if suite.missing_cases is not None]
    if missing:
        return f"about {sum(missing)} more cases needed"
    return one_line(own[0].reasons[0] if own else verdict.sentence, longest=_LONGEST)


def _worst(verdict: ComparisonVerdict) -> str:
    """The worst of the cases that were told, or else the one that moved most."""
    case = next(iter(worst_cases(verdict.cases).shown), None)
    case = case or max(verdict.cases, key=_moved, default=None)
    if case is None:
        return _UNKNOWN
    return case.case + (f" ({case.largest:.2g})" if case.largest is not None else "")


def _moved(case: CaseVerdict) -> float:
    return -1.0 if case.largest is None else case.largest
