"""Accepted outputs through syrupy: a case a line of its file, whose numbers may move by a tolerance.

What is in the file stands in `harness.snapshots.files`, and what counts as a difference in
`harness.snapshots.answers`. A case whose numbers moved within the tolerance is left as it is, by
``--snapshot-update`` too, so that what is accepted does not creep.

syrupy itself looks for unused snapshots among the tests of one run, and so would call those of a profile that
was not selected unused. Here `unused_cases` looks at the names of all tests there could be. And syrupy only
compares: `harness.snapshots.update` writes, at the end of the run.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from syrupy.assertion import SnapshotAssertion
from syrupy.data import SnapshotCollection, SnapshotCollections
from syrupy.extensions.base import AbstractSyrupyExtension
from syrupy.location import PyTestLocation
from syrupy.types import SerializableData, SerializedData, SnapshotIndex

from harness.snapshots.accepted import AcceptedSuite
from harness.snapshots.answers import differences, rendered_otherwise
from harness.snapshots.files import read_case, read_suite

__all__ = ["CaseSnapshotExtension", "compared_with", "stored_text", "unused_cases"]


def unused_cases(snapshots: Path, live: Collection[tuple[str, str, str]]) -> dict[Path, dict[str, int]]:
    """By file, the cases that no test is about, with the numbers of their lines; no file without any.

    ``live`` are profile, engine and name of all cases there can be, selected in this run or not. Raises
    `GateError` where a file cannot be read.
    """
    found: dict[Path, dict[str, int]] = {}
    for file in sorted(snapshots.glob("*/*/*.jsonl")):
        profile, engine = file.parts[-3:-1]
        read_suite(file)
        for number, line in enumerate(file.read_bytes().split(b"\n"), start=1):
            name = json.loads(line or b"{}").get("case")
            if name is not None and (profile, engine, name) not in live:
                found.setdefault(file, {})[name] = number
    return found


def stored_text(file: Path, case: str) -> str | None:
    """The accepted case as JSON; None where there is none. Raises `GateError` where its line is damaged."""
    found = read_case(file, case)
    return None if found is None else json.dumps(found.to_json())


def compared_with(
    snapshot: SnapshotAssertion, snapshots: Path, head: AcceptedSuite, case: str, tolerance: float
) -> SnapshotAssertion:
    """What to compare an answer to ``case`` with; ``head`` says of which engine and suite."""
    own = snapshot.use_extension(CaseSnapshotExtension)
    vars(own.extension).update(snapshots=snapshots, head=head, case=case, tolerance=tolerance)
    return own


class CaseSnapshotExtension(AbstractSyrupyExtension):
    """A line of a file under ``snapshots`` that matches within ``tolerance``. Made by `compared_with`."""

    snapshots: Path
    head: AcceptedSuite
    case: str
    tolerance: float
    file_extension = "jsonl"

    def stored_text(self) -> str | None:
        """As the function of this name."""
        return stored_text(self.head.file(self.snapshots), self.case)

    def serialize(self, data: SerializableData, **_: Any) -> SerializedData:  # noqa: ANN401 - syrupy's filters
        """As readable JSON, the letters in their order."""
        return json.dumps(data, indent=2, ensure_ascii=False)

    def get_location(  # type: ignore[override] # syrupy asks an extension that is made
        self, *, test_location: PyTestLocation, index: SnapshotIndex
    ) -> str:
        """The file of the engine and suite."""
        del test_location, index
        return str(self.head.file(self.snapshots))

    @classmethod
    def matches_test_location(cls, *, test_location: PyTestLocation, snapshot_location: str) -> bool:
        """All tests of a suite share a file."""
        del test_location, snapshot_location
        return True

    def discover_snapshots(
        self, *, test_location: PyTestLocation, ignore_extensions: list[str] | None = None
    ) -> SnapshotCollections:
        """None: syrupy is to call none unused, and so to delete none; see `unused_cases`."""
        del test_location, ignore_extensions
        return SnapshotCollections()

    def read_snapshot_collection(self, *, snapshot_location: str) -> SnapshotCollection:
        """None, as for `discover_snapshots`."""
        return SnapshotCollection(location=snapshot_location)

    def delete_snapshots(self, *, snapshot_location: str, snapshot_names: set[str]) -> None:
        """Never asked for, as none is discovered."""
        raise NotImplementedError(f"{snapshot_location}: {', '.join(snapshot_names)}")

    def read_snapshot_data_from_location(
        self, *, snapshot_location: str, snapshot_name: str, session_id: str
    ) -> SerializableData | None:
        """See `stored_text`."""
        del snapshot_location, snapshot_name, session_id
        return self.stored_text()

    @classmethod
    def write_snapshot_collection(
        cls, *, snapshot_collection: SnapshotCollection, name_order: dict[str, int] | None = None
    ) -> None:
        """Never asked for: `harness.snapshots.update` writes."""
        raise NotImplementedError(str(snapshot_collection.location))

    def matches(self, *, serialized_data: SerializableData, snapshot_data: SerializableData) -> bool:
        """Whether nothing moved beyond the tolerance."""
        return not differences(str(snapshot_data), str(serialized_data), self.tolerance)

    def diff_lines(self, serialized_data: SerializedData, snapshot_data: SerializedData) -> Iterator[str]:
        """Only what moved too far, behind a prompt rendered otherwise; all of it where there is none yet."""
        stored, received = str(snapshot_data or ""), str(serialized_data)
        if stored:
            yield from rendered_otherwise(json.loads(stored), json.loads(received))
            yield from differences(stored, received, self.tolerance)
        else:
            yield from (f"+ {line}" for line in received.splitlines())
        yield "accept the present output: run the same command with --snapshot-update, and review the change"
