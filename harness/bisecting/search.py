"""Which of a row to judge next, and what can be said of it, as `git bisect` goes about it.

A row leads from its first, which is good, to its last, which is bad. It is taken to change once.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

__all__ = ["Judged", "Span", "next_of", "span_of", "usual_steps"]


class Judged(StrEnum):
    """What became of one of the row; ``SKIP``: it could not be judged."""

    GOOD = "good"
    BAD = "bad"
    SKIP = "skip"


class Span(NamedTuple):
    """Places in the row: the last that is good, and behind it the first that is bad.

    The change is behind ``good`` and up to ``bad``.
    """

    good: int
    bad: int

    @property
    def between(self) -> range:
        """The places of which neither is known."""
        return range(self.good + 1, self.bad)


def span_of(count: int, judged: Mapping[int, Judged]) -> Span:
    """What is known of a row of ``count``, 2 or more, by what was ``judged`` of the places inside."""
    bad = min((place for place, one in judged.items() if one is Judged.BAD), default=count - 1)
    good = max((place for place, one in judged.items() if one is Judged.GOOD and place < bad), default=0)
    return Span(good, bad)


def next_of(count: int, judged: Mapping[int, Judged]) -> int | None:
    """The place to judge next; None where none would tell more.

    The one farthest from everything that is known: the middle, and where that was skipped a place well away
    from it, since what could not be judged mostly comes in runs.
    """
    span = span_of(count, judged)
    known = [*span, *(place for place in span.between if place in judged)]
    left = [place for place in span.between if place not in judged]
    return max(
        left,
        key=lambda place: (min(abs(place - one) for one in known), -abs(2 * place - sum(span)), -place),
        default=None,
    )


def usual_steps(count: int) -> int:
    """The most that are judged between the ends of a row of ``count`` if none is skipped."""
    return max(count - 2, 0).bit_length()
