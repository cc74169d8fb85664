"""Distributions over the letters as small bars side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["BAR_WIDTH", "Column", "bar", "side_by_side"]

BAR_WIDTH = 14
COLUMN_WIDTH = 30
_EIGHTHS = " ▏▎▍▌▋▊▉"
_FULL = "█"


class Column(NamedTuple):
    """One distribution: ``probabilities`` [L], None where it is not known, and ``text``, what was written.

    ``ceilings`` [L] say how large a probability that is not known can be, None where it is known; may be ().
    """

    title: str
    probabilities: tuple[float | None, ...]
    text: str = ""
    ceilings: tuple[float | None, ...] = ()


def bar(share: float, *, width: int = BAR_WIDTH) -> str:
    """A bar of at most ``width`` characters, in eighths of one; anything above 0 shows at least one eighth.

    NaN gives '?', which no share does.
    """
    if math.isnan(share):
        return "?"
    eighths = round(min(max(share, 0.0), 1.0) * width * 8)
    if share > 0:
        eighths = max(eighths, 1)
    full, rest = divmod(eighths, 8)
    return _FULL * full + (_EIGHTHS[rest] if rest else "")


def side_by_side(letters: Sequence[str], columns: Sequence[Column], *, expected: str | None) -> list[str]:
    """Lines with a row per letter and a column per distribution; the expected letter is marked with '<'."""
    titles = "".join(f"{_cut(column.title):<{COLUMN_WIDTH}}" for column in columns)
    lines = [f"      {titles}".rstrip()]
    for index, letter in enumerate(letters):
        cells = "".join(f"{_cell(column, index):<{COLUMN_WIDTH}}" for column in columns)
        lines.append(f"  {letter:<2}{'<' if letter == expected else ' '} {cells}".rstrip())
    if any(column.text for column in columns):
        texts = "".join(
            f"{_cut(f'wrote {column.text!r}' if column.text else ''):<{COLUMN_WIDTH}}" for column in columns
        )
        lines.append(f"      {texts}".rstrip())
    if expected is not None:
        lines.append("  < expected")
    return lines


def _cell(column: Column, index: int) -> str:
    share = column.probabilities[index]
    ceiling = column.ceilings[index] if column.ceilings else None
    if ceiling is not None:
        return f"≤ {ceiling:.3g}"
    return "-" if share is None else f"{share:<9.3g} {bar(share)}"


def _cut(text: str) -> str:
    room = COLUMN_WIDTH - 2
    return text if len(text) <= room else f"{text[: room - 1]}…"
