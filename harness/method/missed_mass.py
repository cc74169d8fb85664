"""What a list of k entries does not show of the letters, computed exactly from full readings.

Probabilities are shares of the softmax over the whole vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from harness.checks.answers import letter_probabilities
from harness.engines.contract import Reading
from harness.errors import HarnessError
from harness.method.coverage import CaseReading

__all__ = ["Missed", "MissedMass", "WorstCase", "missed_by", "missed_in"]


class Missed(NamedTuple):
    """In one row: the ``letters`` that stand outside the list, and their ``mass`` together.

    A reader of the list alone knows each of them as an interval from 0 to ``width``: no more than the list's
    last entry, and no more than what its entries leave. It is None where the reading keeps too short a list.
    """

    letters: int
    mass: float
    width: float | None


class WorstCase(NamedTuple):
    """The largest of a figure, and the case that has it; no case where it is 0 throughout."""

    value: float | None
    case: str | None
    place: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MissedMass:
    """What a list of ``k`` entries misses in ``cases`` cases, ``touched`` of which have a letter outside it.

    ``mean`` is of the missed mass over all cases and ``worst`` the largest; ``widest`` is the widest interval
    that a reader of the list has to live with, its value None if a recording keeps too short a list to tell.
    """

    k: int
    cases: int
    touched: int
    mean: float
    worst: WorstCase
    widest: WorstCase


def missed_in(reading: Reading, k: int) -> Missed:
    """What the ``k`` most probable entries (at least 1) of a full reading's answer row do not show.

    Raises HarnessError for a reading that did not see the whole row.
    """
    if reading.partial or reading.log_z is None:
        raise HarnessError(
            f"found a reading of path {reading.path!r} that did not see the whole row; allowed: full "
            "readings, since what a list misses cannot be told from a list"
        )
    pairs = zip(letter_probabilities(reading), reading.letter_ranks, strict=True)
    outside = [probability for probability, rank in pairs if rank >= k]
    if not outside:
        return Missed(0, 0.0, 0.0)
    return Missed(len(outside), math.fsum(outside), _width(reading, k))


def _width(reading: Reading, k: int) -> float | None:
    if len(reading.top) < k:
        return None
    shown = [math.exp(entry.logprob) for entry in reading.top[:k]]
    return min(shown[-1], max(0.0, 1.0 - math.fsum(shown)))


def missed_by(cases: Sequence[CaseReading], k: int) -> MissedMass:
    """What a list of ``k`` entries misses in at least one case; raises as `missed_in` does."""
    each = [(missed_in(one.reading, k), one) for one in cases]
    touched = [(missed, one) for missed, one in each if missed.letters]
    worst = widest = WorstCase(0.0, None, None)
    if touched:
        missed, one = max(touched, key=lambda pair: pair[0].mass)
        worst = WorstCase(missed.mass, one.case, one.place)
        # What cannot be told may be the widest of all.
        missed, one = max(touched, key=lambda pair: math.inf if pair[0].width is None else pair[0].width)
        widest = WorstCase(missed.width, one.case, one.place)
    return MissedMass(
        k=k,
        cases=len(each),
        touched=len(touched),
        mean=math.fsum(missed.mass for missed, _ in each) / len(each),
        worst=worst,
        widest=widest,
    )
