"""How far apart answers to one case are, in shares of a limit."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from harness.engines.contract import Answer
from harness.errors import EngineError

__all__ = ["FAR", "Judged", "Result", "apart"]

Result = Answer | EngineError

FAR: Final = 1e6
"""No distance is above this; a case that one side only could answer is as far."""


class Judged(NamedTuple):
    """``ratio`` is a distance over its limit, at most `FAR`; ``what`` says between which values."""

    ratio: float
    what: str


def apart(one: Result, other: Result, letters: Sequence[str], limit: float) -> Judged | None:
    """The largest difference of a log-probability, over ``limit`` (nats); None where neither has an answer.

    Those of the letters count, and those of the tokens before two sides write different ones, with these: in
    a tie they are as probable. A letter that is not in the top which a server shows counts for nothing.
    """
    if not isinstance(one, Answer) or not isinstance(other, Answer):
        error = one if isinstance(other, Answer) else other
        told = f"one side only could answer; the other: {str(error).splitlines()[0]}"
        return Judged(FAR, told) if isinstance(one, Answer) or isinstance(other, Answer) else None
    gaps = [
        Judged(min(FAR, abs(a - b) / limit), f"log-probability of {name}: {a:.7g} and {b:.7g}")
        for name, a, b in _pairs(one, other, letters)
    ]
    return max(gaps, default=Judged(0.0, "no letter was reached"))


def _pairs(one: Answer, other: Answer, letters: Sequence[str]) -> Iterator[tuple[str, float, float]]:
    if not one.readings or not other.readings:
        return
    a, b = one.readings[0], other.readings[0]
    wrote = [*zip(one.generated_ids, other.generated_ids, strict=False)]
    same = next((step for step, (x, y) in enumerate(wrote) if x != y), len(wrote))
    for step, (x, y) in enumerate(zip(a.logprobs, b.logprobs, strict=False)):
        if step <= same and step < len(wrote):
            yield f"generated token {step}", x, y
    if a.log_z is not None and b.log_z is not None and one.answer_step == other.answer_step:
        for letter, x, y in zip(letters, a.letter_logits, b.letter_logits, strict=True):
            if math.isfinite(x) and math.isfinite(y):
                yield letter, x - a.log_z, y - b.log_z
