"""The table at the end of a run: a row per case, then totals, the worst differences and the devices."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Literal

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.reports.bars import short
from harness.reports.summary import (
    FIGURES,
    FULL_TABLE,
    CheckSummary,
    Row,
    Status,
    Tally,
    tallies_of,
    total,
    worst_of,
)

__all__ = ["FULL_TABLE", "render_table"]

UNLIMITED = 10_000
LEAST_ID = 20
_PAIR = 2
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
    summaries: Iterable[CheckSummary],
    *,
    tallies: Iterable[Tally] = (),
    width: int | None = None,
    color: bool = False,
    every: bool = True,
) -> str:
    """Text for a terminal ``width`` columns wide, or as wide as it gets; empty without summaries.

    Where columns do not fit, ids are cut, and then lines grow longer than ``width``. ``tallies`` are of other
    cases than ``summaries``.

    Each profile has a table of its own. Without ``every``, and beyond `FULL_TABLE` cases, it holds only those
    that did not pass, at most as many; beyond it totals for each suite follow.
    """
    by_profile: dict[str, list[Tally]] = {}
    for tally in (*tallies_of(summaries), *tallies):
        by_profile.setdefault(tally.profile, []).append(tally)
    out = io.StringIO()
    # The console itself never wraps or crops; tables are given their width one by one.
    color_system: Literal["standard"] | None = "standard" if color else None
    console = Console(
        file=out, width=UNLIMITED, force_terminal=color, color_system=color_system, highlight=False
    )
    for profile, own in by_profile.items():
        _print_profile(console, profile, own, width or UNLIMITED, every=every)
    return "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())


def _print_profile(
    console: Console, profile: str, tallies: Sequence[Tally], width: int, *, every: bool
) -> None:
    cases, right = (sum(getattr(tally, name) for tally in tallies) for name in ("cases", "right"))
    engines = list(dict.fromkeys(chain.from_iterable(tally.engines for tally in tallies)))
    checks = list(dict.fromkeys(chain.from_iterable(tally.counts for tally in tallies)))
    shown = [row for tally in tallies for row in tally.rows]
    if cases > FULL_TABLE or not every:
        shown = [row for row in shown if any(s.status is not Status.PASSED for s in row)]
    if shown:
        _print_table(console, _case_table(shown[:FULL_TABLE], engines, checks), width)
        console.print(_LEGEND)
    more = sum(tally.beyond for tally in tallies) + max(0, len(shown) - FULL_TABLE)
    if more:
        console.print(f"and {more} more cases that did not pass")
    if right and not every:
        console.print(f"{_count(right, 'case', 'cases')} without a row, ✓ throughout: -v shows them")
    if cases > FULL_TABLE:
        _print_table(console, _suite_table(tallies), width)
    for line in _closing(profile, tallies, cases, engines):
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
            short(row[0].expected),
            *(_top(row, engine) for engine in engines),
            _change(row),
            _kl(row),
            *(_marks(row, check, engines) for check in checks),
        )
    return table


def _suite_table(tallies: Sequence[Tally]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("suite")
    for name in ("cases", "checks", *(many for _, many in _NAMES.values()), "|Δp|", "KL"):
        table.add_column(name, justify="right", no_wrap=True)
    for tally in tallies:
        worst = list(tally.worst.values())
        table.add_row(
            tally.suite,
            str(tally.cases),
            str(tally.checks),
            *(str(tally.count(status)) for status in _NAMES),
            _change(worst),
            _kl(worst),
        )
    return table


def _closing(profile: str, tallies: Sequence[Tally], cases: int, engines: Sequence[str]) -> list[Text]:
    parts = [f"{profile}: {_count(cases, 'case', 'cases')} × {_count(len(engines), 'engine', 'engines')}, "]
    parts.append(f"{_count(total(tallies), 'check', 'checks')}: ")
    line = Text("".join(parts))
    told = [(status, count) for status in _NAMES if (count := total(tallies, status))]
    for place, (status, count) in enumerate(told):
        line.append(", " if place else "")
        line.append(f"{_count(count, *_NAMES[status])} {status.value}", style=_STYLES[status])
    lines = [line]
    by_engine = {
        engine: {title: worst_of(title, (t.worst.get((engine, title)) for t in tallies)) for title in FIGURES}
        for engine in engines
    }
    worst = {title: worst_of(title, (own[title] for own in by_engine.values())) for title in FIGURES}
    lines += [Text(_where_worst(title, one)) for title, one in worst.items() if one is not None]
    for engine in engines:
        farthest = [
            f"{title} up to {FIGURES[title](one):.2g}"
            for title, one in by_engine[engine].items()
            if one is not None
        ]
        # Which of several candidates moved is seen here; the lines above name only the worst of all.
        ending = f"; {', '.join(farthest)}" if farthest and len(engines) > _PAIR else ""
        devices = dict.fromkeys(chain.from_iterable(tally.devices.get(engine, ()) for tally in tallies))
        lines += [Text(f"{engine}: {device}{ending}") for device in devices]
    return [*lines, *_limits(tallies, engines)]


def _limits(tallies: Sequence[Tally], engines: Sequence[str]) -> list[Text]:
    """Where the limits come from: a line for each engine, or one where several have the same."""
    found = {
        engine: counts
        for engine in engines
        if (counts := sum((tally.limits.get(engine, Counter()) for tally in tallies), Counter[str]()))
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


def _where_worst(title: str, summary: CheckSummary) -> str:
    of = summary.figures.worst_letter if title == "|Δp|" else ""
    letter = f", letter {of}" if of else ""
    bound = "at most " if title == "|Δp|" and summary.figures.bounded else ""
    most = summary.figures.allowed if title == "|Δp|" else None
    allowed = "" if most is None else f" of {most:.2g} allowed"
    where = f"{summary.case}, {summary.engine}{letter}; {summary.place}"
    return f"largest {title}: {bound}{FIGURES[title](summary):.2g}{allowed} ({where})"


def _top(row: Row, engine: str) -> str:
    own = [s.figures for s in row if s.engine == engine and s.figures.probability is not None]
    return f"{short(own[0].top)} {own[0].probability:.3f}" if own else ""


def _marks(row: Row, check: str, engines: Sequence[str]) -> Text:
    text = Text()
    for summary in sorted((s for s in row if s.check == check), key=lambda s: engines.index(s.engine)):
        text.append(summary.status.value, style=_STYLES[summary.status])
    return text


def _change(row: Row) -> str:
    """The largest |Δp|, with '≤' where it is only known to be no larger."""
    worst = worst_of("|Δp|", row)
    return "" if worst is None else f"{'≤' if worst.figures.bounded else ''}{worst.figures.worst:.0e}"


def _kl(row: Row) -> str:
    worst = worst_of("KL", row)
    return "" if worst is None else f"{worst.figures.kl:.0e}"


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
