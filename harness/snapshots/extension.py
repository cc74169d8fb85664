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

What is in it and what counts as a difference stands in `harness.snapshots.answers`. A file whose numbers
moved within the tolerance is left as it is, by ``--snapshot-update`` too, so that baselines do not creep.

syrupy itself looks for unused files among the tests of one run, and so would call those of a profile that was
not selected unused. Here `unused_snapshots` looks at the names of all tests there could be.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar, cast

from syrupy.assertion import SnapshotAssertion
from syrupy.data import SnapshotCollections
from syrupy.extensions.json import JSONSnapshotExtension
from syrupy.location import PyTestLocation
from syrupy.types import SerializableData, SerializedData

from harness.snapshots.answers import differences

__all__ = ["CaseSnapshotExtension", "extension", "location", "stored_text", "unused_snapshots"]


def unused_snapshots(root: Path, module: str, live: Collection[str]) -> tuple[Path, ...]:
    """Files under ``root`` that belong to no test, for the folder of the test module ``module``.

    ``live`` are the names of all tests the module can have, selected in this run or not, such as
    ``test_matches_snapshot[shapes.red-circle-embedded-torch]``.
    """
    names = {_file_name(name) for name in live}
    return tuple(sorted(path for path in (root / module).glob("*") if path.name not in names))


def location(snapshot: SnapshotAssertion) -> Path:
    """The file that ``snapshot`` compares with next, there or not."""
    found = snapshot.extension.get_location(test_location=snapshot.test_location, index=snapshot.index)
    return Path(found)


def stored_text(file: Path) -> str | None:
    """The file's text, None without a file; bytes that are no text are replaced, so that they differ."""
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
    return text or "\n"  # syrupy shows an empty text as a snapshot that does not exist


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
        """See `stored_text`."""
        del snapshot_name, session_id
        return stored_text(Path(snapshot_location))

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


def _file_name(test: str) -> str:
    """What syrupy calls the file of the test with this name."""
    location = cast(PyTestLocation, SimpleNamespace(snapshot_name=test))
    stem = JSONSnapshotExtension.get_snapshot_name(test_location=location)
    return f"{stem}.{JSONSnapshotExtension.file_extension}"
