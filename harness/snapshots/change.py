"""What became of a case between its accepted snapshot and the present answer: a verdict, and the numbers.

Judged on what a snapshot holds: letter probabilities to six decimals, text, token ids, top letter.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from harness.checks.answers import quoted
from harness.checks.intervals import apart
from harness.engines.contract import Json
from harness.reports.bars import short
from harness.snapshots.answers import DECIMALS, TOKENS, differences, share_interval
from harness.verdicts.verdict import Verdict

__all__ = ["OddsMove", "ShareMove", "SnapshotChange", "letters_in", "snapshot_change"]

_ROUNDING = 0.5 * 10**-DECIMALS
_TOP_WIDTH = 40


class OddsMove(NamedTuple):
    """How far the log-odds of ``letter`` against ``other`` moved, in nats: the farthest that all moved."""

    letter: str
    other: str
    by: float

    def __str__(self) -> str:
        """Such as ``log-odds of A against C: +2.31``."""
        return f"log-odds of {self.letter} against {self.other}: {self.by:+.3g}"


class ShareMove(NamedTuple):
    """How far the probability of ``letter`` moved, at the most: the farthest of all."""

    letter: str
    by: float

    def __str__(self) -> str:
        """Such as ``probability of A: by 0.953``."""
        return f"probability of {self.letter}: by {self.by:.3g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotChange:
    """The verdict on one snapshot.

    ``verdict`` is None where there was none before. SAME: equal to the last digit kept. NOISE: no number
    moved beyond the tolerance, though of letters that near to one another the top one, and so the text, may
    have changed. DRIFT: moved beyond it, and no right answer was lost. REGRESSION: moved beyond it, from
    right to wrong. INCONCLUSIVE: a right answer is no more to be told, or the accepted one cannot be read.
    ERROR: the present answer is none.

    ``reason`` says so in words. ``differences`` has a line for each value that differs beyond the tolerance,
    ``share`` the farthest move of a probability and ``odds`` that of log-odds that is no rounding. ``old``
    and ``new`` are the snapshots' data, ``old`` None where there is none to be read.
    """

    verdict: Verdict | None
    reason: str
    differences: tuple[str, ...]
    share: ShareMove | None
    odds: OddsMove | None
    old: Mapping[str, Json] | None
    new: Mapping[str, Json]

    @property
    def differs(self) -> bool:
        """Whether the file would have to be written for the present answer to match."""
        return bool(self.differences) or self.verdict is None

    @property
    def lowers(self) -> bool:
        """Whether accepting it may lose a right answer, which nobody is to do unawares."""
        return self.verdict in (Verdict.REGRESSION, Verdict.INCONCLUSIVE)


def snapshot_change(
    stored: str | None, answer: Mapping[str, Json], *, expect: str, tolerance: float
) -> SnapshotChange:
    """The verdict on ``answer``, a case as its line in `harness.snapshots.files` has it, beside ``stored``.

    ``stored`` is its JSON, None where there is none, or why it cannot be read; ``expect`` is the case's
    expected letter and ``tolerance`` how far a probability may move.
    """
    found = () if stored is None else tuple(differences(stored, json.dumps(answer), tolerance))
    old = _read(stored)
    verdict, reason = _judged(stored, old, answer, found, expect)
    return SnapshotChange(
        verdict=verdict,
        reason=reason,
        differences=found,
        share=_largest(letters_in(old), letters_in(answer)),
        odds=_farthest(letters_in(old), letters_in(answer)),
        old=old,
        new=answer,
    )


def _judged(
    stored: str | None,
    old: Mapping[str, Json] | None,
    new: Mapping[str, Json],
    found: tuple[str, ...],
    expect: str,
) -> tuple[Verdict | None, str]:
    if (broken := _no_answer(new)) is not None:
        return Verdict.ERROR, broken
    answer = "answer" if new.get(TOKENS) else "top letter"
    if stored is None:
        return None, f"the {answer} is {_named(new['top'], expect)}"
    if old is None:
        return (
            Verdict.INCONCLUSIVE,
            "the accepted snapshot cannot be read, so it may have been right",
        )
    if not found:
        if not differences(json.dumps(old), json.dumps(new), 0.0):
            return Verdict.SAME, "equal to the last digit kept"
        return Verdict.NOISE, "no number moved beyond the tolerance"
    before, after = old.get("top"), new["top"]
    flip = f"the {answer} was {_named(before, expect)} and is {_named(after, expect)}"
    numbers = [line for line in found if not line.startswith(("text:", "token_ids:", "top:"))]
    if before != after and not numbers:
        return Verdict.NOISE, f"{flip}, but they are so near that no number moved beyond the tolerance"
    if before == expect and after is None:
        return Verdict.INCONCLUSIVE, f"{flip}: which letter is the most probable one cannot be told"
    if before == expect and after != expect:
        return Verdict.REGRESSION, flip
    return Verdict.DRIFT, flip if before != after else f"the {answer} is {_named(after, expect)} as before"


def _no_answer(new: Mapping[str, Json]) -> str | None:
    """Why the present answer is none; None if it is one."""
    letters = letters_in(new)
    if not letters:
        return f"the model never reached the letter: it wrote {quoted(str(new['text']))}"
    if lost := [letter for letter, share in letters.items() if not _finite(share)]:
        return f"the probability of {', '.join(lost)} is not a number"
    return None


def _finite(share: Json) -> bool:
    interval = share_interval(share)
    return interval is not None and math.isfinite(interval.high)


def _named(top: Json, expect: str) -> str:
    if top is None:
        return "undecided"
    return f"{short(str(top), limit=_TOP_WIDTH)}, {'right' if top == expect else 'wrong'}"


def _read(stored: str | None) -> Mapping[str, Json] | None:
    try:
        found = None if stored is None else json.loads(stored)
    except ValueError:
        return None
    return found if isinstance(found, dict) and isinstance(found.get("letters"), dict) else None


def letters_in(snapshot: Mapping[str, Json] | None) -> Mapping[str, Json]:
    """The letters as a snapshot holds them, empty where there are none."""
    letters = None if snapshot is None else snapshot.get("letters")
    return letters if isinstance(letters, dict) else {}


def _largest(old: Mapping[str, Json], new: Mapping[str, Json]) -> ShareMove | None:
    moves = [
        (apart(before, after).high, letter)
        for letter, share in old.items()
        if (before := share_interval(share)) is not None
        if (after := share_interval(new.get(letter))) is not None
    ]
    by, letter = max(moves, default=(0.0, ""))
    return ShareMove(letter, by) if by > 0 else None


def _farthest(old: Mapping[str, Json], new: Mapping[str, Json]) -> OddsMove | None:
    """The largest move of log-odds against the letter that was on top, unless rounding may have made it.

    Of letters whose probability is known, and was not rounded to 0, on both sides.
    """
    known = {
        letter: (before, after)
        for letter, before in old.items()
        if isinstance(before, float) and isinstance(after := new.get(letter), float)
        if before > 0 and after > 0
    }
    if len(known) < 2:
        return None
    top = max(known, key=lambda letter: known[letter])
    found: list[tuple[float, OddsMove]] = []
    for letter, shares in known.items():
        if letter != top:
            by = (math.log(shares[1]) - math.log(known[top][1])) - (
                math.log(shares[0]) - math.log(known[top][0])
            )
            rounding = sum(_ROUNDING / share for share in (*shares, *known[top]))
            found.append((abs(by) - rounding, OddsMove(letter, top, by)))
    beyond, move = max(found)
    return move if beyond > 0 else None
