"""Several comparisons of one call as a table, a line for each: the same in a terminal and in Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from harness.reports.verdict_figures import verdict_words
from harness.reports.worst_cases import one_line, worst_cases
from harness.verdicts.rules import ALPHA
from harness.verdicts.verdict import ComparisonVerdict, ExitStatus, Verdict

__all__ = ["COLUMNS", "ending", "overview", "overview_text", "worst_case"]

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
"""What a row of `overview` has, in its order."""

_LONGEST, _MOST_PLACES = 100, 3


def overview_text(verdicts: Sequence[ComparisonVerdict]) -> str:
    """What was found before the numbers, the table for a terminal, and how all end together."""
    found = [f"{verdict.candidate}: {one.text}" for verdict in verdicts for one in verdict.findings]
    rows = [COLUMNS, *overview(verdicts)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    lines.insert(1, "─" * max(map(len, lines)))
    return "\n".join((*found, *[""] * bool(found), *lines, "", ending(verdicts), ""))


def overview(verdicts: Sequence[ComparisonVerdict]) -> list[tuple[str, ...]]:
    """A row of texts under `COLUMNS` for each comparison, '-' for what is not known."""
    return [_row(verdict) for verdict in verdicts]


def worst_case(verdict: ComparisonVerdict) -> str:
    """Of those that are told the worst, or else the one that moved most; '' where there is none."""
    told = worst_cases(verdict.cases).shown or sorted(verdict.cases, key=lambda case: -(case.largest or 0))
    return told[0].case if told else ""


def ending(verdicts: Sequence[ComparisonVerdict]) -> str:
    """How all end together: 'exit status 1 (FAILED) by p/b; 4 comparisons share ...'."""
    status = ExitStatus.worst({verdict.status for verdict in verdicts})
    names = ", ".join(verdict.candidate for verdict in verdicts if verdict.status is status)
    by = f" by {names}" if status else ""
    shared = f"{len(verdicts)} comparisons share a false alarm rate of {ALPHA:.3g} (Holm)"
    return f"exit status {status.value} ({status.name}){by}; {shared}"


def _row(verdict: ComparisonVerdict) -> tuple[str, ...]:
    spread = None if verdict.whole is None else verdict.whole.spread
    known = [case.right for case in verdict.cases if None not in case.right]
    before, after = (sum(bool(pair[side]) for pair in known) for side in (0, 1))
    worst = worst_case(verdict)
    return (
        verdict.candidate,
        verdict_words(verdict),
        _what_decided(verdict),
        str(len(verdict.cases)),
        f"{spread.value:.3g}" if spread is not None else "-",
        f"{before / len(known):.1%} → {after / len(known):.1%}" if known else "-",
        str(sum(suite.flips for suite in verdict.suites)),
        worst or "-",
    )


def _what_decided(verdict: ComparisonVerdict) -> str:
    whole = verdict.whole
    found = () if whole is None else tuple(test.name for test in whole.evidence if test.found)
    errors = [case.reason for case in verdict.cases if case.verdict is Verdict.ERROR]
    if verdict.status is ExitStatus.ERROR and errors:
        text = f"{len(errors)} without an answer: {errors[0]}"
    elif found:
        places = verdict.pointed[:_MOST_PLACES]
        text = ", ".join(found) + (f" in {', '.join(places)}" if places else "")
    else:
        text = whole.reasons[0] if whole is not None else verdict.sentence
    return one_line(text.partition("\n")[0], longest=_LONGEST)
