"""Distributions over the letters as small bars side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

__all__ = ["BAR_WIDTH", "Column", "bar", "distinct", "short", "side_by_side"]

BAR_WIDTH = 14
COLUMN_WIDTH = 30
_EIGHTHS = " ▏▎▍▌▋▊▉"
_FULL = "█"
_LEAST_DIGITS, _MOST_DIGITS = 3, 6
_NAME_WIDTH = 16


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


def distinct(values: Sequence[float]) -> list[str]:
    """Each number with as many digits, 3 to 6, as tell unlike ones apart.

    Where 6 do not, a number is told by its difference from the first that looks the same: 'Δ+3.1e-09'.
    """
    told = len({value for value in values if not math.isnan(value)})
    texts: list[str] = []
    for digits in range(_LEAST_DIGITS, _MOST_DIGITS + 1):
        texts = [f"{value:.{digits}g}" for value in values]
        if len(set(texts) - {"nan"}) == told:
            return texts
    first = dict(reversed([*zip(texts, values, strict=True)]))
    return [
        text if first[text] == value or math.isnan(value) else f"Δ{value - first[text]:+.1e}"
        for text, value in zip(texts, values, strict=True)
    ]


def side_by_side(letters: Sequence[str], columns: Sequence[Column], *, expected: str | None) -> list[str]:
    """Lines with a row per letter and a column per distribution; the expected letter is marked with '<'.

    In place of letters there may be a text, which is cut, and anything else.
    """
    titles = "".join(f"{_cut(column.title):<{COLUMN_WIDTH}}" for column in columns)
    names = [short(letter) for letter in letters]
    room = max(2, *map(len, names))
    indent = " " * (room + 4)
    lines = [f"{indent}{titles}".rstrip()]
    for index, letter in enumerate(letters):
        known = [share for column in columns if (share := column.probabilities[index]) is not None]
        numbers = dict(zip(known, distinct(known), strict=True))
        cells = "".join(f"{_cell(column, index, numbers):<{COLUMN_WIDTH}}" for column in columns)
        mark = "<" if letter == expected else " "
        lines.append(f"  {names[index]:<{room}}{mark} {cells}".rstrip())
    if any(column.text for column in columns):
        texts = "".join(
            f"{_cut(f'wrote {column.text!r}' if column.text else ''):<{COLUMN_WIDTH}}" for column in columns
        )
        lines.append(f"{indent}{texts}".rstrip())
    if expected is not None:
        lines.append("  < expected")
    return lines


def short(text: str, *, limit: int = _NAME_WIDTH) -> str:
    """``text`` on one line, cut beyond ``limit`` characters.

    In quotes with its line ends as escapes where white space would be lost, as each counts in a text.
    """
    if text != " ".join(text.split()):
        text = repr(text)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _cell(column: Column, index: int, numbers: Mapping[float, str]) -> str:
    share = column.probabilities[index]
    ceiling = column.ceilings[index] if column.ceilings else None
    if ceiling is not None:
        return f"≤ {ceiling:.3g}"
    return "-" if share is None else f"{numbers[share]:<9} {bar(share)}"


def _cut(text: str) -> str:
    room = COLUMN_WIDTH - 2
    return text if len(text) <= room else f"{text[: room - 1]}…"
