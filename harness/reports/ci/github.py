"""What GitHub shows of a run: the step summary, which is Markdown, and annotations at the worst cases.

The forms are those of GitHub's page 'Workflow commands': annotations are lines of standard output, a step's
summary is a file of at most 1 MiB, and at most ten errors and ten warnings of a step are shown.
"""

from __future__ import annotations

import html
import os
import re
from collections.abc import Iterable, Sequence
from enum import StrEnum
from pathlib import Path

from harness.reports.breakdown import TAG_HEADINGS, Breakdown, breakdown, lines, tag_rows
from harness.reports.overview import COLUMNS, ending, overview
from harness.reports.verdict_figures import HEADINGS, context, figures, headline, rows_of, verdict_words
from harness.reports.worst_cases import one_line, worst_cases
from harness.verdicts.verdict import CaseVerdict, ComparisonVerdict, ExitStatus, Verdict

__all__ = [
    "MOST_BYTES",
    "Level",
    "annotation",
    "annotations_of",
    "cell",
    "in_workspace",
    "step_summary",
    "table",
]

MOST_BYTES = 1024 * 1024
"""GitHub's limit of a step's summary; what is larger it does not show at all."""

MOST_SUITES = 50
_MOST_CHANGES = 30
_PLACE = re.compile(r"(.+?):(\d+):(\d+)")
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+!|~-])")


class Level(StrEnum):
    """How GitHub marks an annotation."""

    ERROR = "error"
    WARNING = "warning"


def step_summary(
    verdicts: Sequence[ComparisonVerdict],
    *,
    changed: Sequence[Sequence[str]] = (),
    found: Sequence[Breakdown] = (),
    report: str = "",
) -> str:
    """Markdown on comparisons: what was found before the numbers, the verdict, its suites, its worst cases.

    Several begin with a table of all. ``changed`` says in words, one by one, what differs between the
    fingerprints of each comparison's sides; ``found`` are their breakdowns, made of the verdicts where left
    out; ``report`` is where the full report is. Holds at most `worst_cases.MOST` cases and `MOST_SUITES`
    suites of a comparison, the worst ones, and says how many more there are.
    """
    parts = []
    if len(verdicts) > 1:
        parts += [f"**{cell(f'{v.candidate}: {one.text}')}**" for v in verdicts for one in v.findings]
        parts += [f"## {cell(ending(verdicts))}", table(COLUMNS, overview(verdicts))]
    for place, verdict in enumerate(verdicts):
        own = found[place] if found else breakdown(verdict)
        parts += [_comparison(verdict, own), *_changes(changed[place] if changed else ())]
    if report:
        parts.append(f"Full report: {cell(report)}")
    return "".join(f"{part}\n\n" for part in parts)


def annotations_of(
    verdicts: Sequence[ComparisonVerdict], *, workspace: Path | None, folder: Path
) -> list[str]:
    """Lines that annotate the worst cases, at most `worst_cases.MOST` of all comparisons together.

    A comparison that does not pass and has no such case, as when a whole suite drifts, is annotated itself.
    ``workspace`` is the folder that GitHub takes paths to be relative to, ``folder`` the one that the
    cases' places are relative to.
    """
    lines = []
    passing = {(v.candidate, suite.suite) for v in verdicts for suite in v.suites if suite.passes}
    owners = {id(case): verdict for verdict in verdicts for case in verdict.cases}
    for case in worst_cases([case for verdict in verdicts for case in verdict.cases]).shown:
        candidate = owners[id(case)].candidate
        level = _level(case, passes=(candidate, case.suite) in passing)
        title = f"{case.verdict} {case.case} ({candidate})"
        where = in_workspace(case.place, workspace=workspace, folder=folder)
        lines.append(annotation(level, title=title, message=f"{case.place}: {case.reason}", where=where))
    for verdict in verdicts:
        if verdict.status is not ExitStatus.PASSED and not worst_cases(verdict.cases).shown:
            level = Level.WARNING if verdict.status is ExitStatus.INCONCLUSIVE else Level.ERROR
            title = f"{verdict.verdict} {verdict.candidate}"
            lines.append(annotation(level, title=title, message=verdict.sentence))
    return lines


def annotation(level: Level, *, title: str, message: str, where: tuple[str, int, int] | None = None) -> str:
    """One line for standard output; ``where`` is a file below the workspace, a line and a column."""
    properties = {} if where is None else {"file": where[0], "line": str(where[1]), "col": str(where[2])}
    properties["title"] = one_line(title)
    listed = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
    return f"::{level} {listed}::{_data(one_line(message))}"


def in_workspace(place: str, *, workspace: Path | None, folder: Path) -> tuple[str, int, int] | None:
    """File, line and column of a place (``file:line:column``); None where it is in no file there."""
    found = _PLACE.fullmatch(place)
    if found is None or workspace is None:
        return None
    # Neither is resolved: a link in the workspace is a file of the repository, wherever it leads.
    path = os.path.relpath(folder / found[1], workspace)
    if path.startswith(os.pardir) or Path(path).is_absolute():
        return None
    return Path(path).as_posix(), int(found[2]), int(found[3])


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table of plain texts."""
    lines = ["| " + " | ".join(map(cell, headings)) + " |", "|" + " --- |" * len(headings)]
    lines += ["| " + " | ".join(map(cell, row)) + " |" for row in rows]
    return "\n".join(lines)


def cell(text: str) -> str:
    """Any text as Markdown that shows just that text, on one line: no markup, HTML, mention or link."""
    escaped = _MARKDOWN.sub(r"\\\1", html.escape(one_line(text), quote=False))
    # An entity that is nobody's name and no link: GitHub makes one of @name and of https://... by itself.
    return escaped.replace("@", "&#64;").replace("://", "&#58;//")


def _changes(changed: Sequence[str]) -> list[str]:
    lines = [f"- {cell(line)}" for line in changed[:_MOST_CHANGES]]
    if (more := len(changed) - _MOST_CHANGES) > 0:
        lines.append(f"- and {more} more")
    return ["### What changed\n\n" + "\n".join(lines)] if lines else []


def _comparison(verdict: ComparisonVerdict, found: Breakdown) -> str:
    parts = [f"**{cell(finding.text)}**" for finding in verdict.findings]
    parts += [f"## {cell(headline(verdict))}", *map(cell, context(verdict))]
    # Below all cases those that say something come first, else in the order of the suites.
    quiet = (Verdict.SAME, Verdict.NOISE)
    suites = sorted(rows_of(verdict), key=lambda suite: (suite is not verdict.whole, suite.verdict in quiet))
    if suites:
        rows = [(suite.suite, verdict_words(suite), *figures(suite)) for suite in suites[:MOST_SUITES]]
        parts.append(table(("suite", "verdict", *HEADINGS), rows))
    if (more := len(suites) - MOST_SUITES) > 0:
        parts.append(f"and {more} more suites")
    if told := lines(found):
        parts += ["### Lost, gained and moved", "\n".join(f"- {cell(line)}" for line in told)]
    if tags := tag_rows(found):
        parts.append(table(TAG_HEADINGS, tags))
    worst = worst_cases(verdict.cases)
    if worst.shown:
        rows = [(case.place, case.case, case.verdict, case.reason) for case in worst.shown]
        parts += ["### Worst cases", table(("place", "case", "verdict", "reason"), rows)]
    if worst.more:
        parts.append(worst.rest())
    return "\n\n".join(parts)


def _level(case: CaseVerdict, *, passes: bool) -> Level:
    if case.verdict is Verdict.ERROR:
        return Level.ERROR
    return Level.WARNING if case.verdict is Verdict.INCONCLUSIVE or passes else Level.ERROR


def _data(text: str) -> str:
    plain = "".join(each if each.isprintable() or each in "\r\n" else "?" for each in text)
    return plain.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
