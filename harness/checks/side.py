"""One engine's half of a comparison."""

from __future__ import annotations

from dataclasses import dataclass

from harness.checks.answers import letter_probabilities, top_index
from harness.checks.intervals import Interval, letter_intervals
from harness.engines.contract import Answer, Reading
from harness.recordings.store import Recording

__all__ = ["Side", "side_of"]

# The reading of a side that never got as far as the letter.
_NO_READING = Reading(path="", argmax=(), logprobs=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One engine's half: ``probabilities`` [L] of the letters over the whole vocabulary, ``spellings`` [L].

    Both are empty, and ``top`` is None, where the engine never reached the letter. ``gap`` is how far the top
    letter's probability is above the next one's. Of a partial reading, ``probabilities`` are NaN where only
    ``intervals`` [L] are known, and ``top`` and ``gap`` are None where they leave it open.
    """

    engine: str
    probabilities: tuple[float, ...]
    intervals: tuple[Interval, ...]
    spellings: tuple[float, ...]
    top: int | None
    gap: float | None
    answer: Answer

    @property
    def reached(self) -> bool:
        """Whether there is a distribution over the letters."""
        return bool(self.probabilities)

    @property
    def reading(self) -> Reading:
        """The first path's reading, an empty one where there is none."""
        return self.answer.readings[0] if self.answer.readings else _NO_READING


def side_of(recording: Recording) -> Side:
    """The half that ``recording`` is."""
    answer = recording.answer
    reading = answer.readings[0] if answer.readings else None
    intervals = () if reading is None else letter_intervals(reading)
    top = None if reading is None else top_index(reading, answer.letter_ids)
    others = [interval.high for i, interval in enumerate(intervals) if i != top]
    return Side(
        engine=recording.engine,
        probabilities=() if reading is None else letter_probabilities(reading),
        intervals=intervals,
        spellings=() if reading is None else reading.other_spellings,
        top=top,
        gap=None if top is None or not others else intervals[top].low - max(others),
        answer=answer,
    )
