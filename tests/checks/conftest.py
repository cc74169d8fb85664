"""Hand-made recordings for the checks, from rows of logits that a test chooses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from harness.distributions import log_softmax, top_k
from harness.engines.contract import Answer, Entry, Reading
from harness.engines.letters import LetterIds
from harness.engines.readings import read_rows
from harness.recordings.store import Recording

Rows = npt.NDArray[np.float32]
MakeRecording = Callable[..., Recording]

WIDTH = 64
LETTERS = LetterIds(("A", "B", "C"), (), (10, 11, 12), ((40, 41), (42,), (43,)))


@pytest.fixture
def rows() -> Rows:
    """Three rows [3, 64], of which letter B (id 11), then 5, then 6 is the most probable; no values tie."""
    logits = np.random.default_rng(7).normal(0.0, 1.0, (3, WIDTH)).astype(np.float32)
    logits[0, [10, 11, 12]] = 6.0, 8.0, 4.0
    logits[1, 5] = 9.0
    logits[2, 6] = 9.0
    return logits


@pytest.fixture
def make_recording() -> MakeRecording:
    """Build a recording from ``paths``: the rows [T, V] of each path, the first also giving stage 1."""

    def make(
        paths: Mapping[str, npt.NDArray[np.floating]],
        *,
        engine: str = "embedded-torch",
        letter_ids: LetterIds = LETTERS,
        generated: Sequence[int] | None = None,
        asked: int = 20,
        reported: npt.NDArray[np.floating] | None = None,
        **changes: Any,
    ) -> Recording:
        first = next(iter(paths.values()))
        stage_1 = first if reported is None else reported
        ids = tuple(int(i) for i in first.argmax(axis=1)) if generated is None else tuple(generated)
        step = letter_ids.answer_step(ids)
        logprobs = log_softmax(stage_1)
        top: tuple[Entry, ...] = ()
        if step is not None:
            top = tuple(Entry(int(i), float(v)) for i, v in zip(*top_k(logprobs[step], asked), strict=True))
        readings = tuple(
            read_rows(path, path_rows, ids, letter_ids=letter_ids, top_k=asked)
            for path, path_rows in paths.items()
        )
        answer = Answer(
            prompt_ids=(1, 2, 3),
            generated_ids=ids,
            text="".join("ABC"[i - 10] if 10 <= i <= 12 else "." for i in ids),
            letter_ids=letter_ids.ids,
            answer_step=step,
            readings=readings,
            reported_top=top,
            reported_logprobs=tuple(float(row[i]) for row, i in zip(logprobs, ids, strict=True)),
        )
        return Recording(
            key="k",
            case="shapes.red-circle",
            engine=engine,
            answer=replace(answer, **changes),
            fingerprint={},
        )

    return make


def change_reading(recording: Recording, path: str, **changes: Any) -> Recording:
    """The recording with fields of one reading replaced."""
    readings = tuple(
        replace(reading, **changes) if reading.path == path else reading
        for reading in recording.answer.readings
    )
    return replace(recording, answer=replace(recording.answer, readings=readings))


@pytest.fixture
def with_reading() -> Callable[..., Recording]:
    """`change_reading`, for tests."""
    return change_reading


def answer_without_letter(answer: Answer) -> Answer:
    """The same answer where the model never wrote the prefix before the letter."""
    bare = tuple(
        Reading(path=reading.path, argmax=reading.argmax, logprobs=reading.logprobs)
        for reading in answer.readings
    )
    return replace(answer, answer_step=None, readings=bare, reported_top=(), text="no idea")


@pytest.fixture
def without_letter() -> Callable[[Recording], Recording]:
    """The same recording where the model never reached the letter."""
    return lambda recording: replace(recording, answer=answer_without_letter(recording.answer))
