"""Whether an answer that a worker hands over fits its request: checked here, and nowhere else.

Checks, verdicts and reports take sizes and ranges for granted. What does not fit is the ERROR of its case.
Ids of the prompt are not held to the vocabulary: models mark the places of images with ids beyond it.

Shapes as in `harness.engines.contract`: T generated tokens, L letters on offer, V columns of the logits.
"""

from __future__ import annotations

import io
import math
import os
import zlib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from harness.engines.codec import request_digest
from harness.engines.contract import Answer, Entry, Question, Request, Row
from harness.engines.readings import row_misfit
from harness.errors import ErrorKind
from harness.workers import rows
from harness.workers.events import Job
from harness.workers.rows import row_file

__all__ = ["HandedOver", "Misfit", "read_row"]

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
        self.expect(requests)
        self._batch = max(1, job.settings.batch_size)
        self._widths: dict[str, tuple[int, str]] = {}  # by path, with the case that had it first

    def expect(self, requests: Sequence[Request]) -> None:
        """From now on answers are to these; what is known of the engine stays."""
        self._requests = [*requests]
        self._digests = {request: request_digest(request) for request in requests}
        self._places = {self._digests[request]: place for place, request in enumerate(requests)}

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
            if found := row_misfit(row, reading, answer):
                yield f"{where}: {found}"
            width, first = self._widths.setdefault(reading.path, (row.size, request.case))
            if row.size != width:
                yield f"{where}: found {row.size} columns; allowed: {width}, as {first} had of this engine"
            least = min(least, row.size)
        yield from _ranges(answer, request, least)

    def _others(self, request: Request, answer: Answer, told: str) -> Iterator[str]:
        """Which other request the answer is one to: by its own word, or by what the model was asked."""
        own = self._digests[request]
        if told != own:
            that = f", {self._requests[self._places[told]].case}" if told in self._places else ""
            yield f"the worker answered another request than this one{that}"
        text = answer.question.text
        if text is not None and not _holds(text, request):
            start = self._places[own] // self._batch * self._batch
            for asked in self._requests[start : start + self._batch]:  # those that it may be mixed up with
                if _holds(text, asked):
                    yield f"question.text: found the prompt of {asked.case}; allowed: this case's own"


def _holds(text: str, request: Request) -> bool:
    """Templates may trim and rewrap white space, and put some around an image."""
    prompt = "".join(part for part in request.parts if isinstance(part, str))
    own, there = ("".join(each.replace(Question.IMAGE, "").split()) for each in (prompt, text))
    return own in there


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
        groups[f"{reading.path}.target"] = [
            score.logprob for score in reading.target if not (reading.partial and score.logprob == -math.inf)
        ]
    for name, values in groups.items():
        for index, value in enumerate(values):
            if not math.isfinite(value):
                yield f"{name}[{index}] is {value}"


def _sizes(answer: Answer, request: Request, paths: Sequence[str]) -> Iterator[str]:
    letters, step = len(request.letters), answer.answer_step
    by_id = bool(answer.letter_ids or answer.target_ids)
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
        scored, wanted_scores = len(reading.target), len(answer.target_ids) + 1
        if request.target and reached and not (scored == wanted_scores or (scored > 0 and reading.partial)):
            yield _counts(
                f"{here}.target", scored, wanted_scores, "one for each token of the text and the end"
            )
        offered = (2 if request.target else letters) if reached else 0
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
        "target_ids": answer.target_ids,
        "reported_top": [entry.id for entry in answer.reported_top],
    }
    logs = _logprobs(answer)
    for reading in answer.readings:
        here, log_z = reading.path, reading.log_z or 0.0
        ids[f"{here}.argmax"], ids[f"{here}.letter_ranks"] = reading.argmax, reading.letter_ranks
        ids[f"{here}.top"] = [entry.id for entry in reading.top]
        logs[f"{here}.target"] = [score.logprob for score in reading.target]
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


_HEAD = b"\x93NUMPY\x01\x00"
_LENGTH = len(_HEAD) + 2


def read_row(file: Path) -> Row | None:
    """The row [V] in ``file``, read-only, None where it is damaged; raises OSError.

    As `harness.workers.rows.read_row`, in a tenth of its time: the heads of rows are mostly alike.
    """
    import numpy as np

    descriptor = os.open(file, os.O_RDONLY)
    try:
        data = os.read(descriptor, os.fstat(descriptor).st_size)  # less, and the slow reader reads it again
    finally:
        os.close(descriptor)
    if data.startswith(_HEAD):
        start = _LENGTH + int.from_bytes(data[len(_HEAD) : _LENGTH], "little")
        end = start + 4 * _columns(data[:start])
        if start < end and data[end:] == b"\n%08x" % zlib.crc32(memoryview(data)[:end]):
            row: Row = np.frombuffer(data, np.float32, offset=start, count=(end - start) // 4)
            return row
    return rows.read_row(file)  # what is not as we write it


@lru_cache(maxsize=64)
def _columns(head: bytes) -> int:
    """V of the head of a row, 0 for that of another array."""
    import numpy as np

    try:
        stream = io.BytesIO(head[len(_HEAD) :])
        shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    except Exception:  # noqa: BLE001 - numpy says in many ways that a head is damaged
        return 0
    return int(shape[0]) if len(shape) == 1 and dtype == np.float32 else 0
