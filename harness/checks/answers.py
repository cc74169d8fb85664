"""What checks read from an answer: the letters' probabilities, the top letter, where two id lists part."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import zip_longest
from typing import NamedTuple

from harness.checks.intervals import letter_intervals
from harness.checks.target import raw_sizes, writes
from harness.engines.contract import Answer, Reading

__all__ = [
    "Parting",
    "by_text",
    "id_text",
    "letter_probabilities",
    "logit_size",
    "parting",
    "quoted",
    "top_index",
    "written_letter",
]


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


def by_text(answer: Answer) -> bool:
    """Whether the engine told no ids, so that what was written is known by its text only."""
    return not (answer.letter_ids or answer.target_ids)


def logit_size(answer: Answer) -> float:
    """How large the logits are at the answer's row, as far as is known: the largest by its absolute value.

    That of the path in which it is smallest, so that a path that is wrong by being too large widens nothing.
    0 where no path has the row.
    """
    sizes = [
        max((abs(reading.log_z), *raw_sizes(reading)))
        for reading in answer.readings
        if reading.log_z is not None and not reading.partial
    ]
    return min((size for size in sizes if math.isfinite(size)), default=0.0)


def letter_probabilities(reading: Reading) -> tuple[float, ...]:
    """Each letter's share of the softmax over the whole vocabulary; empty if the answer was not reached.

    NaN for a letter outside a partial reading, of which there is an interval only: see
    `harness.checks.intervals.letter_intervals`.
    """
    return tuple(share.low if share.exact else math.nan for share in letter_intervals(reading))


def top_index(reading: Reading, letter_ids: Sequence[int]) -> int | None:
    """The index of the most probable letter, of equals that with the lowest id, as greedy decoding picks.

    None if the answer was not reached, a logit is NaN, or it is undecided: a letter outside a partial reading
    may be as probable, or two are equal and their ids (``letter_ids``, then empty) are not told. Of a text it
    is 0 where greedy decoding writes it, however improbable so many tokens are together.
    """
    logits = reading.letter_logits
    if reading.target:
        written = writes(reading)
        return None if written is None else 0 if written else 1
    if not logits or any(math.isnan(logit) for logit in logits):
        return None
    best = max(logits)
    if any(
        c >= best and logit == -math.inf for c, logit in zip(reading.letter_ceilings, logits, strict=False)
    ):
        return None
    equals = [i for i, logit in enumerate(logits) if logit == best]
    if not letter_ids:
        return equals[0] if len(equals) == 1 else None
    return min(equals, key=lambda i: letter_ids[i])


def written_letter(answer: Answer, letters: Sequence[str], answer_prefix: str) -> str | None:
    """The letter on offer that was generated in the answer's place; None if something else was, or nothing.

    By text, it is what follows ``answer_prefix`` and is no part of a longer word.
    """
    if answer.answer_step is None:
        return None
    if not by_text(answer):
        generated = answer.generated_ids[answer.answer_step]
        return letters[answer.letter_ids.index(generated)] if generated in answer.letter_ids else None
    rest = answer.text.removeprefix(answer_prefix)
    return rest[0] if rest[:1] in letters and not rest[1:2].isalnum() and rest else None


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
