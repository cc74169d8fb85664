"""Timing things in turn, and what is said of the results.

Standard library only, since the scripts that run in an engine's interpreter use it too.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

__all__ = ["Figure", "growth_exponent", "interleaved", "paired"]


class Figure(NamedTuple):
    """The middle of several values, and how far they are spread."""

    median: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Figure:
        """The figure of at least one value."""
        return cls(statistics.median(values), min(values), max(values))


def interleaved(
    work: Mapping[str, Callable[[], object]],
    repeats: int,
    *,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Seconds of each piece of work, ``repeats`` times in turn, after one round that is not counted.

    Every round begins with another piece, so that none always follows the same one. What slows the machine
    for a while slows all of a round, and leaves the round's ratios alone.
    """
    names = list(work)
    for name in names:
        work[name]()
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number in range(repeats):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            started = clock()
            work[name]()
            seconds[name].append(clock() - started)
    return seconds


def paired(above: Sequence[float], below: Sequence[float]) -> tuple[float, ...]:
    """The ratio of each round."""
    return tuple(a / b for a, b in zip(above, below, strict=True))


def growth_exponent(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """The b of ``seconds = a * sizes ** b``, by least squares on logarithms: 1 in proportion, 2 a square."""
    logarithms = [[math.log(value) for value in values] for values in (sizes, seconds)]
    return statistics.linear_regression(*logarithms).slope
