"""The table of several LMDeploys: what is beyond its limit, moved, is lacking or called otherwise."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import pairwise, product
from typing import Any

from harness.engines.interpreted_kernels.card import card_of, claim
from harness.engines.kernel_checks.catalogue import DTYPES, Check, settings
from harness.engines.kernel_checks.steps import steps_apart
from harness.kernels.running import Checked, Row

__all__ = ["BEYOND", "ERROR", "WITHIN", "Compared", "changed_parameters"]

WITHIN, BEYOND, ERROR = 0, 1, 2
"""Exit statuses."""

_STEP = (
    "Largest difference from float64, in steps: the distance of neighbouring numbers of the dtype at the "
    "largest magnitude of the row"
)


@dataclass(frozen=True, kw_only=True)
class Compared:
    """``checks`` of LMDeploys, in the order in which they were named, and the ``card`` that was pretended."""

    card: str
    checks: Sequence[Check]
    versions: Sequence[Checked]

    def status(self, *, moved_fails: bool = False) -> int:
        """The exit status. Wrong numbers outweigh an error, as they are certain; nothing checked is one."""
        rows = [row for *_, row in self._rows()]
        if any(_beyond(check, dtype, row) for check, dtype, _, row in self._rows()):
            return BEYOND
        if any(row.error for row in rows) or all(row.lacks for row in rows):
            return ERROR
        return BEYOND if moved_fails and any(self._moved.values()) else WITHIN

    def markdown(self) -> str:
        """For people: a table of Markdown that can be read as it is, too, with what it tells below it."""
        cells = self._cells()
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        cells.insert(1, ["-" * width for width in widths])
        table = [" | ".join(map(str.ljust, row, widths)) for row in cells]
        lines = [*self._head(), *(f"| {row} |" for row in table), "", *(f"- {one}" for one in self._told())]
        return "\n".join(lines) + "\n"

    def to_json(self) -> dict[str, Any]:
        """For machines; null is what is not finite, and whether what cannot be compared moved."""
        rows = [
            {"kernel": check.name, "dtype": dtype, "lmdeploy": _version(one), "limit": check.limits[dtype],
             "steps": _finite(row.steps), "beyond": _beyond(check, dtype, row),
             "lacks": row.lacks, "error": row.error}
            for check, dtype, one, row in self._rows()
        ]  # fmt: skip
        moved = [
            {"kernel": name, "dtype": dtype, "from": _version(self.versions[pair]),
             "to": _version(self.versions[pair + 1]), "moved": None if steps is None else steps > 0,
             "steps": _finite(steps)}
            for (name, dtype, pair), steps in self._moved.items()
        ]  # fmt: skip
        told = [
            {name: value for name, value in asdict(one).items() if name not in ("left", "rows")}
            for one in self.versions
        ]
        head = {"version": 1, "claim": self._head()[0], "status": self.status()}
        return {**head, "lmdeploy": told, "kernels": rows, "moved": moved, "told": [*self._told()]}

    def _head(self) -> list[str]:
        card = card_of(settings(self.card))
        computed = [", ".join(map(" ".join, one.packages.items())) for one in self.versions]
        return [f"{claim(card)} ({card.processors} processors)", "", *computed, "", f"{_STEP}.", ""]

    def _cells(self) -> list[list[str]]:
        names = [_version(one) for one in self.versions]
        cells = [["kernel", "dtype", "limit", *names, *(f"{a} to {b}" for a, b in pairwise(names))]]
        for check, dtype in product(self.checks, DTYPES):
            row = [check.name, dtype, f"{check.limits[dtype]:g}"]
            row += [_cell(check, dtype, one.rows[check.name, dtype]) for one in self.versions]
            pairs = range(len(names) - 1)
            cells.append([*row, *(_change(self._moved[check.name, dtype, pair]) for pair in pairs)])
        return cells

    def _told(self) -> Iterator[str]:
        for check, dtype, one, row in self._rows():
            what = f"{check.name} of lmdeploy {_version(one)} in {dtype}"
            if row.error:
                yield f"ERROR: {what}: {row.error}"
            elif _beyond(check, dtype, row):
                yield f"BEYOND: {what} is {row.steps:.4g} steps off; allowed: {check.limits[dtype]:g}"
        for one in self.versions:
            if names := sorted({row.lacks for row in one.rows.values() if row.lacks}):
                yield f"lmdeploy {_version(one)} lacks {', '.join(names)}: not checked"
        for pair, (old, new) in enumerate(pairwise(self.versions)):
            ends = f"from {_version(old)} to {_version(new)}"
            for function in old.signatures.keys() & new.signatures.keys():
                if changes := changed_parameters(old.signatures[function], new.signatures[function]):
                    yield f"{function}, {ends}: {'; '.join(changes)}"
            others = [
                f"{name} {old.packages[name]} to {number}"
                for name, number in new.packages.items()
                if name != "lmdeploy" and old.packages[name] != number
            ]
            if others and any(steps for (*_, one), steps in self._moved.items() if one == pair):
                yield f"what moved {ends} may have moved with {', '.join(others)}"
        rows = [row for *_, row in self._rows()]
        counts = {
            "beyond the limit": sum(_beyond(check, dtype, row) for check, dtype, _, row in self._rows()),
            "in error": sum(bool(row.error) for row in rows),
            "lacking": sum(bool(row.lacks) for row in rows),
            "moved": sum(bool(steps) for steps in self._moved.values()),
        }
        seconds = " and ".join(f"{one.seconds:.0f}" for one in self.versions)
        told = ", ".join(f"{count} {what}" for what, count in counts.items())
        yield f"{len(rows)} checks: {told}; {seconds} s of CPU"

    def _rows(self) -> Iterator[tuple[Check, str, Checked, Row]]:
        for one, check, dtype in product(self.versions, self.checks, DTYPES):
            yield check, dtype, one, one.rows[check.name, dtype]

    @cached_property
    def _moved(self) -> dict[tuple[str, str, int], float | None]:
        """How far outputs moved, by check, dtype and number of the pair; None where one has none."""
        moved: dict[tuple[str, str, int], float | None] = {}
        for pair, (old, new) in enumerate(pairwise(self.versions)):
            for key in product((check.name for check in self.checks), DTYPES):
                parts = [*{*old.rows[key].parts, *new.rows[key].parts}]
                there = parts and all(part in old.left and part in new.left for part in parts)
                apart = [steps_apart(old.left[part], new.left[part]) for part in parts] if there else [None]
                moved[*key, pair] = max(apart)
        return moved


def changed_parameters(old: Sequence[str], new: Sequence[str]) -> list[str]:
    """What differs between two signatures, in words; a parameter is ``name`` or ``name=default``."""
    changes = []
    for kind, a, b, c, d in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        gone, come = ", ".join(old[a:b]), ", ".join(new[c:d])
        told = {"delete": f"removed {gone}", "insert": f"added {come}", "replace": f"{gone} is now {come}"}
        changes += [told[kind]] if kind in told else []
    return changes


def _version(one: Checked) -> str:
    return one.packages["lmdeploy"]


def _beyond(check: Check, dtype: str, row: Row) -> bool:
    return row.steps is not None and not row.steps <= check.limits[dtype]


def _cell(check: Check, dtype: str, row: Row) -> str:
    if row.steps is None:
        return "ERROR" if row.error else "lacking"
    return f"{row.steps:.3g}{' BEYOND' if _beyond(check, dtype, row) else ''}"


def _change(moved: float | None) -> str:
    if moved is None:
        return "-"
    return f"moved by {moved:.3g}" if moved else "same bits"


def _finite(steps: float | None) -> float | None:
    return steps if steps is not None and math.isfinite(steps) else None
