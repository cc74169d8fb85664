"""What is known of a letter's probability: exactly, or, outside the top that a path saw, as an interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from harness.engines.contract import Reading

__all__ = ["Interval", "apart", "letter_intervals", "outside", "overlapping"]


class Interval(NamedTuple):
    """A number that lies between ``low`` and ``high``, both included; equal where it is known."""

    low: float
    high: float

    @property
    def exact(self) -> bool:
        """Whether the number itself is known; NaN is as exact as it gets."""
        return self.low == self.high or self.low != self.low

    def __str__(self) -> str:
        """Such as ``0.9985`` or ``at most 0.003``."""
        if self.exact:
            return f"{self.low:.4g}"
        return f"at most {self.high:.4g}" if self.low == 0 else f"{self.low:.4g} to {self.high:.4g}"


def letter_intervals(reading: Reading) -> tuple[Interval, ...]:
    """Each letter's share of the softmax over the whole vocabulary; empty if the answer was not reached."""
    if reading.log_z is None:
        return ()
    shares = [math.exp(logit - reading.log_z) for logit in reading.letter_logits]
    if not reading.partial:
        return tuple(Interval(share, share) for share in shares)
    return tuple(
        # The ceiling of a letter that was seen is the same number in other rounding.
        Interval(share, share) if logit != -math.inf else Interval(0.0, math.exp(ceiling))
        for share, logit, ceiling in zip(shares, reading.letter_logits, reading.letter_ceilings, strict=True)
    )


def apart(a: Interval, b: Interval) -> Interval:
    """The least and the most by which two numbers can differ."""
    least = max(0.0, a.low - b.high, b.low - a.high)
    most = max(abs(a.high - b.low), abs(b.high - a.low))
    return Interval(most if most != most else least, most)


def outside(reading: Reading, letters: Sequence[str]) -> tuple[str, ...]:
    """The letters that a partial reading did not see."""
    if not reading.partial:
        return ()
    pairs = zip(letters, reading.letter_logits, strict=True)
    return tuple(letter for letter, logit in pairs if logit == -math.inf)


def overlapping(reading: Reading, letters: Sequence[str]) -> str:
    """Why there is no most probable letter: which of them cannot be told apart, and what would tell.

    For an answer's row without one (`harness.checks.answers.top_index` gives None).
    """
    if any(math.isnan(logit) for logit in reading.letter_logits):
        return "there is NaN among the letters' logits"
    intervals = letter_intervals(reading)
    floor = max(interval.low for interval in intervals)
    rivals = [
        f"{letter} ({interval})"
        for letter, interval in zip(letters, intervals, strict=True)
        if interval.high >= floor
    ]
    text = f"undecided between {', '.join(rivals)}"
    if unseen := outside(reading, letters):
        text += f": {', '.join(unseen)} outside {seen(reading)}; it would take {more(reading)}"
    return text


def seen(reading: Reading) -> str:
    """What a partial reading saw, in words."""
    return f"the {len(reading.top)} tokens that the engine told of" if reading.top else "the engine's list"


def more(reading: Reading) -> str:
    """What would show more than a partial reading saw, in words."""
    count = f"above {len(reading.top)}" if reading.top else "large enough to hold them"
    return f"a top_k {count}, as far as the engine allows it, or a path with full rows"
