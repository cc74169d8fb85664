"""From what an engine tells of its rows of logits to what is kept of them. NumPy only.

Where it tells the top of a row only, the reading is partial: what is not in the list is bounded, never taken
for zero. A token outside it is no more probable than the list's last entry, nor than all that the list leaves
over (see `ceiling`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from harness.distributions import log_softmax, logsumexp, top_k
from harness.engines.contract import Answer, Entry, Reading, Row, TokenScore
from harness.engines.letters import LetterIds
from harness.engines.target_scores import score_entries, score_row, with_target
from harness.errors import EngineError, ErrorKind

__all__ = [
    "NotFinite",
    "RowReader",
    "TextEntry",
    "ceiling",
    "read_rows",
    "read_top",
    "read_top_texts",
    "row_misfit",
]

_ROUNDING: Final = 1e-6
"""How far the probabilities of a list, which engines compute in float32, may be off in sum."""


class NotFinite(EngineError):  # noqa: N818 - named as its ErrorKind is
    """An engine's logits hold a NaN or an infinity where none may be; ``kind`` is NOT_FINITE."""

    def __init__(self, message: str) -> None:  # noqa: D107
        super().__init__(ErrorKind.NOT_FINITE, message)


class RowReader:
    """Reads what ``path`` saw one row of logits at a time, so that only the answer's has to be kept."""

    def __init__(self, path: str, letter_ids: LetterIds, *, top_k: int) -> None:
        """The ``top_k`` most probable entries of the answer's row are kept, as far as they have any."""
        self._path = path
        self._letter_ids = letter_ids
        self._top_k = top_k
        self._ids: list[int] = []
        self._argmax: list[int] = []
        self._logprobs: list[float] = []
        self._width = 0
        self._bad: dict[int, int] = {}
        self._lost: list[int] = []
        self._answer: Row | None = None
        self._answer_logprobs: npt.NDArray[np.float64] | None = None
        self._scores: list[TokenScore] = []

    @property
    def wanting(self) -> int:
        """How many rows of a target are still to come, since the model wrote something else or less."""
        return self._letter_ids.scored - len(self._scores)

    def force(self, row: npt.ArrayLike) -> None:
        """Take the raw logits ``row`` [V] behind the next tokens of the target, whatever was generated."""
        if self.wanting:
            self._score(np.asarray(row))

    def keep(self, other: RowReader | None) -> None:
        """Take over the scores of a target that ``other`` has read already."""
        if other is not None:
            self._scores, self._answer = other._scores, other._answer  # noqa: SLF001
            self._bad |= other._bad  # noqa: SLF001

    def add(self, row: npt.ArrayLike, token: int) -> None:
        """Take the raw logits ``row`` [V] that predicted the id ``token``; `reading` tells what is wrong."""
        logits = np.asarray(row)
        step = len(self._ids)
        if step == len(self._scores) and self.wanting and self._ids == [*self._letter_ids.target[:step]]:
            self._score(logits)
        self._ids.append(int(token))
        self._width = logits.size
        if step == len(self._letter_ids.prefix_ids) and not self._letter_ids.target:  # a text's is scored
            self._answer = logits.copy()  # a mere view would keep the rows around it
        if token >= logits.size:
            return
        if bad := int((np.isnan(logits) | np.isposinf(logits)).sum()):
            self._bad[step] = bad
        elif np.isneginf(logits[token]):
            self._lost.append(step)
        else:
            logprobs = log_softmax(logits)
            self._argmax.append(int(logits.argmax()))
            self._logprobs.append(float(logprobs[token]))
            if step == len(self._letter_ids.prefix_ids) and not self._letter_ids.target:
                self._answer_logprobs = logprobs

    def _score(self, row: npt.NDArray[np.floating]) -> None:
        step = len(self._scores)
        wanted = self._letter_ids.wanted(step)
        self._width = row.size
        if step == 0:
            self._answer = row.copy()
        if bad := int((np.isnan(row) | np.isposinf(row)).sum()):
            self._bad[step] = bad
            self._scores.append(TokenScore(math.nan, math.nan, -1, math.nan, picked=False))
        elif max(wanted) >= row.size:
            self._scores.append(TokenScore(-math.inf, math.nan, -1, math.nan, picked=False))
        else:
            self._scores.append(score_row(row, wanted))

    @property
    def answer(self) -> Row | None:
        """The answer's row [V]; None where the model did not get there."""
        reached = self._scores or self._letter_ids.answer_step(self._ids) is not None
        return self._answer if reached else None

    def reading(self) -> Reading:
        """What the path saw. Raises as `read_rows`."""
        path, answer = self._path, self.answer
        ids = {*self._ids, *self._letter_ids.target, *self._letter_ids.stops}
        ids |= {*(self._letter_ids.ids if answer is not None else ())}
        if beyond := sorted(i for i in ids if i >= self._width):
            raise EngineError(
                ErrorKind.FAILED,
                f"{path}: the ids {beyond} lie beyond the {self._width} columns of the model's logits: "
                "the tokenizer and the weights do not belong together",
            )
        if self._bad:
            raise NotFinite(
                f"{path}: {sum(self._bad.values())} of {self._width * len(self._ids)} logits are NaN or "
                f"+inf, in the rows of generated tokens {[*self._bad]}; allowed: none"
            )
        if self._lost:
            raise NotFinite(
                f"{path}: the logit of the generated token is -inf at {self._lost}; allowed: finite"
            )
        if lost := [step for step, score in enumerate(self._scores) if score.logprob == -math.inf]:
            raise NotFinite(f"{path}: the logit of the target's token is -inf at {lost}; allowed: finite")
        seen = Reading(path=path, argmax=tuple(self._argmax), logprobs=tuple(self._logprobs))
        if self._letter_ids.target and answer is not None:
            seen = self._with_answer(seen, answer)
            return with_target(seen, self._scores, whole=self._letter_ids.scored)
        return seen if answer is None else self._with_answer(seen, answer)

    def _with_answer(self, reading: Reading, row: Row) -> Reading:
        letter_ids = self._letter_ids
        letters = row[list(letter_ids.ids)]
        if np.isneginf(letters).any():
            named = zip(letter_ids.letters, letters, strict=True)
            lost = [letter for letter, logit in named if logit == -np.inf]
            raise NotFinite(f"{reading.path}: the logits of the letters {lost} are -inf; allowed: finite")
        logprobs = log_softmax(row) if self._answer_logprobs is None else self._answer_logprobs
        top = top_k(row, self._top_k)
        others = tuple(
            float(np.exp(logprobs[[i for i in ids if i < row.size]]).sum()) for ids in letter_ids.spellings
        )
        return Reading(
            path=reading.path,
            argmax=reading.argmax,
            logprobs=reading.logprobs,
            letter_logits=tuple(float(logit) for logit in letters),
            log_z=float(row.max()) - float(logprobs.max()),
            top=tuple(Entry(int(i), float(logprobs[i])) for i in top.ids if logprobs[i] > -np.inf),
            other_spellings=others,
            letter_ranks=tuple(_rank(row, token) for token in letter_ids.ids),
        )


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
    if logits.ndim != 2 or len(logits) != len(generated_ids):
        raise EngineError(
            ErrorKind.FAILED,
            f"{path}: found rows of shape {logits.shape} for {len(generated_ids)} generated tokens; "
            "allowed: one row of logits per token",
        )
    reader = RowReader(path, letter_ids, top_k=top_k)
    for row, token in zip(logits, generated_ids, strict=True):
        reader.add(row, token)
    return reader.reading()


def _rank(row: npt.NDArray[np.floating], token: int) -> int:
    return int((row > row[token]).sum() + (row[:token] == row[token]).sum())


def row_misfit(row: Row, reading: Reading, answer: Answer) -> str:
    """How ``row`` [V] is not the row of ``answer`` that ``reading`` was read of, '' where it is.

    Nine digits of the reading's numbers are kept: enough to tell any two float32 apart, not to write a
    float64 back unchanged.
    """
    if bad := int((np.isnan(row) | np.isposinf(row)).sum()):
        return f"found {bad} of {row.size} logits NaN or +inf; allowed: none"
    if not np.isfinite(row).any():
        return f"found no finite number among {row.size} logits; allowed: at least one"
    if answer.target_ids and reading.target:
        found, kept = score_row(row, answer.target_ids[:1]).logprob, reading.target[0].logprob
        if not math.isclose(found, kept, rel_tol=1e-7, abs_tol=1e-7):
            return f"found {found} for the first token of the text; allowed: {kept}, as it was read"
        return ""
    letters = [float(row[i]) for i in answer.letter_ids if i < row.size]
    if not np.array_equal(np.asarray(letters, np.float32), np.asarray(reading.letter_logits, np.float32)):
        return f"found the letters' logits {letters}; allowed: {[*reading.letter_logits]}, as they were read"
    log_z = float(logsumexp(row))
    if reading.log_z is None or not math.isclose(log_z, reading.log_z, rel_tol=1e-7, abs_tol=1e-7):
        return f"found a log Z of {log_z}; allowed: {reading.log_z}, as it was read"
    return ""


class TextEntry(NamedTuple):
    """One token of a top-k list by its text, where its id is not told."""

    text: str
    logprob: float


def ceiling(logprobs: Sequence[float]) -> float:
    """The most that the log-probability of a token outside the top-k list ``logprobs`` [k] can be.

    The smallest entry, or what the entries leave of a probability of 1 if that is less; 0 for an empty list.
    """
    if not logprobs:
        return 0.0
    rest = max(0.0, 1.0 - math.fsum(math.exp(value) for value in logprobs)) + _ROUNDING
    return min(*logprobs, math.log(min(rest, 1.0)), 0.0)


def read_top(
    path: str,
    tops: Sequence[Mapping[int, float]],
    generated_ids: Sequence[int],
    *,
    letter_ids: LetterIds,
) -> Reading:
    """What ``path`` saw, from the most probable entries of each row: ``tops`` [T], log-probabilities by id.

    Each must hold the generated token of its row. Its largest entry, of equals that of the lowest id, is the
    row's most probable. Letters outside the answer's list get ``-inf`` and a ceiling.

    Raises EngineError: FAILED if a row has no list or its list lacks the generated token, NOT_FINITE for a
    NaN or a log-probability of a generated token that is infinite, and for entries above 0.
    """
    if len(tops) != len(generated_ids):
        raise EngineError(
            ErrorKind.FAILED,
            f"{path}: found {len(tops)} top-k lists for {len(generated_ids)} generated tokens; allowed: "
            "one each",
        )
    for place, (top, token) in enumerate(zip(tops, generated_ids, strict=True)):
        if token not in top:
            raise EngineError(
                ErrorKind.FAILED,
                f"{path}: the generated token {token} is not in the top-k list of its own row, step {place}",
            )
        _require_logprobs(path, f"step {place}", list(top.values()), top[token])
    argmax = tuple(min(top, key=lambda token: (-top[token], token)) for top in tops)
    logprobs = tuple(float(top[token]) for top, token in zip(tops, generated_ids, strict=True))
    step = letter_ids.answer_step(generated_ids)
    if step is None:
        return Reading(path=path, argmax=argmax, logprobs=logprobs)
    answer = tops[step]
    most = ceiling(list(answer.values()))
    found = Reading(
        path=path,
        argmax=argmax,
        logprobs=logprobs,
        letter_logits=tuple(float(answer.get(token, -math.inf)) for token in letter_ids.ids),
        log_z=0.0,
        top=tuple(
            Entry(int(token), float(value))
            for token, value in sorted(answer.items(), key=lambda entry: (-entry[1], entry[0]))
        ),
        other_spellings=tuple(
            math.fsum(math.exp(answer[token]) for token in ids if token in answer)
            for ids in letter_ids.spellings
        ),
        letter_ceilings=tuple(float(answer.get(token, most)) for token in letter_ids.ids),
    )
    return _target_of_tops(found, tops, generated_ids, letter_ids) if letter_ids.target else found


def _target_of_tops(
    reading: Reading, tops: Sequence[Mapping[int, float]], ids: Sequence[int], letter_ids: LetterIds
) -> Reading:
    """As far as the model wrote the target, and one place beyond, whose list may lack the target's token."""
    scores: list[TokenScore] = []
    for step, top in enumerate(tops[: letter_ids.scored]):
        if [*ids[:step]] != [*letter_ids.target[:step]]:
            break
        scores.append(score_entries(top, letter_ids.wanted(step)))
    most = ceiling([*tops[len(scores) - 1].values()])
    return with_target(reading, scores, whole=letter_ids.scored, ceiling=most)


def read_top_texts(
    path: str,
    top: Sequence[TextEntry] | None,
    logprobs: Sequence[float],
    *,
    letters: Sequence[str],
    spellings: Sequence[Sequence[str]],
) -> Reading:
    """What ``path`` saw where ids are not told; ``top`` [k] is the answer's row's list, None without one.

    ``logprobs`` [T] are those of the generated tokens. ``letters`` [L] are the letters' texts in that place
    (such as ' A' behind 'Answer:') and ``spellings`` [L] other texts that read as them. Of several entries
    with a letter's text (two tokens can read the same) the most probable is the letter and the others are
    other spellings.

    Raises EngineError: NOT_FINITE as `read_top` does.
    """
    for step, value in enumerate(logprobs):
        _require_logprobs(path, f"step {step}", [value], value)
    if top is None:
        return Reading(path=path, argmax=(), logprobs=tuple(logprobs))
    values = [entry.logprob for entry in top]
    _require_logprobs(path, "the answer's row", values, 0.0)
    most = ceiling(values)
    logits: list[float] = []
    others: list[float] = []
    for letter, spelled in zip(letters, spellings, strict=True):
        found = sorted((entry.logprob for entry in top if entry.text == letter), reverse=True)
        logits.append(found[0] if found else -math.inf)
        beside = [entry.logprob for entry in top if entry.text in spelled and entry.text != letter]
        others.append(math.fsum(math.exp(value) for value in [*found[1:], *beside]))
    return Reading(
        path=path,
        argmax=(),
        logprobs=tuple(logprobs),
        letter_logits=tuple(logits),
        log_z=0.0,
        other_spellings=tuple(others),
        letter_ceilings=tuple(most if logit == -math.inf else logit for logit in logits),
    )


def _require_logprobs(path: str, where: str, values: Sequence[float], generated: float) -> None:
    # Rounding may put the log-probability of a certain token a hair above 0.
    wrong = [value for value in values if math.isnan(value) or value > _ROUNDING]
    if wrong or not math.isfinite(generated):
        raise EngineError(
            ErrorKind.NOT_FINITE,
            f"{path}: found {(wrong or [generated])[0]} among the log-probabilities of {where}; "
            "allowed: finite numbers up to 0",
        )
