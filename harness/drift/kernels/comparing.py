"""The table of several LMDeploys: what is beyond its limit, moved, is lacking or called otherwise."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise, product
from typing import Any, NamedTuple

from harness.drift.kernels.running import Checked, Row
from harness.engines.interpreted_kernels.card import card_of, claim
from harness.engines.kernel_checks.catalogue import DTYPES, Check, settings
from harness.engines.kernel_checks.steps import steps_apart

__all__ = ["BEYOND", "ERROR", "WITHIN", "Compared", "changed_parameters"]

WITHIN, BEYOND, ERROR = 0, 1, 2
"""Exit statuses."""

_STEP = (
    "Largest difference from float64, in steps: the distance of neighbouring numbers of the dtype at the "
    "largest magnitude of the row."
)


class _Line(NamedTuple):
    check: Check
    dtype: str
    row: Row
    version: str

    @property
    def limit(self) -> float:
        return self.check.limits[self.dtype]

    @property
    def beyond(self) -> bool:
        return self.row.steps is not None and not self.row.steps <= self.limit

    @property
    def cell(self) -> str:
        if self.row.steps is None:
            return "ERROR" if self.row.error else "lacking"
        return f"{self.row.steps:.3g}{' BEYOND' if self.beyond else ''}"


@dataclass(frozen=True, kw_only=True)
class Compared:
    """``checks`` of LMDeploys, in the order in which they were named, and the ``card`` that was pretended."""

    card: str
    checks: Sequence[Check]
    versions: Sequence[Checked]

    def status(self, *, moved_fails: bool = False) -> int:
        """The exit status. Wrong numbers outweigh an error, as they are certain; nothing checked is one."""
        if any(line.beyond for line in self._lines):
            return BEYOND
        if any(line.row.error for line in self._lines) or all(line.row.lacks for line in self._lines):
            return ERROR
        return BEYOND if moved_fails and any(self._moved.values()) else WITHIN

    def markdown(self) -> str:
        """For people: a table of Markdown that can be read as it is, too, with what it tells below it."""
        names = [one.version for one in self.versions]
        cells = [["kernel", "dtype", "limit", *names, *(f"{a} to {b}" for a, b in pairwise(names))]]
        for check, dtype in product(self.checks, DTYPES):
            row = [check.name, dtype, f"{check.limits[dtype]:g}"]
            row += [line.cell for line in self._lines if (line.check, line.dtype) == (check, dtype)]
            row += [_change(self._moved[check.name, dtype, pair]) for pair in range(len(names) - 1)]
            cells.append(row)
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        cells.insert(1, ["-" * width for width in widths])
        table = [f"| {' | '.join(map(str.ljust, row, widths))} |" for row in cells]
        return "\n".join((*self._head(), "", *table, "", *(f"- {one}" for one in self._told()), ""))

    def to_json(self) -> dict[str, Any]:
        """For machines; null is what is not finite, and whether what cannot be compared moved."""
        names = [one.version for one in self.versions]
        return {
            "version": 1,
            "claim": self._head()[0],
            "status": self.status(),
            "lmdeploy": [
                {"packages": one.packages, "signatures": one.signatures, "seconds": one.seconds}
                for one in self.versions
            ],
            "kernels": [
                {"kernel": one.check.name, "dtype": one.dtype, "lmdeploy": one.version, "limit": one.limit,
                 "steps": _finite(one.row.steps), "beyond": one.beyond,
                 "lacks": one.row.lacks, "error": one.row.error}
                for one in self._lines
            ],
            "moved": [
                {"kernel": name, "dtype": dtype, "from": names[pair], "to": names[pair + 1],
                 "moved": None if steps is None else steps > 0, "steps": _finite(steps)}
                for (name, dtype, pair), steps in self._moved.items()
            ],
            "told": [*self._told()],
        }  # fmt: skip

    def _head(self) -> list[str]:
        card = card_of(settings(self.card))
        computed = [", ".join(map(" ".join, one.packages.items())) for one in self.versions]
        return [f"{claim(card)} ({card.processors} processors)", "", *computed, "", _STEP]

    def _told(self) -> Iterator[str]:
        for line in self._lines:
            what = f"{line.check.name} of lmdeploy {line.version} in {line.dtype}"
            if line.row.error:
                yield f"ERROR: {what}: {line.row.error}"
            elif line.beyond:
                yield f"BEYOND: {what} is {line.row.steps:.4g} steps off; allowed: {line.limit:g}"
        for one in self.versions:
            if names := sorted({row.lacks for row in one.rows.values() if row.lacks}):
                yield f"lmdeploy {one.version} lacks {', '.join(names)}: not checked"
        for pair, (old, new) in enumerate(pairwise(self.versions)):
            ends = f"from {old.version} to {new.version}"
            for function in sorted(old.signatures.keys() & new.signatures.keys()):
                if changes := changed_parameters(old.signatures[function], new.signatures[function]):
                    yield f"{function}, {ends}: {'; '.join(changes)}"
            packages = zip(old.packages.items(), new.packages.values(), strict=True)
            others = [f"{name} {a} to {b}" for (name, a), b in packages if name != "lmdeploy" and a != b]
            if others and any(steps for (_, _, one), steps in self._moved.items() if one == pair):
                yield f"what moved {ends} may have moved with {', '.join(others)}"
        counts = {
            "beyond the limit": sum(line.beyond for line in self._lines),
            "in error": sum(bool(line.row.error) for line in self._lines),
            "lacking": sum(bool(line.row.lacks) for line in self._lines),
            "moved": sum(bool(steps) for steps in self._moved.values()),
        }
        told = ", ".join(f"{count} {what}" for what, count in counts.items())
        seconds = " and ".join(f"{one.seconds:.0f}" for one in self.versions)
        yield f"{len(self._lines)} checks: {told}; {seconds} s of CPU"

    @cached_property
    def _lines(self) -> list[_Line]:
        every = product(self.versions, self.checks, DTYPES)
        return [_Line(check, dtype, one.rows[check.name, dtype], one.version) for one, check, dtype in every]

    @cached_property
    def _moved(self) -> dict[tuple[str, str, int], float | None]:
        """How far outputs moved, by check, dtype and number of the pair; None where one has none."""
        moved: dict[tuple[str, str, int], float | None] = {}
        for (pair, (old, new)), check, dtype in product(
            enumerate(pairwise(self.versions)), self.checks, DTYPES
        ):
            key = check.name, dtype
            parts = {*old.rows[key].parts, *new.rows[key].parts}
            there = parts and parts <= old.left.keys() and parts <= new.left.keys()
            apart = (steps_apart(old.left[part], new.left[part]) for part in parts)
            moved[*key, pair] = max(apart) if there else None
        return moved


def changed_parameters(old: Sequence[str], new: Sequence[str]) -> list[str]:
    """What differs between two signatures, in words; a parameter is ``name`` or ``name=default``."""
    changes = []
    for kind, a, b, c, d in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        gone, come = ", ".join(old[a:b]), ", ".join(new[c:d])
        told = {"delete": f"removed {gone}", "insert": f"added {come}", "replace": f"{gone} is now {come}"}
        changes += [told[kind]] if kind in told else []
    return changes


def _change(moved: float | None) -> str:
    if moved is None:
        return "-"
    return f"moved by {moved:.3g}" if moved else "same"


def _finite(steps: float | None) -> float | None:
    return steps if steps is not None and math.isfinite(steps) else None
