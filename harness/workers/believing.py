"""Somebody else's JSON as an answer: a recording in a bundle, what a patched engine's worker sends."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from harness.engines.codec import answer_from_json
from harness.engines.contract import Answer
from harness.errors import RecordingError

__all__ = ["believed"]

_MOST_IDS: Final = 10_000_000  # of a prompt, whose runs take a few bytes each


def believed(data: Any) -> Answer:  # noqa: ANN401 - whatever came
    """The answer in ``data``, as `harness.engines.codec.answer_to_json` has it.

    Every field is of its type. Raises RecordingError for anything else, and for a prompt of too many ids.
    """
    try:
        runs = [run for run in data["p"] if isinstance(run, list)]
        single = [token for token in data["p"] if not isinstance(token, list)]
        if not (count := len(single) + sum([abs(run[1]) for run in runs])) <= _MOST_IDS:
            raise OverflowError(f"{count} ids of a prompt")
        answer = answer_from_json(data)
    except (LookupError, OverflowError, TypeError) as error:  # int() of infinity overflows
        raise RecordingError(f"this is no answer: {type(error).__name__}: {error}") from error
    question = answer.question
    ids: dict[str, Iterable[object]] = {
        "prompt_ids": [*single, *(run[0] for run in runs)],
        "generated_ids": answer.generated_ids,
        "letter_ids": answer.letter_ids,
        "target_ids": answer.target_ids,
        "reported_top": [entry.id for entry in answer.reported_top],
        "answer_step, tokens, tiles": _known(answer.answer_step, question.tokens, question.tiles),
    }
    texts: dict[str, Iterable[object]] = {"text": _known(answer.text, question.text, question.pixels)}
    texts["path"] = [reading.path for reading in answer.readings]
    for reading in answer.readings:
        own = (*reading.argmax, *reading.letter_ranks, *(entry.id for entry in reading.top))
        ids[f"ids and ranks of {reading.path}"] = own
    _require(texts, str, "text")
    _require(ids, int, "whole numbers")
    return answer


def _require(fields: Mapping[str, Iterable[object]], kind: type, allowed: str) -> None:
    for name, values in fields.items():
        if others := {*map(type, values)} - {kind}:
            raise RecordingError(f"{name}: found {others.pop().__name__}; allowed: {allowed}")


def _known(*values: object) -> list[object]:
    return [value for value in values if value is not None]
