"""Committed outputs: a syrupy extension that compares numbers within a tolerance.

One JSON file per test, ``ROOT/<test module>/<test name>.json``, small enough to be reviewed::

    {
      "dtype": "float32",
      "letters": {
        "A": 0.001234,
        "B": 0.998766
      },
      "text": "B",
      "token_ids": [
        11
      ],
      "top": "B"
    }

Numbers are kept to six decimals and may move by the tolerance; all else must be equal. A letter outside the
top that the engine told of is kept as ``{"at most": 0.000031}``, and the bound may move likewise; where it is
known on one side only, the two must be that close whatever it is on the other. A file whose numbers
moved within the tolerance is left as it is, by ``--snapshot-update`` too, so that baselines do not creep.

syrupy itself looks for unused files among the tests of one run, and so would call those of a profile that was
not selected unused. Here `unused_snapshots` looks at the names of all tests there could be.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterator, Sequence
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar, cast

from syrupy.data import SnapshotCollections
from syrupy.extensions.json import JSONSnapshotExtension
from syrupy.location import PyTestLocation
from syrupy.types import SerializableData, SerializedData

from harness.checks.answers import top_index
from harness.checks.intervals import Interval, letter_intervals
from harness.engines.contract import Answer, Json

__all__ = ["CaseSnapshotExtension", "differences", "extension", "snapshot_data", "unused_snapshots"]

DECIMALS = 6
_AT_MOST = "at most"


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

    Both are JSON texts. Numbers with a decimal point may move; integers, texts and names must be equal.
    """
    try:
        old = json.loads(stored)
    except ValueError as error:
        return [
            f"the snapshot is not valid JSON ({error}); restore the file from version control, "
            "or accept the present output with --snapshot-update"
        ]
    return list(_differences("", old, json.loads(received), tolerance))


def unused_snapshots(root: Path, module: str, live: Collection[str]) -> tuple[Path, ...]:
    """Files under ``root`` that belong to no test, for the folder of the test module ``module``.

    ``live`` are the names of all tests the module can have, selected in this run or not, such as
    ``test_matches_snapshot[shapes.red-circle-embedded-torch]``.
    """
    names = {_file_name(name) for name in live}
    return tuple(sorted(path for path in (root / module).glob("*") if path.name not in names))


@cache
def extension(root: Path, tolerance: float) -> type[CaseSnapshotExtension]:
    """The extension for files under ``root``, to be given to ``snapshot.use_extension``."""
    return type(
        "CaseSnapshotExtension",
        (CaseSnapshotExtension,),
        # Under pytest-xdist syrupy imports the class by its name in another process.
        {
            "root": root,
            "tolerance": tolerance,
            "__module__": __name__,
            "__doc__": CaseSnapshotExtension.__doc__,
        },
    )


class CaseSnapshotExtension(JSONSnapshotExtension):
    """JSON files under ``root`` that match within ``tolerance``. Made by `extension`."""

    root: ClassVar[Path] = Path("snapshots")
    tolerance: ClassVar[float] = 0.0

    @classmethod
    def dirname(cls, *, test_location: PyTestLocation) -> str:
        """``ROOT/<test module>``."""
        return str(cls.root / test_location.basename)

    def discover_snapshots(
        self, *, test_location: PyTestLocation, ignore_extensions: list[str] | None = None
    ) -> SnapshotCollections:
        """None: syrupy is to call no file unused; see `unused_snapshots`."""
        del test_location, ignore_extensions
        return SnapshotCollections()

    def read_snapshot_data_from_location(
        self, *, snapshot_location: str, snapshot_name: str, session_id: str
    ) -> SerializableData | None:
        """The file's text, None without a file; bytes that are no text are replaced, so that they differ."""
        del snapshot_name, session_id
        try:
            text = Path(snapshot_location).read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return None
        return text or "\n"  # syrupy shows an empty text as a snapshot that does not exist

    def matches(self, *, serialized_data: SerializableData, snapshot_data: SerializableData) -> bool:
        """Whether nothing moved beyond the tolerance."""
        return not differences(str(snapshot_data), str(serialized_data), self.tolerance)

    def diff_lines(self, serialized_data: SerializedData, snapshot_data: SerializedData) -> Iterator[str]:
        """Only what moved too far; all of it where there is no snapshot yet."""
        if snapshot_data:
            yield from differences(str(snapshot_data), str(serialized_data), self.tolerance)
        else:
            yield from (f"+ {line}" for line in str(serialized_data).splitlines())
        yield "accept the present output: run the same command with --snapshot-update, and review the change"


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
            inner = f"{path}.{name}" if path else str(name)
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


def _file_name(test: str) -> str:
    """What syrupy calls the file of the test with this name."""
    location = cast(PyTestLocation, SimpleNamespace(snapshot_name=test))
    stem = JSONSnapshotExtension.get_snapshot_name(test_location=location)
    return f"{stem}.{JSONSnapshotExtension.file_extension}"
