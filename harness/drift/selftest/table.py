"""The rows of a self-test as text, as data and as a page's table."""

from __future__ import annotations

import io
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from harness.drift.faults.catalogue import SIZES
from harness.drift.selftest.running import Row
from harness.engines.contract import Json

__all__ = ["as_json", "as_page", "as_text"]

_HEADS = ("fault", "side", "stage", "part", "size", "amount", "moved", "pytest", "gate", "stage named", "")
_WIDTH = 10_000


def as_text(rows: Sequence[Row], dtype: str) -> str:
    """A line for each row, and what was not as expected."""
    out = io.StringIO()
    heads, cells = _columns(rows, dtype)
    table = Table(*heads, box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 2, 0, 0))
    for each in cells:
        table.add_row(*each)
    console = Console(file=out, width=_WIDTH, highlight=False, markup=False)
    console.print(table)
    text = "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())
    return f"{text}\n{_summary(rows)}\n"


def as_page(rows: Sequence[Row], dtype: str) -> str:
    """The same in Markdown."""
    heads, cells = _columns(rows, dtype)
    lines = ["| " + " | ".join(each) + " |" for each in (heads, *cells)]
    lines.insert(1, "| " + " | ".join("---" for _ in heads) + " |")
    return "\n".join([*lines, "", _summary(rows), ""])


def as_json(rows: Sequence[Row], dtype: str) -> Json:
    """All figures."""
    return {
        "version": 1,
        "dtype": dtype,
        "rows": [
            {
                "fault": None if row.fault is None else row.fault.name,
                "side": row.side,
                "stage": None if row.fault is None else row.fault.stage,
                "part": None if row.fault is None else row.fault.part,
                "route": None if row.fault is None else row.fault.route,
                "size": row.size,
                "amount": None if row.fault is None else row.fault.amount(row.size, dtype),
                "moved": row.moved if row.moved < float("inf") else None,
                "unanswered": row.unanswered,
                "pytest": row.pytest,
                "gate": row.gate,
                "named": dict(row.named),
                "exact": row.exact,
                "right_part": row.right_part,
                "in_decoding": list[Json](sorted(row.decoding)),
                "cache": row.cache,
                "under_plugin": _beside(row),
                "found": row.found,
                "as_expected": row.as_expected,
            }
            for row in rows
        ],
    }


def _columns(rows: Sequence[Row], dtype: str) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Heads and lines; those of LMDeploy's own kernels have two columns more."""
    cells = [_cells(row, dtype) for row in rows]
    if not any(row.cache for row in rows):
        return _HEADS, cells
    more = [(row.cache, _beside(row)) for row in rows]
    return (*_HEADS[:-1], "cache", "under the plug-in", ""), [
        (*a[:-1], *b, a[-1]) for a, b in zip(cells, more, strict=True)
    ]


def _beside(row: Row) -> str:
    """How far a kernel's fault moves the CPU plug-in, and whether it is found there."""
    return f"{row.beside.moved:.2g}, {'found' if row.beside.found else 'silent'}" if row.beside else ""


def _cells(row: Row, dtype: str) -> tuple[str, ...]:
    fault = row.fault
    moved = f"{row.unanswered} without an answer" if row.unanswered else f"{row.moved:.2g}"
    mark = "" if row.as_expected else "not found" if not row.found else "found all the same"
    if fault is None:
        return ("nothing", row.side, "", "", "", "", moved, str(row.pytest), str(row.gate), "", mark)
    amount = f"{fault.amount(row.size, dtype):g}" if fault.sizes is not None else ""
    places = (fault.name, fault.side, fault.stage, fault.part, row.size, amount)
    return (*places, moved, str(row.pytest), str(row.gate), _named(row), mark)


def _named(row: Row) -> str:
    """In how many of the cases that moved the stage is named, and what is named in the others."""
    others = sorted(
        {stage or "none" for stage in row.named.values()} - {row.fault.stage if row.fault else ""}
    )
    alone = f", {len(row.decoding)} in decoding alone" if row.decoding else ""
    return f"{row.exact} of {len(row.named)}{alone}" + (f", else {', '.join(others)}" if others else "")


def _summary(rows: Sequence[Row]) -> str:
    told = []
    for size in SIZES:
        of = [row for row in rows if row.fault is not None and row.size == size]
        if not of:
            continue
        told.append(
            f"{size}: {sum(row.found for row in of)} of {len(of)} found, "
            f"{sum(row.pytest != 0 for row in of)} by pytest, "
            f"{sum(row.found and row.gate not in (0, 3) for row in of)} by harness gate"
        )
    planted = [row for row in rows if row.fault is not None and row.named]
    cases = sum(len(row.named) for row in planted)
    if planted:
        most = sum(2 * row.exact > len(row.named) for row in planted)
        exact, right = sum(row.exact for row in planted), sum(row.right_part for row in planted)
        told.append(
            f"of {len(planted)} that moved a case the exact stage was named for {most}; of {cases} cases in "
            f"{exact}, the right part in {right}"
        )
    return "\n".join(f"- {line}" for line in told)
