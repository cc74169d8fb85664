"""Which settings make a difference: which sets to try, in order, and the smallest that does it. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Final, NamedTuple, TypeAlias

__all__ = ["AS_IT_IS", "Names", "Seen", "candidates", "search", "smallest"]

Names: TypeAlias = frozenset[str]
"""Factors that are changed together."""

AS_IT_IS: Final[Names] = frozenset()
_MOVED: Final = 0.1  # of the limit: what moves the difference by less is not tried in pairs


class Seen(NamedTuple):
    """What came of a set: the largest difference ``gap`` and its ``limit`` (nats), or an ``error`` instead.

    ``seconds`` is what it took, 0 where all was recorded.
    """

    gap: float = math.nan
    limit: float = 0.0
    seconds: float = 0.0
    error: str = ""

    @property
    def beyond(self) -> bool:
        """Whether there is a difference."""
        return self.gap > self.limit


def smallest(seen: Mapping[Names, Seen]) -> list[Names]:
    """The smallest sets that remove the difference, or make it where there is none; the clearest first."""
    there = seen[AS_IT_IS].beyond
    found = [names for names, one in seen.items() if not one.error and one.beyond is not there]
    least = [names for names in found if len(names) == min(map(len, found))]
    return sorted(least, key=lambda names: seen[names].gap, reverse=not there)


def candidates(factors: Sequence[str], seen: Mapping[Names, Seen]) -> Iterator[Names]:
    """What is left to try: one at a time; where none turns it, pairs of those that moved it, most first."""
    alone = [frozenset({name}) for name in factors]
    yield from (names for names in alone if names not in seen)
    if smallest(seen):
        return
    base = seen[AS_IT_IS]
    moved = {names: abs(seen[names].gap - base.gap) for names in alone if names in seen}
    # An infinite difference that stays has not moved; nor has one of which nothing is known.
    movers = [names for names, by in moved.items() if by > _MOVED * base.limit]
    pairs = sorted(combinations(movers, 2), key=lambda two: -moved[two[0]] - moved[two[1]])
    yield from (one | other for one, other in pairs if one | other not in seen)


def search(
    factors: Sequence[str],
    seen: dict[Names, Seen],
    measure: Callable[[Names], Seen],
    cost: Callable[[Names], int],
    budget: int,
) -> None:
    """Fill ``seen``, which has `AS_IT_IS`, at a ``cost`` of ``budget`` at most."""
    while names := next((each for each in candidates(factors, seen) if cost(each) <= budget), None):
        budget -= cost(names)
        seen[names] = measure(names)
