"""Which rows of a table a suite takes: what its filters keep, the first of it, and of these a sample."""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from harness.cases.sources.tables import Cells

__all__ = ["chosen", "kept", "text_of"]


def text_of(cell: Any) -> str:  # noqa: ANN401 - whatever a table holds
    """A cell as text, '' for what is missing: nothing, NaN, and 'nan' as pandas writes it."""
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return ""
    text = cell if isinstance(cell, str) else str(cell)
    return "" if text.strip() in ("", "nan", "NaN") else text


def kept(cells: Cells, where: Mapping[str, Any]) -> bool:
    """Whether a row has, in each column, one of the values asked for; True asks for any, False for none."""
    for column, wanted in where.items():
        found = text_of(cells.get(column)).strip()
        if isinstance(wanted, bool):
            if bool(found) is not wanted:
                return False
        elif found not in map(str, wanted if isinstance(wanted, list) else [wanted]):
            return False
    return True


def chosen(rows: Mapping[int, Cells], source: Mapping[str, Any], names: Mapping[int, str]) -> Sequence[int]:
    """The numbers of the rows to take, in order. ``names`` are what a row is drawn by, its index.

    A sample has of each kind the rows whose name has the smallest hash with the seed: rows that are added
    replace few, and no generator of random numbers has a say.
    """
    found = [number for number, cells in rows.items() if kept(cells, source.get("where", {}))]
    found = found[: source.get("first", len(found))]
    if "sample" not in source:
        return found
    kinds: defaultdict[str, list[int]] = defaultdict(list)
    for number in found:
        kinds[text_of(rows[number].get(source.get("per", "")))].append(number)

    def draw(number: int) -> bytes:
        return hashlib.sha256(f"{source.get('seed', 0)}\0{names[number]}".encode()).digest()

    return sorted(n for own in kinds.values() for n in sorted(own, key=draw)[: source["sample"]])
