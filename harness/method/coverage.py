"""How long a top-k list must be to show every letter. Pure functions on readings.

A letter whose rank is r (as many tokens are more probable) stands in a list of r + 1 entries and in no
shorter one. Shapes: L letters on offer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from harness.engines.contract import Answer, Reading
from harness.errors import HarnessError

__all__ = [
    "MOST",
    "CaseReading",
    "Coverage",
    "Depth",
    "best_reading",
    "coverage_of",
    "depth_of",
    "rank_of_share",
]

MOST = 999
"""'Nearly all' cases, in thousandths."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseReading:
    """What one engine's answer says of one case; ``place`` is the case's ``file:line:column``."""

    case: str
    suite: str
    place: str
    letters: tuple[str, ...]
    reading: Reading


class Depth(NamedTuple):
    """A list of ``k`` entries, and no shorter one, shows every letter of ``case``; ``letter`` comes last.

    Where not ``exact`` only the top of the row was seen, and ``k`` is the least that it can be.
    """

    k: int
    exact: bool
    letter: str
    case: str
    place: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """``all`` is the smallest k that shows every letter in all ``cases``, ``most`` in 99.9% of them.

    Each names the case and letter that need it. ``left_out`` is the number of cases that 99.9% leaves out.
    """

    cases: int
    all: Depth
    most: Depth
    left_out: int


def best_reading(answer: Answer) -> Reading:
    """The first reading that saw the whole row, else the engine's answer."""
    return next((reading for reading in answer.readings if not reading.partial), answer.readings[0])


def depth_of(one: CaseReading) -> Depth:
    """How long a list must be to show every letter of a case; of letters of one depth the first is named.

    Raises HarnessError for a reading without the answer's row, or a full one without ranks.
    """
    reading = one.reading
    if reading.log_z is None:
        raise HarnessError(
            f"{one.case}: found no answer row to look for letters in; allowed: a reading with one"
        )
    if reading.partial:
        exact, needed = _seen_depths(reading)
    else:
        if len(reading.letter_ranks) != len(one.letters):
            raise HarnessError(
                f"{one.case}: found ranks of {len(reading.letter_ranks)} letters in the reading of path "
                f"{reading.path!r}; allowed: one for each of {len(one.letters)}. Make the recordings again: "
                "pytest --fresh"
            )
        exact, needed = [True] * len(one.letters), [rank + 1 for rank in reading.letter_ranks]
    last = max(range(len(needed)), key=lambda i: (needed[i], not exact[i], -i))
    return Depth(needed[last], all(exact), one.letters[last], one.case, one.place)


def _seen_depths(reading: Reading) -> tuple[list[bool], list[int]]:
    """Per letter of a partial reading: whether it was seen, and its place or the first beyond the list."""
    seen = [logit > float("-inf") for logit in reading.letter_logits]
    above = [sum(entry.logprob > logit for entry in reading.top) for logit in reading.letter_logits]
    beyond = len(reading.top) + 1
    return seen, [above[i] + 1 if seen[i] else beyond for i in range(len(seen))]


def rank_of_share(cases: int, thousandths: int) -> int:
    """The nearest rank: the least number of ``cases`` that is at least that share of them."""
    return -(-cases * thousandths // 1000)


def coverage_of(depths: Sequence[Depth]) -> Coverage:
    """The smallest k for all and for 99.9% of at least one case, by nearest rank."""
    # Where two need the same k the one that may need more comes last.
    ordered = sorted(depths, key=lambda depth: (depth.k, not depth.exact))
    rank = rank_of_share(len(ordered), MOST)
    return Coverage(
        cases=len(ordered),
        all=_at(ordered, len(ordered)),
        most=_at(ordered, rank),
        left_out=len(ordered) - rank,
    )


def _at(ordered: Sequence[Depth], rank: int) -> Depth:
    """The depth at ``rank`` (from 1); one that may be larger below it makes it a lower bound as well."""
    return ordered[rank - 1]._replace(exact=all(depth.exact for depth in ordered[:rank]))
