"""How far two engines' answers to the same cases are apart, in figures that tell noise from more than it.

Probabilities are the letters' shares of the whole vocabulary. Log-odds are centred: from each letter's logit
the mean over the letters is taken, which leaves out whatever shifts a whole row.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from harness.checks.answers import letter_probabilities
from harness.checks.log_odds import difference, of_reading
from harness.engines.contract import Answer, Reading

__all__ = ["Noise", "noise_between"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """``left`` and ``right`` name the engines; ``cases`` is how many of both had an answer row.

    ``largest`` and ``median`` are of the cases' largest change of a letter's probability; ``log_odds`` is the
    standard deviation of the changes of centred log-odds, over all letters of all cases; ``flips`` counts
    cases with another top letter. All are None without a case.
    """

    left: str
    right: str
    cases: int
    largest: float | None = None
    median: float | None = None
    log_odds: float | None = None
    flips: int | None = None


def noise_between(left: str, right: str, pairs: Sequence[tuple[Answer, Answer]]) -> Noise:
    """What lies between two engines' answers to the same cases; both must have seen whole rows."""
    readings = [(a.readings[0], b.readings[0]) for a, b in pairs]
    both = [(a, b) for a, b in readings if a.log_z is not None and b.log_z is not None]
    if not both:
        return Noise(left=left, right=right, cases=0)
    changes = [
        max(abs(p - q) for p, q in zip(letter_probabilities(a), letter_probabilities(b), strict=True))
        for a, b in both
    ]
    odds = [move for a, b in both for move in difference(of_reading(b), of_reading(a))]
    return Noise(
        left=left,
        right=right,
        cases=len(both),
        largest=max(changes),
        median=statistics.median(changes),
        # Their mean is 0, since each case's sum is.
        log_odds=math.sqrt(math.fsum(change * change for change in odds) / len(odds)),
        flips=sum(_top(a) != _top(b) for a, b in both),
    )


def _top(reading: Reading) -> int:
    return max(range(len(reading.letter_logits)), key=reading.letter_logits.__getitem__)
