"""What checks read from an answer: the letters' probabilities, the top letter, where two id lists part."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import zip_longest
from typing import NamedTuple

from harness.engines.contract import Answer, Reading

__all__ = ["Parting", "id_text", "letter_probabilities", "parting", "quoted", "top_index"]


class Parting(NamedTuple):
    """The first place where two id lists differ; an id is None where its list has ended.

    ``lengths`` are those of the whole lists.
    """

    step: int
    left: int | None
    right: int | None
    lengths: tuple[int, int]

    def __str__(self) -> str:
        """Everything on one line."""
        left, right = ("the end" if i is None else f"id {i}" for i in (self.left, self.right))
        lengths = f"{self.lengths[0]} and {self.lengths[1]}"
        return f"at position {self.step}: {left} against {right} (lengths {lengths})"


def parting(left: Sequence[int], right: Sequence[int]) -> Parting | None:
    """Where two id lists first differ, None if they are equal."""
    for step, (a, b) in enumerate(zip_longest(left, right)):
        if a != b:
            return Parting(step, a, b, (len(left), len(right)))
    return None


def letter_probabilities(reading: Reading) -> tuple[float, ...]:
    """Each letter's share of the softmax over the whole vocabulary; empty if the answer was not reached."""
    if reading.log_z is None:
        return ()
    return tuple(math.exp(logit - reading.log_z) for logit in reading.letter_logits)


def top_index(reading: Reading, letter_ids: Sequence[int]) -> int | None:
    """The index of the most probable letter, of equals that with the lowest id, as greedy decoding picks.

    None if the answer was not reached or a logit is NaN.
    """
    logits = reading.letter_logits
    if not logits or any(math.isnan(logit) for logit in logits):
        return None
    return min(range(len(logits)), key=lambda i: (-logits[i], letter_ids[i]))


def id_text(token_id: int, answer: Answer, letters: Sequence[str]) -> str:
    """A token id for people: with its letter where it is one of those on offer."""
    if token_id in answer.letter_ids:
        return f"'{letters[answer.letter_ids.index(token_id)]}' (id {token_id})"
    return f"id {token_id}"


def quoted(text: str, *, limit: int = 60) -> str:
    """The text in quotes on one line, cut in the middle beyond ``limit`` characters."""
    if len(text) > limit:
        text = f"{text[: limit // 2]} … {text[-(limit // 2) :]}"
    return repr(text)
