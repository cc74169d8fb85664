"""Plain data from a YAML file, in which the place of every value and key can be looked up."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from harness.cases.problems import Location, ProblemList

__all__ = ["REFUSED", "Document", "LocatedDict", "LocatedList", "Mark", "Refused", "Steps", "Value"]

Steps = tuple[str | int, ...]


class Refused:
    """Stands for a value whose problem is already noted, so that no second one is noted for it."""

    def __repr__(self) -> str:
        """Only ever seen while debugging."""
        return "a refused value"


REFUSED = Refused()


class Mark(Protocol):
    """A place as the parser tells it, counted from 0."""

    @property
    def line(self) -> int:
        """Lines before it."""

    @property
    def column(self) -> int:
        """Characters before it in its line."""


class LocatedDict(dict[str, Any]):
    """A mapping; ``marks`` holds its own mark, then those of key and value of each entry in order."""

    __slots__ = ("marks",)
    marks: list[Mark | None]


class LocatedList(list[Any]):
    """A sequence; ``marks`` holds its own mark, then that of each item."""

    __slots__ = ("marks",)
    marks: list[Mark | None]


Value = LocatedDict | LocatedList | Refused | str | int | float | None  # a bool is an int


class Document:
    """One YAML file: ``data`` as plain dicts, lists and scalars, with places.

    ``complete`` is False where the text could not be read to its end; ``data`` is then not to be judged.
    """

    def __init__(self, file: Path, problems: ProblemList) -> None:
        """Nothing is read yet; problems will go to ``problems``."""
        self.file = file
        self.problems = problems
        self.remarks = ProblemList()
        self.data: Any = None
        self.complete = False

    def place(self, steps: Steps) -> Location:
        """Where the value at ``steps`` starts, or what should hold it where there is no such value."""
        return self._walk(steps, of_key=False)

    def key_place(self, steps: Steps) -> Location:
        """Where the key that leads to the value at ``steps`` starts."""
        return self._walk(steps, of_key=True)

    def add(self, steps: Steps, found: str, allowed: str, *, at_key: bool = False) -> None:
        """Note a problem with the value (or, ``at_key``, with the key) at ``steps``."""
        place = self.key_place(steps) if at_key else self.place(steps)
        self.problems.add(place, field=".".join(map(str, steps)), found=found, allowed=allowed)

    def remark(self, steps: Steps, found: str, better: str) -> None:
        """Note what is worth a word about the value at ``steps`` and fails nothing."""
        self.remarks.add(self.place(steps), field=".".join(map(str, steps)), found=found, allowed=better)

    def _walk(self, steps: Steps, *, of_key: bool) -> Location:
        node = self.data
        mark = node.marks[0] if isinstance(node, LocatedDict | LocatedList) else None
        for number, step in enumerate(steps, start=1):
            if isinstance(node, LocatedDict) and step in node:
                index = 2 * list(node).index(str(step)) + 1
                mark = node.marks[index if of_key and number == len(steps) else index + 1]
                node = node[str(step)]
            elif isinstance(node, LocatedList) and isinstance(step, int) and step < len(node):
                mark = node.marks[step + 1]
                node = node[step]
            else:
                break
        return self.location(mark)

    def location(self, mark: Mark | None) -> Location:
        """A parser's mark as a location."""
        return Location(self.file, mark.line + 1, mark.column + 1) if mark else Location(self.file, 1, 1)
