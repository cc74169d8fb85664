"""Answers to cases with an accepted text, made from rows of logits that a test chooses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from harness.engines.contract import Answer, Entry, Request
from harness.engines.letters import LetterIds
from harness.engines.readings import RowReader
from harness.engines.target_scores import token_texts
from harness.recordings.store import Recording

__all__ = ["NAMES", "STOP", "TARGET", "rows_for", "text_answer", "text_recording"]

Rows = npt.NDArray[np.float32]

TARGET, STOP, WIDTH = (10, 11), 3, 32
TEXTS = {10: "19", 11: "84", 12: "85", STOP: "<end>"}
NAMES = ("1984", Request.ELSE)


def rows_for(*leads: float, rival: int = 12, seed: int = 0) -> Rows:
    """Rows [A + 1, 32] in which each token of `TARGET` and the end is so far above ``rival``, the next."""
    rows = np.random.default_rng(seed).normal(0.0, 0.5, (len(leads), WIDTH)).astype(np.float32)
    for step, lead in enumerate(leads):
        rows[step, [*TARGET, STOP][step]], rows[step, rival] = 8.0 + lead, 8.0
    return rows


def text_answer(paths: Mapping[str, Rows], *, seen: int | None = None, top_k: int = 20) -> Answer:
    """By each path's forced rows [A + 1, 32], of which the model writes what the first path's say."""
    letter_ids = LetterIds((), (), (), (), TARGET, (STOP,))
    first = next(iter(paths.values()))
    written: list[int] = []
    for row, token in zip(first, (*TARGET, STOP), strict=True):
        written.append(int(row.argmax()))
        if written[-1] != token:
            break
    readings, answers = [], {}
    for path, rows in paths.items():
        reader = RowReader(path, letter_ids, top_k=top_k)
        for row, token in zip(rows, written, strict=False):
            reader.add(row, token)
        for row in rows[len(written) : seen]:
            reader.force(row)
        readings.append(reader.reading())
        assert reader.answer is not None
        answers[path] = reader.answer
    own = np.asarray(first, dtype=np.float64)
    logprobs = own - np.log(np.exp(own).sum(-1, keepdims=True))
    order = np.argsort(-logprobs[0], kind="stable")[:top_k]
    return Answer(
        prompt_ids=(1, 2),
        generated_ids=tuple(written),
        text="".join(TEXTS.get(token, "?") for token in written if token != STOP),
        letter_ids=(),
        answer_step=0,
        readings=tuple(readings),
        reported_top=tuple(Entry(int(token), float(logprobs[0][token])) for token in order),
        reported_logprobs=tuple(float(row[token]) for row, token in zip(logprobs, written, strict=False)),
        rows=answers,
        target_ids=TARGET,
        token_texts=token_texts(lambda ids: TEXTS.get(ids[0], "?"), TARGET, readings),
    )


def text_recording(
    *leads: float,
    engine: str = "p-torch",
    paths: Sequence[str] = ("forward",),
    case: str = "s.year",
    seed: int = 0,
) -> Recording:
    """A recording in which each place of the text leads by so much, the same by all ``paths``."""
    rows = rows_for(*leads, seed=seed)
    answer = text_answer(dict.fromkeys(paths, rows))
    return Recording(key=f"{engine}-{leads}", case=case, engine=engine, answer=answer, fingerprint={})
