"""A comparison as text for a terminal."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from harness.checks.intervals import letter_intervals
from harness.gate.comparison import Comparison
from harness.gate.reporting import breakdown_of
from harness.gate.side import GateSide
from harness.recordings.store import Recording
from harness.reports.bars import Column, side_by_side
from harness.reports.overview import overview_text
from harness.reports.verdict_text import render_verdict
from harness.reports.worst_cases import worst_cases
from harness.verdicts.verdict import SuiteVerdict, Verdict

__all__ = ["comparison_text", "gate_text", "suite_text"]

_MOST_COMMANDS = 3
_MOST_CHANGES = 20
_OF_EXPLAIN = ("--cases", "--recordings", "--environments", "--set")  # its options, of a gate's
_QUIET = (Verdict.SAME, Verdict.NOISE)


def gate_text(
    comparisons: Sequence[Comparison],
    *,
    width: int | None = None,
    color: bool = False,
    cases: Sequence[str] = (),
) -> str:
    """One comparison in full; of several a table, and in full those that are not SAME or NOISE.

    With ``cases`` all of them in full.
    """
    told = [one for one in comparisons if cases or one.verdict.verdict not in _QUIET]
    if len(comparisons) == 1:
        return comparison_text(comparisons[0], width=width, color=color, cases=cases)
    notes = dict.fromkeys(f"note: {note}\n" for one in comparisons if one not in told for note in one.notes)
    table = overview_text([one.verdict for one in comparisons]) + "".join(notes)
    whole = [comparison_text(one, width=width, color=color, cases=cases) for one in told]
    return "\n".join((table, *whole))


def comparison_text(
    comparison: Comparison, *, width: int | None = None, color: bool = False, cases: Sequence[str] = ()
) -> str:
    """The verdict, the reasons, what changed, and how to look closer; distributions of ``cases``."""
    found = breakdown_of(comparison)
    lines = [render_verdict(comparison.verdict, width=width, color=color, found=found)]
    known = [case.name for case in comparison.cases]
    lines += [f"\n{_distributions(comparison, name)}\n" for name in cases if name in known]
    lines.append(_context(comparison))
    return "".join(lines)


def suite_text(comparison: Comparison, suite: SuiteVerdict) -> str:
    """The same for one suite."""
    cases = tuple(case for case in comparison.verdict.cases if case.suite == suite.suite)
    names = {case.case for case in cases}
    changes = tuple(change for change in comparison.changes if change.suite == suite.suite)
    own = replace(
        comparison.verdict,
        verdict=suite.verdict,
        sentence=suite.sentence,
        suites=(suite,),
        cases=cases,
        findings=tuple(one for one in comparison.verdict.findings if not names.isdisjoint(one.cases)),
    )
    return comparison_text(replace(comparison, verdict=own, changes=changes))


def _context(comparison: Comparison) -> str:
    lines = [""]
    for title, side in (("baseline", comparison.baseline), ("candidate", comparison.candidate)):
        lines.append(f"{title}: {_described(side)}")
    changed = comparison.changed.lines
    lines.append("what changed: " + ("nothing in the fingerprints" if not changed else ""))
    lines += [f"  {line}" for line in changed[:_MOST_CHANGES]]
    if len(changed) > _MOST_CHANGES:
        lines.append(f"  and {len(changed) - _MOST_CHANGES} more")
    lines += [f"note: {note}" for note in comparison.notes]
    worst = [case for case in worst_cases(comparison.verdict.cases).shown if case.case in comparison.commands]
    if worst:
        lines.append("look closer:")
        lines += [f"  {comparison.commands[case.case]}" for case in worst[:_MOST_COMMANDS]]
        sides = (comparison.baseline, comparison.candidate)
        answered = [case.case for case in worst if case.verdict is not Verdict.ERROR]
        if answered and all(side.live for side in sides) and comparison.verdict.verdict not in _QUIET:
            words = shlex.split(comparison.commands[answered[0]])
            given = [word for at in pairwise(words) if at[0] in _OF_EXPLAIN for word in at]
            pair = "..".join(side.label for side in sides)
            lines.append(
                f"where it begins:\n  {shlex.join(['harness', 'explain', pair, answered[0], *given])}"
            )
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _described(side: GateSide) -> str:
    if not side.recordings:
        return f"{side.label}, {side.device}"
    when = "made now, or unchanged since" if side.live else f"of {side.made or 'an update'}"
    return f"{side.label}, {side.device}, {when}"


def _distributions(comparison: Comparison, name: str) -> str:
    """Both sides' letters of one case, side by side."""
    case = next(one for one in comparison.cases if one.name == name)
    columns = [
        _column(side, side.recordings[name], len(case.letters))
        for side in (comparison.baseline, comparison.candidate)
        if name in side.recordings
    ]
    lines = [f"{case.location}: {name}"]
    both = (comparison.baseline, comparison.candidate)
    lines += [f"  {side.label}: {side.errors[name]}" for side in both if name in side.errors]
    if columns:
        lines += side_by_side(case.letters, columns, expected=case.expect)
    return "\n".join(lines)


def _column(side: GateSide, recording: Recording, count: int) -> Column:
    answer = recording.answer
    shares = letter_intervals(answer.readings[0]) if answer.readings else ()
    if not shares:
        return Column(side.label, (None,) * count, answer.text)
    return Column(
        side.label,
        tuple(share.low if share.exact else None for share in shares),
        answer.text,
        tuple(None if share.exact else share.high for share in shares),
    )
