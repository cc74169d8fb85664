"""Rows of results, as a table in a terminal, as Markdown in the README, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from benchmarks.ratios import Figure
from benchmarks.written_parts import with_part

__all__ = ["Circumstances", "Row", "as_json", "missed", "print_table", "with_results"]

_BEGIN = "<!-- results, written by `python benchmarks --write` -->"
_END = "<!-- end of results -->"
_HEADINGS = ("name", "measured", "median", "lowest to highest", "target", "met")


class Circumstances(NamedTuple):
    """Without these a figure says nothing."""

    date: str
    machine: str
    command: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One result: ``values`` are those of the rounds, ``target`` is the most that their median may be.

    ``measurement`` is the name for ``--only``; ``unit`` stands behind each value; a row without a target
    explains others.
    """

    measurement: str
    what: str
    values: tuple[float, ...]
    unit: str = "×"
    target: float | None = None

    @property
    def figure(self) -> Figure:
        """Median and spread."""
        return Figure.of(self.values)

    @property
    def met(self) -> bool | None:
        """Whether the median is within the target; None without one."""
        return None if self.target is None else self.figure.median <= self.target

    def cells(self) -> tuple[str, ...]:
        """The row as text, under the headings of every table."""
        figure = self.figure
        spread = "" if len(self.values) == 1 else f"{_number(figure.lowest)} to {_number(figure.highest)}"
        return (
            self.measurement,
            self.what,
            _number(figure.median) + self.unit,
            spread,
            "" if self.target is None else f"≤ {_number(self.target)}{self.unit}",
            {None: "", True: "yes", False: "NO"}[self.met],
        )


def missed(rows: Iterable[Row]) -> list[Row]:
    """The rows over their targets."""
    return [row for row in rows if row.met is False]


def print_table(console: Console, rows: Sequence[Row], circumstances: Circumstances) -> None:
    """Show the results to a person."""
    table = Table(*_HEADINGS, title="Benchmarks", title_justify="left")
    for row in rows:
        table.add_row(*row.cells(), style="red" if row.met is False else None)
    console.print(table)
    console.print(f"{circumstances.date}, {circumstances.machine}", soft_wrap=True)
    for row in missed(rows):
        console.print(
            f"missed: {row.measurement}: {row.what}: {_number(row.figure.median)}{row.unit}, allowed: "
            f"{_number(row.target or 0)}{row.unit}; again: python benchmarks --only {row.measurement}",
            soft_wrap=True,
        )


def as_json(rows: Iterable[Row], circumstances: Circumstances) -> str:
    """Everything, each round's value included."""
    results = [{**asdict(row), "median": row.figure.median, "met": row.met} for row in rows]
    return json.dumps({**circumstances._asdict(), "results": results}, indent=2, ensure_ascii=False) + "\n"


def with_results(
    readme: str,
    questions: Mapping[str, str],
    rows: Sequence[Row] = (),
    circumstances: Circumstances | None = None,
) -> str:
    """The README's text with its table of results replaced.

    ``questions`` are all measurements by name; one without rows is shown as not measured yet. Raises
    `HarnessError` if the text has no place for the table.
    """
    lines = ["| " + " | ".join(_HEADINGS) + " |", "| --- | --- | ---: | ---: | ---: | --- |"]
    for name, question in questions.items():
        cells = [row.cells() for row in rows if row.measurement == name]
        unmeasured = (name, question, "not measured yet", "", "", "")
        lines += ["| " + " | ".join(line) + " |" for line in cells or [unmeasured]]
    head = (
        "Not measured yet."
        if circumstances is None
        else f"{circumstances.date}, `{circumstances.command}`, {circumstances.machine}."
    )
    part = f"{head}\n\n" + "\n".join(lines)
    return with_part(readme, part, begin=_BEGIN, end=_END, file="benchmarks/README.md")


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
