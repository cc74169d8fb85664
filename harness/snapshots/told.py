"""What an update of the snapshots did: a line of counts, then each case that was refused or written."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import Any

from harness.engines.contract import Json
from harness.reports.bars import Column, short, side_by_side
from harness.snapshots.answers import DECIMALS, share_interval

__all__ = ["MOST_LISTED", "Action", "SnapshotUpdate", "distributions", "update_lines"]

MOST_LISTED = 200
"""Up to this many cases of each action are listed; the rest is counted."""

_WIDTH = 110
_INDENT = "    "
_UNBROKEN = "\N{NO-BREAK SPACE}"


class Action(StrEnum):
    """What was done with a snapshot file; the value is for people."""

    REFUSED = "refused"
    WRITTEN = "written"
    NEW = "new"
    KEPT = "kept"


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotUpdate:
    """One snapshot in a run with ``--snapshot-update``; plain JSON, so that it can travel.

    ``subject`` is the engine's label, ``place`` the case's ``file:line:column``, ``verdict`` the name of a
    `Verdict` or '' for a new one. ``old`` and ``new`` are the letters as snapshots hold them, empty where
    there are none. ``details`` are lines for people, ``because`` the reason given for a lower reference.

    What is to be written is ``line`` (an `AcceptedCase`), in the file that ``head`` names (fields of an
    `AcceptedSuite`); it is the answer in the recording ``key``.
    """

    case: str
    place: str
    subject: str
    profile: str
    verdict: str
    action: Action
    reason: str
    file: str = ""
    old: Mapping[str, Json] = field(default_factory=dict)
    new: Mapping[str, Json] = field(default_factory=dict)
    details: tuple[str, ...] = ()
    because: str = ""
    head: Mapping[str, Any] = field(default_factory=dict)
    line: Mapping[str, Any] = field(default_factory=dict)
    key: str = ""

    def to_json(self) -> dict[str, Any]:
        """As plain JSON."""
        return {**asdict(self), "action": self.action.name, "details": list(self.details)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SnapshotUpdate:
        """The inverse of `to_json`; raises KeyError for anything else."""
        own = {one.name: data[one.name] for one in fields(cls)}
        return cls(**{**own, "action": Action[own["action"]], "details": tuple(own["details"])})


def update_lines(updates: Iterable[SnapshotUpdate]) -> list[str]:
    """Per profile its counts; then what was refused, what was written and what is new, each with its file."""
    known = sorted(updates, key=lambda update: (update.profile, update.case, update.subject))
    lines = [
        f"{profile}: {_counts([each for each in known if each.profile == profile])}"
        for profile in dict.fromkeys(update.profile for update in known)
    ]
    for action in (Action.REFUSED, Action.WRITTEN, Action.NEW):
        own = [update for update in known if update.action is action]
        for update in own[:MOST_LISTED]:
            lines += ["", *_told(update)]
        if len(own) > MOST_LISTED:
            lines += ["", f"and {len(own) - MOST_LISTED} more {action.value}"]
    return lines


def distributions(update: SnapshotUpdate, *, expected: str) -> list[str]:
    """The accepted probabilities beside the present ones, as bars."""
    letters = list(dict.fromkeys((*update.old, *update.new)))
    columns = [_column("accepted", update.old, letters), _column("now", update.new, letters)]
    return side_by_side(letters, columns, expected=expected if expected in letters else None)


def _counts(updates: Sequence[SnapshotUpdate]) -> str:
    counts = Counter(update.action for update in updates)
    parts = [f"{counts[action]} {action.value}" for action in Action if counts[action]]
    kept = Counter(update.verdict for update in updates if update.action is Action.KEPT)
    if kept:
        parts[-1] += f" ({', '.join(f'{count} {verdict}' for verdict, count in sorted(kept.items()))})"
    return ", ".join(parts)


def _told(update: SnapshotUpdate) -> Iterator[str]:
    named = " ".join(filter(None, (update.action.value.upper(), update.verdict)))
    yield f"{named}  {update.case}, {update.subject}; {update.place}"
    if update.new:
        # A letter's two probabilities stay on one line.
        moves = ", ".join(move.replace(" ", _UNBROKEN) for move in _moves(update.old, update.new))
        yield from (line.replace(_UNBROKEN, " ") for line in _wrapped(moves))
    for line in (update.reason, *update.details):
        yield from _wrapped(line)
    if update.because:
        yield from _wrapped(f"lowered because: {update.because}")
    if update.file:
        yield f"{_INDENT}{update.file}"


def _moves(old: Mapping[str, Json], new: Mapping[str, Json]) -> Iterator[str]:
    for letter in dict.fromkeys((*old, *new)):
        before, after = _share(old.get(letter)), _share(new.get(letter))
        yield f"{short(letter)} {before} → {after}" if old else f"{short(letter)} {after}"


def _share(value: Json) -> str:
    share = share_interval(value)
    if share is None:
        return "nothing"
    return f"{share.low:.{DECIMALS}f}" if share.exact else f"≤ {share.high:.{DECIMALS}f}"


def _column(title: str, held: Mapping[str, Json], letters: Sequence[str]) -> Column:
    shares = [share_interval(held.get(letter)) for letter in letters]
    return Column(
        title,
        tuple(share.low if share is not None and share.exact else None for share in shares),
        ceilings=tuple(None if share is None or share.exact else share.high for share in shares),
    )


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(
        text, _WIDTH, initial_indent=_INDENT, subsequent_indent=_INDENT, break_on_hyphens=False
    )
