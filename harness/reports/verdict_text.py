"""A verdict for a terminal or a log: the sentence first, then suites, reasons, and the worst cases."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping, Sequence
from typing import Literal, TextIO

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.reports.breakdown import TAG_HEADINGS, Breakdown, breakdown, lines, tag_rows
from harness.reports.verdict_figures import (
    HEADINGS,
    context,
    figures,
    headline,
    is_let_pass,
    rows_of,
    suite_words,
    verdict_words,
)
from harness.reports.worst_cases import one_line, worst_cases
from harness.verdicts.verdict import CaseVerdict, ComparisonVerdict, SuiteVerdict, Verdict

__all__ = ["STYLES", "WITHIN_MARGIN", "render_verdict", "shows_color"]

UNLIMITED = 10_000
_LEAST_TEXT = 40

STYLES: Mapping[Verdict, str] = {
    Verdict.SAME: "green",
    Verdict.NOISE: "green",
    Verdict.DRIFT: "yellow",
    Verdict.REGRESSION: "bold red",
    Verdict.INCONCLUSIVE: "magenta",
    Verdict.ERROR: "bold red",
}
"""Colours beside the verdict's word, which is always there."""

WITHIN_MARGIN = "cyan"
"""That of what was found and is shown to be within the margin."""


def render_verdict(
    verdict: ComparisonVerdict,
    *,
    width: int | None = None,
    color: bool = False,
    found: Breakdown | None = None,
) -> str:
    """Lines for a terminal ``width`` columns wide (None: as wide as they get), each with its newline.

    What was found before the numbers, a line each; the verdict in a sentence; a line for all cases and for
    each suite with spread, shift (each with a 90% interval), accuracy and flips; the reasons with their
    numbers; what was lost, gained and moved, by ``found`` (None: made of the verdict); then at most
    `worst_cases.MOST` cases, the worst first, with file and line, and how many more there are. Places and
    table rows are never broken and may be wider. With ``color`` there are ANSI colours; without it the text
    is the same.
    """
    found = breakdown(verdict) if found is None else found
    room = width or UNLIMITED
    out = io.StringIO()
    color_system: Literal["standard"] | None = "standard" if color else None
    console = Console(
        file=out, width=UNLIMITED, force_terminal=color, color_system=color_system, highlight=False
    )
    for finding in verdict.findings:
        style = STYLES[Verdict.INCONCLUSIVE] if finding.blocks else ""
        console.print(Text("\n".join(_wrapped(finding.text, room)), style=style))
    for line in _wrapped(headline(verdict), room):
        console.print(_with_verdict(line, verdict))
    for line in context(verdict):
        console.print(Text("\n".join(_wrapped(line, room, indent="  "))))
    if verdict.suites:
        console.print()
        rows: list[tuple[str | Text, ...]] = [
            (suite.suite, Text(verdict_words(suite), style=_style(suite)), *figures(suite))
            for suite in rows_of(verdict)
        ]
        console.print(_table(("suite", "verdict", *HEADINGS), rows))
    for suite in ([] if verdict.whole is None else [verdict.whole]) + _told(verdict):
        console.print()
        sentence, reasons = suite_words(suite)
        if sentence != headline(verdict):
            console.print(Text("\n".join(_wrapped(sentence, room))))
        for reason in reasons:
            console.print(Text("\n".join(_wrapped(f"- {reason}", room, indent="  "))))
    if told := lines(found):
        console.print()
        for line in told:
            console.print(Text("\n".join(_wrapped(line, room))))
    if tags := tag_rows(found):
        console.print()
        console.print(_table(TAG_HEADINGS, tags))
    worst = worst_cases(verdict.cases)
    if worst.shown:
        console.print()
        console.print(Text("worst cases:"))
    for case in worst.shown:
        _print_case(console, case, room)
    if worst.more:
        console.print(Text(f"  {worst.rest()}"))
    return "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())


def shows_color(stream: TextIO) -> bool:
    """Whether colours show where ``stream`` leads: a terminal that has them, and no NO_COLOR."""
    console = Console(file=stream)
    return console.is_terminal and console.color_system is not None and not console.no_color


def _told(verdict: ComparisonVerdict) -> list[SuiteVerdict]:
    """The suites whose reasons are told beside those of the whole."""
    whole = verdict.whole
    if whole is None:
        return [suite for suite in verdict.suites if suite.verdict is verdict.verdict]
    quiet = (Verdict.SAME, Verdict.NOISE, Verdict.INCONCLUSIVE)
    return [
        suite for suite in verdict.suites if suite.verdict not in quiet and suite.reasons != whole.reasons
    ]


def _table(headings: Sequence[str], rows: Sequence[Sequence[str | Text]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for name in headings:
        table.add_column(name, justify="right" if name == HEADINGS[0] else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(cell) for cell in row))
    return table


def _style(verdict: ComparisonVerdict | SuiteVerdict) -> str:
    return WITHIN_MARGIN if is_let_pass(verdict) else STYLES[verdict.verdict]


def _print_case(console: Console, case: CaseVerdict, room: int) -> None:
    line = Text(f"  {one_line(case.place)}  ")
    line.append(case.verdict.value, style=STYLES[case.verdict])
    console.print(line.append(f"  {one_line(case.case)}"))
    console.print(Text("\n".join(_wrapped(case.reason, room, indent="      "))))


def _with_verdict(line: str, verdict: ComparisonVerdict) -> Text:
    text = Text(line)
    word = next((w for w in (verdict_words(verdict), verdict.verdict.value) if line.startswith(w)), "")
    text.stylize(_style(verdict), 0, len(word))
    return text


def _wrapped(text: str, room: int, *, indent: str = "") -> list[str]:
    # Where the indentation leaves no room, rather let the terminal break the line.
    return textwrap.wrap(
        one_line(text),
        width=max(room, len(indent) + _LEAST_TEXT),
        initial_indent=indent,
        subsequent_indent=f"{indent}  " if indent else "",
        break_long_words=False,
        break_on_hyphens=False,
    )
