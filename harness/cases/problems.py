"""Places in YAML files, and the list that gathers problems until all of them can be raised at once."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from harness.errors import CaseFileError, Problem

__all__ = ["Location", "ProblemList", "describe", "nearest", "shown"]

_SHOWN_CHARACTERS = 60
_SHOWN_NAMES = 20


@lru_cache(maxsize=256)
def _below(path: Path, folder: Path) -> str:
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)


def shown(path: Path) -> str:
    """The path as it is shown to people: relative to the working folder where it lies in it."""
    return _below(path, Path.cwd())


@dataclass(frozen=True, slots=True, order=True)
class Location:
    """A place in a file. ``line`` and ``column`` count from 1, columns in characters."""

    file: Path
    line: int
    column: int

    def __str__(self) -> str:
        """``file:line:column``, as editors and terminals turn into a link."""
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
        self._problems.setdefault(Problem(text, field, found, allowed), order)

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
            return repr(value if len(value) <= _SHOWN_CHARACTERS else value[: _SHOWN_CHARACTERS - 3] + "...")
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
    return ", ".join([f"{n} (the nearest)" for n in near] + others[:_SHOWN_NAMES] + more) or "none"
