"""Several comparisons of one call as a table, a line for each: the same in a terminal and in Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from harness.reports.worst_cases import one_line, worst_cases
from harness.verdicts.rules import ALPHA
from harness.verdicts.verdict import ComparisonVerdict, ExitStatus, Verdict

__all__ = ["COLUMNS", "ending", "overview", "overview_text"]

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

_LONGEST = 100


def overview_text(verdicts: Sequence[ComparisonVerdict]) -> str:
    """The table for a terminal, and how all end together."""
    rows = [COLUMNS, *overview(verdicts)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    lines.insert(1, "─" * max(map(len, lines)))
    return "\n".join((*lines, "", ending(verdicts), ""))


def overview(verdicts: Sequence[ComparisonVerdict]) -> list[tuple[str, ...]]:
    """A row of texts under `COLUMNS` for each comparison, '-' for what is not known."""
    return [_row(verdict) for verdict in verdicts]


def ending(verdicts: Sequence[ComparisonVerdict]) -> str:
    """How all end together: 'exit status 1 (FAILED) by p/b; 4 comparisons share ...'."""
    status = ExitStatus.worst({verdict.status for verdict in verdicts})
    names = ", ".join(verdict.candidate for verdict in verdicts if verdict.status is status)
    by = f" by {names}" if status else ""
    shared = f"{len(verdicts)} comparisons share a false alarm rate of {ALPHA:.3g} (Holm)"
    return f"exit status {status.value} ({status.name}){by}; {shared}"


def _row(verdict: ComparisonVerdict) -> tuple[str, ...]:
    word = Verdict.ERROR if verdict.status is ExitStatus.ERROR else verdict.verdict
    budget = " beyond budget" if verdict.status is ExitStatus.FAILED else " within budget"
    spreads = [suite.spread.value for suite in verdict.suites if suite.spread is not None]
    known = [case.right for case in verdict.cases if None not in case.right]
    before, after = (sum(bool(pair[side]) for pair in known) for side in (0, 1))
    # Of those that are told the worst, or else the one that moved most.
    worst = worst_cases(verdict.cases).shown or sorted(verdict.cases, key=lambda case: -(case.largest or 0))
    return (
        verdict.candidate,
        word.value + budget * (word in (Verdict.DRIFT, Verdict.REGRESSION)),
        _what_decided(verdict),
        str(len(verdict.cases)),
        f"{max(spreads):.3g}" if spreads else "-",
        f"{before / len(known):.1%} → {after / len(known):.1%}" if known else "-",
        str(sum(suite.flips for suite in verdict.suites)),
        worst[0].case if worst else "-",
    )


def _what_decided(verdict: ComparisonVerdict) -> str:
    own = [suite for suite in verdict.suites if suite.verdict is verdict.verdict]
    found = dict.fromkeys(test.name for suite in own for test in suite.evidence if test.found)
    errors = [case.reason for case in verdict.cases if case.verdict is Verdict.ERROR]
    if verdict.status is ExitStatus.ERROR and errors:
        text = f"{len(errors)} without an answer: {errors[0]}"
    elif found:
        text = f"{', '.join(found)} in {', '.join(suite.suite for suite in own)}"
    else:
        text = f"{own[0].suite}: {own[0].reasons[0]}" if own else verdict.sentence
    return one_line(text.partition("\n")[0], longest=_LONGEST)
