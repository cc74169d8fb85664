"""Recordings as long as real ones."""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from harness.engines.contract import Answer, Entry, Json, Reading
from harness.recordings.fingerprint import engine_id
from harness.recordings.store import Recording, RecordingStore

ENGINE: dict[str, Json] = {
    "settings": {"kind": "lmdeploy", "dtype": "float32"},
    "model": {"hash": "0" * 64, "files": {f"model-{n:05}.safetensors": "0" * 64 for n in range(8)}},
}
LOADED: dict[str, Json] = {**ENGINE, "loaded": {"device": "cpu"}}


def key_of(number: int) -> str:
    return f"{engine_id(ENGINE)}-{number:040x}"


def answer(*, vocabulary: int = 448, words: int = 44, image: int = 64, seed: int = 1) -> Answer:
    """An answer as long as a real one, with nothing in it that repeats but what repeats in real ones.

    Those are the image's placeholders and the top-k lists: two paths and the engine's own report give the
    same entries but for float32 rounding.
    """
    rng = random.Random(seed)

    def ids(count: int) -> tuple[int, ...]:
        return tuple(rng.randrange(vocabulary // 5, vocabulary) for _ in range(count))

    def rounded(values: tuple[float, ...]) -> tuple[float, ...]:
        return tuple(value + rng.gauss(0, 3e-7) for value in values)

    top_ids = ids(20)
    top = tuple(sorted((-rng.expovariate(0.2) for _ in range(20)), reverse=True))
    generated, logprobs = ids(3), tuple(-rng.expovariate(5) for _ in range(3))
    letters = tuple(float(np.float32(rng.gauss(0, 9))) for _ in range(4))
    reading = Reading(
        path="two-stage",
        argmax=generated,
        logprobs=logprobs,
        letter_logits=letters,
        log_z=rng.uniform(5, 30),
        top=tuple(map(Entry, top_ids, top)),
        other_spellings=tuple(math.exp(-rng.expovariate(0.2)) for _ in range(4)),
    )
    captured = dataclasses.replace(
        reading,
        path="captured",
        logprobs=rounded(logprobs),
        letter_logits=tuple(float(np.float32(x)) for x in rounded(letters)),
        log_z=rng.uniform(5, 30),
        top=tuple(map(Entry, top_ids, rounded(top))),
    )
    return Answer(
        prompt_ids=ids(words // 2) + (vocabulary - 1,) * image + ids(words - words // 2),
        generated_ids=generated,
        text="Answer: B",
        letter_ids=ids(4),
        answer_step=2,
        readings=(reading, captured),
        reported_top=tuple(map(Entry, top_ids, rounded(top))),
        reported_logprobs=rounded(logprobs),
        seconds={"stage-1": 0.1234, "stage-2": 0.04567, "captured": 0.2},
    )


def recording(
    number: int = 1,
    *,
    fingerprint: Mapping[str, Json] = LOADED,
    vocabulary: int = 448,
    words: int = 44,
    image: int = 64,
) -> Recording:
    return Recording(
        key=key_of(number),
        case="shapes.red-circle",
        engine="embedded-lmdeploy",
        answer=answer(vocabulary=vocabulary, words=words, image=image, seed=number),
        fingerprint=fingerprint,
    )


def stored(found: Recording | None) -> Recording:
    assert found is not None
    return found


def journal_path(store: RecordingStore) -> Path:
    return store.root / "recordings" / f"{engine_id(ENGINE)}.jsonl"
