"""What `test_matches_snapshot` compares of an accepted answer, and where two of them differ.

Numbers are kept to six decimals and may move by a tolerance; all else must be equal. A letter outside the top
that the engine told of is kept as ``{"at most": 0.000031}``, and the bound may move likewise; where it is
known on one side only, the two must be that close whatever it is on the other. What else stands in the line
of a case, such as `LOWERED`, the reason why a lower reference was accepted, is compared with nothing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from harness.checks.answers import top_index
from harness.checks.intervals import Interval, letter_intervals
from harness.checks.question.kept import compare_kept
from harness.engines.contract import Answer, Json
from harness.reports.bars import short

__all__ = [
    "DECIMALS",
    "LOWERED",
    "TOKENS",
    "differences",
    "rendered_otherwise",
    "share_interval",
    "snapshot_data",
]

DECIMALS: Final = 6
LOWERED: Final = "lowered"
"""The key of the reason for which a right answer may have been lost in this snapshot; rarely there."""
TOKENS: Final = "tokens"
"""The key of the log-probabilities of an accepted text's tokens; there of texts only."""

_AT_MOST = "at most"
_NAME_WIDTH = 40
_BESIDE = ("asked", "logprobs", LOWERED, "rendered", TOKENS)


def snapshot_data(answer: Answer, letters: Sequence[str], dtype: str) -> dict[str, Json]:
    """What is kept of an answer: its first reading's letter probabilities, its text and its ids.

    Without an answer there are no probabilities, and ``top`` is null, as it is where it is undecided.
    """
    reading = answer.readings[0] if answer.readings else None
    shares = letter_intervals(reading) if reading else ()
    index = top_index(reading, answer.letter_ids) if reading else None
    return {
        "dtype": dtype,
        "letters": {letter: _kept(share) for letter, share in zip(letters, shares, strict=False)},
        "text": answer.text,
        "token_ids": [*answer.generated_ids],
        "top": None if index is None else letters[index],
    }


def _kept(share: Interval) -> Json:
    if share.exact:
        return round(share.low, DECIMALS)
    return {
        _AT_MOST: math.ceil(share.high * 10**DECIMALS) / 10**DECIMALS
    }  # upwards, so that it stays a bound


def differences(stored: str, received: str, tolerance: float) -> list[str]:
    """One line per value by which two snapshots differ beyond ``tolerance``; empty if they match.

    Both are JSON texts. Numbers with a decimal point may move; integers, texts and names must be equal. Where
    ``stored`` is none, it is why there is none (see `harness.snapshots.extension`), and told as it is.
    """
    try:
        old = json.loads(stored)
    except ValueError:
        return stored.splitlines()
    new = json.loads(received)
    return [*_asked_otherwise(old, new), *_differences("", _compared(old), _compared(new), tolerance)]


def _asked_otherwise(old: Json, new: Json) -> Iterator[str]:
    """A line first where the suite has another text by now, as the numbers are then of another one too."""
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return
    texts = [
        next(iter(letters), None)
        for line in (old, new)
        if line.get(TOKENS) and isinstance(letters := line.get("letters"), dict)
    ]
    if len(texts) == 2 and texts[0] != texts[1]:
        before, after = (short(_text(text), limit=_NAME_WIDTH) for text in texts)
        yield f"expect_text: {before} -> {after} (changed in the suite since it was accepted)"


def rendered_otherwise(old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> list[str]:
    """A line that says so where the prompt of ``new`` was rendered otherwise than when ``old`` was accepted.

    Whether the two match is decided by their answers alone.
    """
    found = () if old is None else compare_kept(old.get("rendered"), new.get("rendered"))
    return [f"{each.title} ({each.text})" for each in found if not each.note]


def share_interval(value: Json) -> Interval | None:
    """A letter's probability as a snapshot holds it; None for what is no number and no bound."""
    bound = _bound(value)
    if bound is not None:
        return Interval(0.0, bound)
    return Interval(value, value) if isinstance(value, float) else None


def _compared(snapshot: Json) -> Json:
    if isinstance(snapshot, dict):
        return {name: value for name, value in snapshot.items() if name not in _BESIDE}
    return snapshot


def _differences(path: str, old: Json, new: Json, tolerance: float) -> Iterator[str]:
    bounds = [bound for bound in (_bound(old), _bound(new)) if bound is not None]
    if len(bounds) == 1:
        known = old if _bound(old) is None else new
        most = max(known, bounds[0] - known) if isinstance(known, float) else math.inf
        if not most <= tolerance * (1 + 1e-6):
            told = f"may have moved by {most:.3g}; allowed: {tolerance:.3g}"
            yield f"{path}: {_text(old)} -> {_text(new)} ({told})"
    elif isinstance(old, dict) and isinstance(new, dict):
        for name in sorted(old.keys() | new.keys()):
            inner = f"{path}.{short(name, limit=_NAME_WIDTH)}" if path else str(name)
            if name not in new:
                yield f"{inner}: {_text(old[name])} -> nothing (must be there)"
            elif name not in old:
                yield f"{inner}: nothing -> {_text(new[name])} (must not be there)"
            else:
                yield from _differences(inner, old[name], new[name], tolerance)
    elif isinstance(old, float) and isinstance(new, float):
        # Decimals are no exact binary fractions: a move by the tolerance itself may read as a hair more.
        if not abs(new - old) <= tolerance * (1 + 1e-6):
            moved = f"moved by {abs(new - old):.3g}; allowed: {tolerance:.3g}"
            yield f"{path}: {_text(old)} -> {_text(new)} ({moved})"
    elif type(old) is not type(new) or old != new:
        yield f"{path or 'the snapshot'}: {_text(old)} -> {_text(new)} (must be equal)"


def _bound(value: Json) -> float | None:
    bound = value.get(_AT_MOST) if isinstance(value, dict) else None
    return bound if isinstance(bound, float) else None


def _text(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False)
