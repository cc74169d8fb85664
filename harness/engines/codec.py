"""Settings, requests and answers as JSON-able objects, and back.

Used by the workers' protocol and by the journal, so standard library only. The names in the JSON are those of
the fields in `harness.engines.contract`, shortened here and nowhere else:

=========  =============================================================================================
answer
``p``      ``prompt_ids``; a run of three or more equal ids is written as ``[id, count]``
``g``      ``generated_ids``
``t``      ``text``
``l``      ``letter_ids``
``s``      ``answer_step``
``r``      ``readings``, one object each, see below
``k``      ``reported_top`` as two parallel lists, ``[ids, logprobs]``
``n``      ``reported_logprobs``
``w``      ``seconds``
``a``      ``target_ids``; left out when empty, as are
``v``      ``token_texts``
``q``      ``question`` as a list of its fields in their order; left out when nothing is known
reading
``path``   ``path``
``a``      ``argmax``
``n``      ``logprobs``
``x``      ``letter_logits``
``z``      ``log_z``
``k``      ``top`` as ``[ids, logprobs]``; the ids are null where they equal the previous list's in the answer
           (``reported_top`` comes first, then the readings in order)
``o``      ``other_spellings``
``h``      ``letter_ranks`` (how high the letters are); left out when empty
``c``      ``letter_ceilings``; left out when empty
``t``      ``target`` as a list for each field of its scores; left out when empty
=========  =============================================================================================

Rounding: numbers keep 9 significant digits, the fewest that bring back every float32 exactly; letter logits
are raw float32 and do come back exactly. A log-probability of a magnitude below 100 moves by 5e-8 at most,
below what a float32 resolves there. Timings and pixel means keep 4 digits, pixel marks 3. Numbers that JSON
lacks are the strings ``inf``, ``-inf`` and ``nan``. Settings and requests are not rounded. Rows are not part
of the JSON.
"""

from __future__ import annotations

import hashlib
import json
import math
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from itertools import groupby
from typing import Any, ParamSpec, TypeVar

from harness.engines.contract import (
    Answer,
    EngineSettings,
    Entry,
    Json,
    Question,
    Reading,
    Request,
    TokenScore,
)
from harness.errors import RecordingError

__all__ = [
    "answer_from_json",
    "answer_to_json",
    "request_digest",
    "request_from_json",
    "request_to_json",
    "settings_from_json",
    "settings_to_json",
]

_SHORTEST_RUN = 3
_P = ParamSpec("_P")
_R = TypeVar("_R")


def _malformed_is_recording_error(read: Callable[_P, _R]) -> Callable[_P, _R]:
    """Turn what goes wrong in reading somebody else's JSON into a `RecordingError`."""

    @wraps(read)
    def reading(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return read(*args, **kwargs)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            what = read.__name__.removesuffix("_from_json")
            shown = repr(args[0] if args else kwargs)[:200]
            raise RecordingError(
                f"this is no {what}: {type(error).__name__}: {error}\n"
                f"found: {shown}\nallowed: the keys listed in harness/engines/codec.py"
            ) from error

    return reading


def settings_to_json(settings: EngineSettings) -> dict[str, Json]:
    """All fields under their own names, nothing rounded."""
    return {
        "kind": settings.kind,
        "model": settings.model,
        "dtype": settings.dtype,
        "device": settings.device,
        "paths": list(settings.paths),
        "top_k": settings.top_k,
        "batch_size": settings.batch_size,
        "max_tiles": settings.max_tiles,
        "options": dict(settings.options),
    }


@_malformed_is_recording_error
def settings_from_json(data: Mapping[str, Any]) -> EngineSettings:
    """Inverse of `settings_to_json`; raises `RecordingError` on missing, unknown or mistyped fields."""
    return EngineSettings(**{**data, "paths": tuple(data["paths"]), "options": dict(data["options"])})


def request_to_json(request: Request) -> dict[str, Json]:
    """All fields under their own names, nothing rounded."""
    return {
        "case": request.case,
        "prompt": request.prompt,
        "letters": list(request.letters),
        "images": list(request.images),
        "system": request.system,
        "answer_prefix": request.answer_prefix,
        "max_new_tokens": request.max_new_tokens,
        "kind": request.kind,
        # Left out of all others, whose digests are those of recordings from before there was one.
        **({"target": request.target} if request.target else {}),
    }


@_malformed_is_recording_error
def request_from_json(data: Mapping[str, Any]) -> Request:
    """Inverse of `request_to_json`; raises `RecordingError` on missing, unknown or mistyped fields."""
    return Request(**{**data, "letters": tuple(data["letters"]), "images": tuple(data["images"])})


def request_digest(request: Request) -> str:
    """SHA-256 of a request as it was sent, by which an answer says what it is an answer to."""
    text = json.dumps(request_to_json(request), sort_keys=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def answer_to_json(answer: Answer) -> dict[str, Json]:
    """The answer without its rows, rounded as the module's docstring says."""
    reported = _ids(entry.id for entry in answer.reported_top)
    previous = reported
    readings: list[Json] = []
    for reading in answer.readings:
        ids = _ids(entry.id for entry in reading.top)
        readings.append(
            {
                "path": reading.path,
                "a": _ids(reading.argmax),
                "n": _numbers(reading.logprobs),
                "x": _numbers(array("f", reading.letter_logits)),
                "z": None if reading.log_z is None else _number(reading.log_z),
                "k": [None if ids == previous else ids, _numbers(entry.logprob for entry in reading.top)],
                "o": _numbers(reading.other_spellings),
                **({"h": _ids(reading.letter_ranks)} if reading.letter_ranks else {}),
                **({"c": _numbers(reading.letter_ceilings)} if reading.letter_ceilings else {}),
                **(
                    {"t": [_numbers(each) for each in zip(*reading.target, strict=True)]}
                    if reading.target
                    else {}
                ),
            }
        )
        previous = ids
    return {
        "p": _runs(answer.prompt_ids),
        "g": _ids(answer.generated_ids),
        "t": answer.text,
        "l": _ids(answer.letter_ids),
        "s": None if answer.answer_step is None else int(answer.answer_step),
        "r": readings,
        "k": [reported, _numbers(entry.logprob for entry in answer.reported_top)],
        "n": _numbers(answer.reported_logprobs),
        "w": {part: _number(seconds, digits=4) for part, seconds in answer.seconds.items()},
        **({"a": _ids(answer.target_ids)} if answer.target_ids else {}),
        **({"v": {str(i): text for i, text in answer.token_texts.items()}} if answer.token_texts else {}),
        **({} if answer.question == Question() else {"q": _question(answer.question)}),
    }


@_malformed_is_recording_error
def answer_from_json(data: Mapping[str, Any]) -> Answer:
    """Inverse of `answer_to_json`, with no rows; raises `RecordingError` on anything malformed."""
    previous = data["k"][0]
    reported = _entries(previous, data["k"][1])
    readings = []
    for item in data["r"]:
        ids = previous if item["k"][0] is None else item["k"][0]
        readings.append(
            Reading(
                path=item["path"],
                argmax=tuple(item["a"]),
                logprobs=_floats(item["n"]),
                letter_logits=tuple(array("f", _floats(item["x"]))),
                log_z=None if item["z"] is None else float(item["z"]),
                top=_entries(ids, item["k"][1]),
                other_spellings=_floats(item["o"]),
                letter_ranks=tuple(item.get("h", ())),
                letter_ceilings=_floats(item.get("c", ())),
                target=tuple(_score(*each) for each in zip(*item.get("t", ()), strict=True)),
            )
        )
        previous = ids
    return Answer(
        prompt_ids=_without_runs(data["p"]),
        generated_ids=tuple(data["g"]),
        text=data["t"],
        letter_ids=tuple(data["l"]),
        answer_step=data["s"],
        readings=tuple(readings),
        reported_top=reported,
        reported_logprobs=_floats(data["n"]),
        seconds={part: float(seconds) for part, seconds in data["w"].items()},
        question=_asked(*data["q"]) if "q" in data else Question(),
        target_ids=tuple(data.get("a", ())),
        token_texts={int(token): str(text) for token, text in data.get("v", {}).items()},
    )


def _score(
    logprob: float | str, logit: float | str, rival: float, rival_logprob: float | str, picked: float
) -> TokenScore:
    return TokenScore(float(logprob), float(logit), int(rival), float(rival_logprob), bool(picked))


def _question(question: Question) -> list[Json]:
    means: list[Json] = [_number(mean, digits=4) for mean in question.pixel_means]
    marks: list[Json] = [_number(mark, digits=3) for mark in question.pixel_marks]
    views: list[Json] = [_number(view, digits=3) for view in question.pixel_views]
    steps: list[Json] = [_number(step, digits=4) for step in question.pixel_steps]
    values: list[Json] = [means, marks, views, steps]
    if question.image_tiles:
        values.append(_ids(question.image_tiles))
    return [question.text, question.tokens, question.tiles, question.pixels, *values]


def _asked(
    text: str | None,
    tokens: int | None,
    tiles: int | None,
    pixels: str | None,
    *values: Iterable[float | str],
) -> Question:
    # Recordings of earlier versions end before the last ones, and those of one image before the very last.
    means, marks, views, steps, own = (*values, (), (), ())[:5]
    return Question(
        text=text,
        tokens=tokens,
        tiles=tiles,
        pixels=pixels,
        pixel_means=_floats(means),
        pixel_marks=_floats(marks),
        pixel_views=_floats(views),
        pixel_steps=_floats(steps),
        image_tiles=tuple(map(int, own)),
    )


def _number(value: float, *, digits: int = 9) -> float | str:
    # Engines hand over numpy's and torch's scalars too; float() takes them all.
    rounded = float(f"{float(value):.{digits}g}")
    return rounded if math.isfinite(rounded) else str(rounded)


def _numbers(values: Iterable[float]) -> list[Json]:
    return [_number(value) for value in values]


def _floats(values: Iterable[float | str]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def _ids(values: Iterable[int]) -> list[Json]:
    return [int(value) for value in values]


def _entries(ids: Sequence[int], logprobs: Sequence[float | str]) -> tuple[Entry, ...]:
    return tuple(Entry(i, float(logprob)) for i, logprob in zip(ids, logprobs, strict=True))


def _runs(ids: Sequence[int]) -> list[Json]:
    # An image is hundreds of equal placeholders: written out, they would be most of a recording's bytes.
    encoded: list[Json] = []
    for token, group in groupby(_ids(ids)):
        count = len(list(group))
        encoded.extend([[token, count]] if count >= _SHORTEST_RUN else [token] * count)
    return encoded


def _without_runs(encoded: Iterable[Any]) -> tuple[int, ...]:
    ids: list[int] = []
    for item in encoded:
        if isinstance(item, list):
            token, count = item
            ids.extend([token] * count)
        else:
            ids.append(item)
    return tuple(ids)
