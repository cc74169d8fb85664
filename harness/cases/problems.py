"""Places in YAML files, and the list that gathers problems until all of them can be raised at once."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from harness.errors import CaseFileError, Problem

__all__ = [
    "Location",
    "ProblemList",
    "describe",
    "is_file",
    "is_folder",
    "nearest",
    "readable",
    "shown",
    "visible",
]

_SHOWN_CHARACTERS = 60
_SHOWN_NAMES = 20
_LONGEST = 2000
# What a terminal acts on, ends a line, or turns the text around it.
_ACTS = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
is_file, is_folder = os.path.isfile, os.path.isdir  # Path's raise OSError for a name that is too long
_COMMAND = re.compile(r"^\s*:(?=:)|##(?=\[)")  # how GitHub knows one, in what a step prints


def visible(text: str) -> str:
    """The text with an escape in the place of each character that would do something else than be seen."""
    return _ACTS.sub(lambda found: ascii(found[0])[1:-1], text)


def readable(text: str) -> str:
    """Lines of any origin as lines that do nothing but be read: no terminal's codes, no command to GitHub."""
    lines = (visible(line.rstrip("\r").expandtabs()) for line in text.split("\n"))
    return "\n".join(_COMMAND.sub(r"\g<0>\\", line) for line in lines)


@lru_cache(maxsize=256)
def _below(path: Path, folder: Path) -> str:
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)


def shown(path: Path) -> str:
    """The path as it is shown to people: relative to the working folder where it lies in it."""
    return visible(_below(path, Path.cwd()))


@dataclass(frozen=True, slots=True, order=True)
class Location:
    """A place in a file. ``line`` and ``column`` count from 1, columns in characters.

    In a table ``line`` is the row, its heading not counted, ``column`` 0, and ``index`` what the row is
    called.
    """

    file: Path
    line: int
    column: int
    index: str = ""

    def __str__(self) -> str:
        """``file:line:column``, as editors and terminals turn into a link; of a table ``file: row 17``."""
        if not self.column:
            index = f" (index {visible(self.index)})" if self.index else ""
            return f"{shown(self.file)}: row {self.line}{index}"
        return f"{shown(self.file)}:{self.line}:{self.column}"


class ProblemList:
    """Problems found so far, each with its place."""

    def __init__(self) -> None:
        """Start with none."""
        # A dict, because what stands in `defaults` is met again in every case that uses it.
        self._problems: dict[Problem, tuple[str, int, int]] = {}

    def __len__(self) -> int:
        """How many there are so far."""
        return len(self._problems)

    def add(self, place: Location | Path, *, field: str, found: str, allowed: str) -> None:
        """Note one problem; ``place`` is a path alone where the file or folder itself is wrong."""
        if isinstance(place, Location):
            order, text = (str(place.file), place.line, place.column), str(place)
        else:
            order, text = (str(place), 0, 0), shown(place)
        said = (visible(each)[:_LONGEST] for each in (field, found, allowed))
        self._problems.setdefault(Problem(text, *said), order)

    def in_file_order(self) -> tuple[Problem, ...]:
        """All problems, by file, line and column."""
        return tuple(sorted(self._problems, key=self._problems.__getitem__))

    def raise_if_any(self) -> None:
        """Raise one `CaseFileError` with all problems, if there are any."""
        if self._problems:
            raise CaseFileError(self.in_file_order())


def describe(value: object) -> str:
    """What stands in a file, short enough for one line of a message."""
    match value:
        case None:
            return "nothing"
        case bool():
            return f"{str(value).lower()}, a boolean"
        case str():
            return repr(_clipped(value))
        case int() | float():
            return f"the number {value}"
        case list():
            return f"a list of {len(value)}"
        case dict():
            return "a mapping"
        case _:
            return str(value)


def nearest(name: str, known: Iterable[str]) -> str:
    """The known names as a text, led by the one nearest to ``name`` where one is near; of many, the first."""
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1)
    others = [other for other in names if other not in near]
    more = [f"and {len(others) - _SHOWN_NAMES} more"] if len(others) > _SHOWN_NAMES else []
    shown_names = [f"{n} (the nearest)" for n in near] + [*map(_clipped, others[:_SHOWN_NAMES])]
    return ", ".join(shown_names + more) or "none"


def _clipped(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 3] + "..."
