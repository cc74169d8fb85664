"""Readings for the tests, from rows of logits that a test chooses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.distributions import log_softmax, top_k
from harness.engines.contract import Entry, Reading
from harness.engines.letters import LetterIds
from harness.engines.readings import read_rows
from harness.method.coverage import CaseReading

LETTERS = ("A", "B", "C")
IDS = (10, 11, 12)


def full(row: Sequence[float] | npt.NDArray[Any], *, kept: int = 20, ids: Sequence[int] = IDS) -> Reading:
    """The reading of an answer of one token, whose row of logits is given."""
    logits = np.asarray([row], dtype=np.float32)
    letters = LetterIds(LETTERS, (), tuple(ids), ((), (), ()))
    return read_rows("forward", logits, [int(logits[0].argmax())], letter_ids=letters, top_k=kept)


def partial(row: Sequence[float] | npt.NDArray[Any], k: int) -> Reading:
    """What a path that sees the top ``k`` of the row says of it."""
    logprobs = log_softmax(np.asarray(row, dtype=np.float32))
    top = tuple(Entry(int(i), float(logprobs[i])) for i in top_k(logprobs, k).ids)
    seen = {entry.id: entry.logprob for entry in top}
    return Reading(
        path="top-k",
        argmax=(top[0].id,),
        logprobs=(top[0].logprob,),
        letter_logits=tuple(seen.get(i, float("-inf")) for i in IDS),
        log_z=0.0,
        top=top,
        letter_ceilings=tuple(seen.get(i, top[-1].logprob) for i in IDS),
    )


def case(reading: Reading, name: str = "s.a", line: int = 1) -> CaseReading:
    """A case of the suite that its name begins with."""
    return CaseReading(
        case=name, suite=name.split(".")[0], place=f"cases/s.yaml:{line}:5", letters=LETTERS, reading=reading
    )


def row_with(*letters: float, others: Sequence[float] = (), width: int = 64) -> npt.NDArray[np.float32]:
    """A row whose letters have these logits, whose first ids have ``others``, and the rest -9."""
    row = np.full(width, -9.0, dtype=np.float32)
    row[list(IDS)] = letters
    row[: len(others)] = others
    return row
