"""Whether an answer that a worker hands over fits its request: checked here, and nowhere else.

Checks, verdicts and reports take sizes and ranges for granted. What does not fit is the ERROR of its case.
Ids of the prompt are not held to the vocabulary: models mark the places of images with ids beyond it.

Shapes as in `harness.engines.contract`: T generated tokens, L letters on offer, V columns of the logits.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from harness.engines.codec import request_digest
from harness.engines.contract import Answer, Entry, Request
from harness.engines.readings import row_misfit
from harness.errors import ErrorKind
from harness.workers.events import Job
from harness.workers.rows import read_row, row_file

__all__ = ["HandedOver", "Misfit"]

# A float32 log-probability of a certain token may be a hair above 0.
_ROUNDING = 1e-4


class Misfit(NamedTuple):
    """What does not fit: the field, what was found and what is allowed."""

    kind: ErrorKind
    message: str


class HandedOver:
    """Checks the answers that come of one ``job``, all of them to one of ``requests``.

    Remembers how wide the rows of each path are: one engine has one vocabulary.
    """

    def __init__(self, job: Job, requests: Sequence[Request]) -> None:
        """Touches no files yet."""
        self._paths, self._rows = job.settings.paths, job.rows
        self._requests = [*requests]
        self._places = {request_digest(request): place for place, request in enumerate(requests)}
        self._batch = max(1, job.settings.batch_size)
        self._widths: dict[str, tuple[int, str]] = {}  # by path, with the case that had it first

    def misfit(self, key: str, request: Request, answer: Answer, told: str) -> Misfit | None:
        """The first thing in ``answer`` that does not fit, None where all does.

        ``told`` is the digest of the request that the answer says it is one to. The rows under ``key`` are
        read from disk, where rows are kept.
        """
        if bad := next(_not_finite(answer), None):
            return Misfit(ErrorKind.NOT_FINITE, f"{bad}; allowed: finite numbers")
        found = next(self._misfits(key, request, answer, told), None)
        if found is None:
            return None
        return Misfit(ErrorKind.FAILED, f"{found}; nothing of this answer is kept")

    def _misfits(self, key: str, request: Request, answer: Answer, told: str) -> Iterator[str]:
        """A sentence each; only the first counts, as what comes later relies on what came before."""
        yield from self._others(request, answer, told)
        yield from _sizes(answer, request, self._paths)
        least = math.inf
        for reading in answer.readings:
            if self._rows is None or reading.log_z is None or reading.partial:
                continue
            where, file = f"row of {reading.path}", row_file(self._rows, key, reading.path)
            try:
                row = read_row(file)
            except OSError as error:
                yield f"{where}: found {error.strerror or error}; allowed: a file, {file}"
                return
            if row is None:
                yield f"{where}: found a damaged file; allowed: a whole one, {file}"
                return
            if found := row_misfit(row, reading, answer.letter_ids):
                yield f"{where}: {found}"
            width, first = self._widths.setdefault(reading.path, (row.size, request.case))
            if row.size != width:
                yield f"{where}: found {row.size} columns; allowed: {width}, as {first} had of this engine"
            least = min(least, row.size)
        yield from _ranges(answer, request, least)

    def _others(self, request: Request, answer: Answer, told: str) -> Iterator[str]:
        """Which other request the answer is one to: by its own word, or by what the model was asked."""
        own = request_digest(request)
        if told != own:
            that = f", {self._requests[self._places[told]].case}" if told in self._places else ""
            yield f"the worker answered another request than this one{that}"
        text = answer.question.text
        if text is not None and not _holds(text, request.prompt):
            start = self._places[own] // self._batch * self._batch
            for asked in self._requests[start : start + self._batch]:  # those that it may be mixed up with
                if _holds(text, asked.prompt):
                    yield f"question.text: found the prompt of {asked.case}; allowed: this case's own"


def _holds(text: str, prompt: str) -> bool:
    """Templates may trim and rewrap white space."""
    return " ".join(prompt.split()) in " ".join(text.split())


def _logprobs(answer: Answer) -> dict[str, Sequence[float]]:
    """What the answer has of log-probabilities, by field."""
    found: dict[str, Sequence[float]] = {}
    found |= {"reported_top": _values(answer.reported_top), "reported_logprobs": answer.reported_logprobs}
    for each in answer.readings:
        found |= {f"{each.path}.logprobs": each.logprobs, f"{each.path}.top": _values(each.top)}
        found[f"{each.path}.letter_ceilings"] = each.letter_ceilings
    return found


def _values(entries: Sequence[Entry]) -> tuple[float, ...]:
    return tuple(entry.logprob for entry in entries)


def _not_finite(answer: Answer) -> Iterator[str]:
    """Numbers that are NaN or infinite, and where; engines check too, this is the last gate."""
    groups = _logprobs(answer)
    for reading in answer.readings:
        # A letter outside a partial reading has the logit -inf, and its ceiling says how large it can be.
        groups[f"{reading.path}.letter_logits"] = [
            logit for logit in reading.letter_logits if not (reading.partial and logit == -math.inf)
        ]
        groups[f"{reading.path}.log_z"] = () if reading.log_z is None else (reading.log_z,)
        groups[f"{reading.path}.other_spellings"] = reading.other_spellings
    for name, values in groups.items():
        for index, value in enumerate(values):
            if not math.isfinite(value):
                yield f"{name}[{index}] is {value}"


def _sizes(answer: Answer, request: Request, paths: Sequence[str]) -> Iterator[str]:
    letters, by_id, step = len(request.letters), bool(answer.letter_ids), answer.answer_step
    tokens = (
        len(answer.generated_ids) if by_id else max((len(r.logprobs) for r in answer.readings), default=0)
    )
    if len(answer.letter_ids) not in (0, letters):
        yield _counts("letter_ids", len(answer.letter_ids), letters, "one for each letter on offer")
    if step is not None and not 0 <= step < (tokens if tokens or by_id else math.inf):
        yield f"answer_step: found {step}; allowed: a place among the {tokens} tokens that were generated"
    found = [reading.path for reading in answer.readings]
    wanted = list(paths) if step is not None and paths else list(dict.fromkeys(found))
    if found != wanted or (step is not None and not found):
        yield f"readings: found {found}; allowed: {wanted or 'at least one'}, one for each path"
    for reading in answer.readings:
        here, reached = reading.path, reading.log_z is not None
        if reached != (step is not None):
            yield f"{here}.log_z: found {reading.log_z}; allowed: a number where a letter was reached"
        offered = letters if reached else 0
        if len(reading.letter_logits) != offered:
            what = "one for each letter on offer" if reached else "no letter was reached"
            yield _counts(f"{here}.letter_logits", len(reading.letter_logits), offered, what)
        for name in ("other_spellings", "letter_ranks", "letter_ceilings"):
            if (count := len(getattr(reading, name))) not in (0, offered):
                yield _counts(f"{here}.{name}", count, offered, "one for each letter, or none at all")
        for name in ("argmax", "logprobs"):
            count = len(getattr(reading, name))
            # Where ids are not told a path may have no account of what was generated.
            if count != tokens and (by_id or count):
                yield _counts(f"{here}.{name}", count, tokens, "one for each generated token")


def _counts(field: str, found: int, allowed: int, why: str) -> str:
    return f"{field}: found {found} entries; allowed: {allowed}, {why}"


def _ranges(answer: Answer, request: Request, width: float) -> Iterator[str]:
    """Ids outside the vocabulary, log-probabilities above 0, and a text without the letter in it."""
    ids = {
        "generated_ids": answer.generated_ids,
        "letter_ids": answer.letter_ids,
        "reported_top": [entry.id for entry in answer.reported_top],
    }
    logs = _logprobs(answer)
    for reading in answer.readings:
        here, log_z = reading.path, reading.log_z or 0.0
        ids[f"{here}.argmax"], ids[f"{here}.letter_ranks"] = reading.argmax, reading.letter_ranks
        ids[f"{here}.top"] = [entry.id for entry in reading.top]
        logs[f"{here}.letter_logits less log_z"] = [logit - log_z for logit in reading.letter_logits]
        for share in reading.other_spellings:
            if not 0.0 <= share <= 1.0 + _ROUNDING:
                yield f"{here}.other_spellings: found {share}; allowed: probabilities"
    allowed = "0 or more" if width == math.inf else f"0 to {width - 1:.0f}, the columns of the logits"
    for name, values in ids.items():
        if wrong := [each for each in values if not 0 <= each < width]:
            yield f"{name}: found {wrong[0]}; allowed: {allowed}"
    for name, numbers in logs.items():
        if above := [each for each in numbers if each > _ROUNDING]:
            yield f"{name}: found {above[0]:.6g}; allowed: log-probabilities, which are 0 at most"
    step = answer.answer_step
    if step is not None and answer.letter_ids and answer.generated_ids[step] in answer.letter_ids:
        letter = request.letters[answer.letter_ids.index(answer.generated_ids[step])]
        if letter not in answer.text:
            yield f"text: found {answer.text[:60]!r}; allowed: one with {letter!r}, whose id was generated"
