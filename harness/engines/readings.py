"""From an engine's full rows of logits to what is kept of them. NumPy only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from harness.distributions import log_softmax, logsumexp, top_k
from harness.engines.contract import Entry, Reading
from harness.engines.letters import LetterIds
from harness.errors import EngineError, ErrorKind

__all__ = ["NotFinite", "read_rows"]


class NotFinite(EngineError):  # noqa: N818 - named as its ErrorKind is
    """An engine's logits hold a NaN or an infinity where none may be; ``kind`` is NOT_FINITE."""

    def __init__(self, message: str) -> None:  # noqa: D107
        super().__init__(ErrorKind.NOT_FINITE, message)


def read_rows(
    path: str,
    rows: npt.ArrayLike,
    generated_ids: Sequence[int],
    *,
    letter_ids: LetterIds,
    top_k: int,
) -> Reading:
    """What ``path`` saw, from its raw logits ``rows`` [T, V], row t being the one that predicts id t.

    ``generated_ids`` [T]; the ``top_k`` most probable entries of the answer's row are kept (fewer if there
    are not so many of probability above 0). Log-probabilities are over all V, computed in float64.

    Raises NotFinite for a NaN or ``+inf`` anywhere, and for ``-inf`` at a generated id or at a letter of the
    answer's row; EngineError (FAILED) if the shapes do not fit or an id lies beyond V.
    """
    logits = np.asarray(rows)
    generated = np.asarray(generated_ids, dtype=np.int64)
    step = letter_ids.answer_step(generated_ids)
    _require_shape(path, logits, generated, letter_ids.ids if step is not None else ())
    bad = np.isnan(logits) | np.isposinf(logits)
    if bad.any():
        where = [int(t) for t in np.flatnonzero(bad.any(axis=1))]
        raise NotFinite(
            f"{path}: {int(bad.sum())} of {logits.size} logits are NaN or +inf, in the rows of generated "
            f"tokens {where}; allowed: none"
        )
    chosen = logits[np.arange(len(generated)), generated]
    if np.isneginf(chosen).any():
        where = [int(t) for t in np.flatnonzero(np.isneginf(chosen))]
        raise NotFinite(f"{path}: the logit of the generated token is -inf at {where}; allowed: finite")
    # Row by row: a float64 copy of all of them would cost twice the rows themselves.
    logprobs = tuple(float(log_softmax(row)[token]) for row, token in zip(logits, generated, strict=True))
    argmax = tuple(int(i) for i in logits.argmax(axis=1)) if len(generated) else ()
    if step is None:
        return Reading(path=path, argmax=argmax, logprobs=logprobs)
    return _with_answer(Reading(path=path, argmax=argmax, logprobs=logprobs), logits[step], letter_ids, top_k)


def _with_answer(
    reading: Reading, row: npt.NDArray[np.floating], letter_ids: LetterIds, count: int
) -> Reading:
    letters = row[list(letter_ids.ids)]
    if np.isneginf(letters).any():
        lost = [letter for letter, logit in zip(letter_ids.letters, letters, strict=True) if logit == -np.inf]
        raise NotFinite(f"{reading.path}: the logits of the letters {lost} are -inf; allowed: finite")
    logprobs = log_softmax(row)
    top = top_k(row, count)
    others = tuple(
        float(np.exp(logprobs[[i for i in ids if i < row.size]]).sum()) for ids in letter_ids.spellings
    )
    return Reading(
        path=reading.path,
        argmax=reading.argmax,
        logprobs=reading.logprobs,
        letter_logits=tuple(float(logit) for logit in letters),
        log_z=float(logsumexp(row)),
        top=tuple(Entry(int(i), float(logprobs[i])) for i in top.ids if logprobs[i] > -np.inf),
        other_spellings=others,
        letter_ranks=tuple(_rank(row, token) for token in letter_ids.ids),
    )


def _rank(row: npt.NDArray[np.floating], token: int) -> int:
    return int((row > row[token]).sum() + (row[:token] == row[token]).sum())


def _require_shape(
    path: str,
    logits: npt.NDArray[np.floating],
    generated: npt.NDArray[np.int64],
    letters: Sequence[int],
) -> None:
    if logits.ndim != 2 or len(logits) != len(generated):
        raise EngineError(
            ErrorKind.FAILED,
            f"{path}: found rows of shape {logits.shape} for {len(generated)} generated tokens; "
            "allowed: one row of logits per token",
        )
    width = logits.shape[1]
    beyond = sorted({int(i) for i in generated if i >= width} | {i for i in letters if i >= width})
    if beyond:
        raise EngineError(
            ErrorKind.FAILED,
            f"{path}: the ids {beyond} lie beyond the {width} columns of the model's logits: "
            "the tokenizer and the weights do not belong together",
        )
