"""The table at the end of a run: a row per case, then totals, the worst differences and the devices."""

from __future__ import annotations

import io
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.reports.summary import CheckSummary, Status

__all__ = ["FULL_TABLE", "render_table"]

FULL_TABLE = 200
"""Up to this many cases of a profile each has its row; beyond it only those with something to tell."""

UNLIMITED = 10_000
LEAST_ID = 20
_PAIR = 2
_WORST: Mapping[str, Callable[[CheckSummary], float | None]] = {
    "|Δp|": lambda summary: summary.figures.worst,
    "KL": lambda summary: summary.figures.kl,
}

Row = Sequence[CheckSummary]
_STYLES = {
    Status.PASSED: "green",
    Status.FAILED: "bold red",
    Status.KNOWN: "yellow",
    Status.ERROR: "bold red",
}
_NAMES = {
    Status.PASSED: ("passed", "passed"),
    Status.FAILED: ("failed", "failed"),
    Status.KNOWN: ("known failure", "known failures"),
    Status.ERROR: ("error", "errors"),
}


_LEGEND = "marks: one for each engine, in the order of columns: ✓ passed, ✗ failed, E error, k known failure"


def render_table(
    summaries: Iterable[CheckSummary], *, width: int | None = None, color: bool = False, every: bool = True
) -> str:
    """Text for a terminal ``width`` columns wide, or as wide as it gets; empty without summaries.

    Where columns do not fit, ids are cut, and then lines grow longer than ``width``.

    Each profile has a table of its own. Without ``every``, and beyond `FULL_TABLE` cases, it holds only those
    that did not pass, at most as many; beyond it totals for each suite follow.
    """
    by_profile: dict[str, list[CheckSummary]] = {}
    for summary in summaries:
        by_profile.setdefault(summary.profile, []).append(summary)
    out = io.StringIO()
    # The console itself never wraps or crops; tables are given their width one by one.
    color_system: Literal["standard"] | None = "standard" if color else None
    console = Console(
        file=out, width=UNLIMITED, force_terminal=color, color_system=color_system, highlight=False
    )
    for profile, own in by_profile.items():
        _print_profile(console, profile, own, width or UNLIMITED, every=every)
    return "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())


def _print_profile(console: Console, profile: str, summaries: Row, width: int, *, every: bool) -> None:
    cases = _group(summaries, lambda summary: summary.case)
    engines = list(dict.fromkeys(summary.engine for summary in summaries))
    checks = list(dict.fromkeys(summary.check for summary in summaries))
    shown = {name: row for name, row in cases.items() if not all(s.refused for s in row)}
    if len(cases) > FULL_TABLE or not every:
        shown = {name: row for name, row in shown.items() if any(s.status is not Status.PASSED for s in row)}
    if shown:
        _print_table(console, _case_table(list(shown.values())[:FULL_TABLE], engines, checks), width)
        console.print(_LEGEND)
    if len(shown) > FULL_TABLE:
        console.print(f"and {len(shown) - FULL_TABLE} more cases that did not pass")
    right = sum(all(s.status is Status.PASSED for s in row) for row in cases.values())
    if right and not every:
        console.print(f"{_count(right, 'case', 'cases')} without a row, ✓ throughout: -v shows them")
    if len(cases) > FULL_TABLE:
        _print_table(console, _suite_table(summaries), width)
    for line in _closing(profile, summaries, len(cases), engines):
        console.print(line)


def _print_table(console: Console, table: Table, width: int) -> None:
    # Only ids are cut. A column that is cropped away would hide failures; rather let the terminal wrap.
    excess = console.measure(table).maximum - width
    if excess > 0:
        ids = table.columns[0]
        longest = max(len(str(cell)) for cell in ids.cells)
        ids.width = max(min(longest, LEAST_ID), longest - excess)
    console.print(table)


def _case_table(rows: Sequence[Row], engines: Sequence[str], checks: Sequence[str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("case", no_wrap=True)
    table.add_column("expect", no_wrap=True)
    for engine in engines:
        table.add_column(engine, no_wrap=True)
    table.add_column("|Δp|", justify="right", no_wrap=True)
    table.add_column("KL", justify="right", no_wrap=True)
    for check in checks:
        table.add_column(check, no_wrap=True)
    for row in rows:
        table.add_row(
            row[0].case,
            row[0].expected,
            *(_top(row, engine) for engine in engines),
            _change(row),
            _figure(_worst([s.figures.kl for s in row])),
            *(_marks(row, check, engines) for check in checks),
        )
    return table


def _suite_table(summaries: Row) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("suite")
    for name in ("cases", "checks", *(many for _, many in _NAMES.values()), "|Δp|", "KL"):
        table.add_column(name, justify="right", no_wrap=True)
    for suite, own in _group(summaries, lambda summary: summary.suite).items():
        counts = Counter(summary.status for summary in own)
        table.add_row(
            suite,
            str(len({summary.case for summary in own})),
            str(len(own)),
            *(str(counts[status]) for status in _NAMES),
            _change(own),
            _figure(_worst([s.figures.kl for s in own])),
        )
    return table


def _closing(profile: str, summaries: Row, cases: int, engines: Sequence[str]) -> list[Text]:
    counts = Counter(summary.status for summary in summaries)
    parts = [f"{profile}: {_count(cases, 'case', 'cases')} × {_count(len(engines), 'engine', 'engines')}, "]
    parts.append(f"{_count(len(summaries), 'check', 'checks')}: ")
    line = Text("".join(parts))
    told = [status for status in _NAMES if counts[status]]
    for place, status in enumerate(told):
        line.append(", " if place else "")
        line.append(f"{_count(counts[status], *_NAMES[status])} {status.value}", style=_STYLES[status])
    lines = [line]
    for title, pick in _WORST.items():
        if worst := _where_worst(title, summaries, pick):
            lines.append(Text(worst))
    for engine in engines:
        own = [s for s in summaries if s.engine == engine]
        farthest = [
            f"{title} up to {value:.2g}"
            for title, pick in _WORST.items()
            if (value := _worst(map(pick, own))) is not None
        ]
        # Which of several candidates moved is seen here; the lines above name only the worst of all.
        ending = f"; {', '.join(farthest)}" if farthest and len(engines) > _PAIR else ""
        devices = dict.fromkeys(s.device for s in own if s.device)
        lines += [Text(f"{engine}: {device}{ending}") for device in devices]
    return [*lines, *_limits(summaries, engines)]


def _limits(summaries: Row, engines: Sequence[str]) -> list[Text]:
    """Where the limits come from: a line for each engine, or one where several have the same."""
    found = {
        engine: counts
        for engine in engines
        if (counts := Counter(s.figures.limits for s in summaries if s.engine == engine and s.figures.limits))
    }
    every = {source for counts in found.values() for source in counts}
    if len(found) > 1 and len(every) == 1:
        return [Text(f"limits: {every.pop()}")]
    lines = []
    for engine, counts in found.items():
        for source, count in counts.most_common():
            some = "" if len(counts) == 1 else f" ({_count(count, 'case', 'cases')})"
            lines.append(Text(f"{engine}: limits: {source}{some}"))
    return lines


def _where_worst(title: str, summaries: Row, pick: Callable[[CheckSummary], float | None]) -> str:
    known = [(value, summary) for summary in summaries if (value := pick(summary)) is not None]
    if not known:
        return ""
    value, summary = max(known, key=lambda pair: (math.isnan(pair[0]), pair[0]))
    letter = f", letter {summary.figures.worst_letter}" if title == "|Δp|" else ""
    bound = "at most " if title == "|Δp|" and summary.figures.bounded else ""
    most = summary.figures.allowed if title == "|Δp|" else None
    allowed = "" if most is None else f" of {most:.2g} allowed"
    where = f"{summary.case}, {summary.engine}{letter}; {summary.place}"
    return f"largest {title}: {bound}{value:.2g}{allowed} ({where})"


def _top(row: Row, engine: str) -> str:
    own = [s.figures for s in row if s.engine == engine and s.figures.probability is not None]
    return f"{own[0].top} {own[0].probability:.3f}" if own else ""


def _marks(row: Row, check: str, engines: Sequence[str]) -> Text:
    text = Text()
    for summary in sorted((s for s in row if s.check == check), key=lambda s: engines.index(s.engine)):
        text.append(summary.status.value, style=_STYLES[summary.status])
    return text


def _worst(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return max(known, key=lambda value: (math.isnan(value), value), default=None)


def _change(row: Row) -> str:
    """The largest |Δp|, with '≤' where it is only known to be no larger."""
    worst = _worst([s.figures.worst for s in row])
    bounded = any(s.figures.bounded for s in row if s.figures.worst == worst)
    return f"{'≤' if bounded else ''}{_figure(worst)}"


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.0e}"


def _group(summaries: Row, key: Callable[[CheckSummary], str]) -> dict[str, list[CheckSummary]]:
    groups: dict[str, list[CheckSummary]] = {}
    for summary in summaries:
        groups.setdefault(key(summary), []).append(summary)
    return groups


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
