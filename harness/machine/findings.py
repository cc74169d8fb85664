"""What was looked at, and what came of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Finding", "Mark", "lacking", "remark", "right", "unknown", "wrong"]

_INDENT = " " * 6


class Mark(StrEnum):
    """What came of a look."""

    RIGHT = "✓"
    WRONG = "✗"
    UNKNOWN = "?"
    REMARK = "!"


@dataclass(frozen=True, slots=True)
class Finding:
    """One look: ``topic`` is what was looked at, in a word.

    What is wrong has its ``place`` (in a file), what is ``allowed`` and the ``command`` (or edit) that comes
    next; what cannot be known from here may have a command that would tell.
    """

    mark: Mark
    topic: str
    text: str
    place: object | None = None
    allowed: str = ""
    command: str = ""

    def lines(self) -> Iterable[str]:
        """As it is printed."""
        first, *more = self.text.splitlines() or [""]
        where = f"{self.place}: " if self.place is not None and self.mark is Mark.WRONG else ""
        yield f"  {self.mark.value} {self.topic:<12} {where}{first}"
        yield from (f"{_INDENT}{line}" for line in more)
        if self.allowed:
            yield f"{_INDENT}allowed: {self.allowed}"
        if self.command:
            yield f"{_INDENT}next: {self.command}"


def right(topic: str, text: str) -> Finding:
    """It is as it should be."""
    return Finding(Mark.RIGHT, topic, text)


def unknown(topic: str, text: str, *, command: str = "") -> Finding:
    """It cannot be known from here."""
    return Finding(Mark.UNKNOWN, topic, text, command=command)


def wrong(topic: str, text: str, place: object, *, allowed: str, command: str) -> Finding:
    """It will not work as it is."""
    return Finding(Mark.WRONG, topic, text, place, allowed, command)


def remark(topic: str, text: str, *, command: str) -> Finding:
    """It works, and will mislead; ``command``, or an edit, mends it."""
    return Finding(Mark.REMARK, topic, text, command=command)


def lacking(wanted: bool, topic: str, text: str, command: str) -> Finding:
    """It is wrong where it is ``wanted``, and may be so else; ``command`` mends it."""
    return Finding(Mark.WRONG if wanted else Mark.UNKNOWN, topic, text, command=command)
