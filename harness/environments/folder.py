"""The folder that holds environments, and what is on disk there.

::

    ID/                            an environment; it counts only with its marker, which is written last
    ID/harness-environment.json    the marker
    resolved/REQUEST.txt           the lock of each request that was ever resolved
    resolved/REQUEST.failed        why a run could not make it, for the other processes of that run
    holds/NAME                     empty files for locks
    logs/REQUEST.log               what uv said

A lock outlives its environment, so that one that was removed comes back as it was.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

from platformdirs import user_cache_path

from harness.cases.kept import make_ignored, write_whole
from harness.machine.hold import Hold
from harness.workers.serving import ENVIRONMENT_MARKER

__all__ = ["EnvironmentsFolder", "Marker", "Size", "default_folder"]

_ID = re.compile(r"[0-9a-f]{16}")
_BLOCK = 512  # the unit of st_blocks, whatever the file system's own is


def default_folder() -> Path:
    """In the user's cache folder, beside uv's cache, so that packages are linked and not copied."""
    return user_cache_path("vlm-harness") / "environments"


@dataclass(frozen=True, slots=True)
class Marker:
    """What is known of an environment that is complete.

    ``python`` is its version. ``made`` is seconds since the epoch, ``took`` the seconds that it took.
    ``engine`` and ``profiles`` say for which engine of which file it was made first.
    """

    requirements: tuple[str, ...]
    as_of: str | None
    python: str
    lock: str
    made: float
    took: float
    engine: str
    profiles: str


class Size(NamedTuple):
    """Bytes on disk: ``whole``, and ``own``, those that no hard link from elsewhere (uv's cache) shares."""

    whole: int
    own: int


class EnvironmentsFolder:
    """The folder ``root``; it need not exist. Methods raise OSError."""

    def __init__(self, root: Path) -> None:
        """Touches nothing yet."""
        self.root = root

    def place(self, environment: str) -> Path:
        """Where the environment with this id is, or will be."""
        return self.root / environment

    def python(self, environment: str) -> Path:
        """Its interpreter."""
        return self.place(environment) / "bin" / "python"

    def lock_path(self, request: str) -> Path:
        """Where the lock of a request is kept."""
        return self.root / "resolved" / f"{request}.txt"

    def failure_path(self, request: str) -> Path:
        """Where it is noted that a request failed."""
        return self.root / "resolved" / f"{request}.failed"

    def log_path(self, request: str) -> Path:
        """Where uv's output goes."""
        return self.root / "logs" / f"{request}.log"

    def hold(self, name: str) -> Hold:
        """A hold on an environment or a request."""
        self.prepare()
        return Hold(self.root / "holds" / name)

    def last_used(self, environment: str) -> float | None:
        """When it was last used, in seconds since the epoch; None where that is not known."""
        with suppress(FileNotFoundError):
            return (self.root / "holds" / environment).stat().st_mtime
        return None

    def prepare(self) -> None:
        """Make the folder, kept out of version control."""
        make_ignored(self.root)

    def marker(self, environment: str) -> Marker | None:
        """The marker of a complete environment; None where there is none, or only a part of one."""
        try:
            data = json.loads((self.place(environment) / ENVIRONMENT_MARKER).read_text(encoding="utf-8"))
            marker = Marker(**{**data, "requirements": tuple(data["requirements"])})
        except (OSError, ValueError, TypeError, KeyError):
            return None
        # The interpreter is a link to one elsewhere, which may have gone.
        return marker if self.python(environment).exists() else None

    def mark(self, environment: str, marker: Marker) -> None:
        """Declare the environment complete."""
        write_whole(self.place(environment) / ENVIRONMENT_MARKER, json.dumps(asdict(marker), indent=1))

    def ids(self) -> list[str]:
        """All environments, incomplete ones among them."""
        if not self.root.is_dir():
            return []
        return sorted(path.name for path in self.root.iterdir() if _ID.fullmatch(path.name) and path.is_dir())

    def clear(self, environment: str) -> None:
        """Remove what there is of an environment, its marker first; the caller holds it alone."""
        place = self.place(environment)
        with suppress(FileNotFoundError):
            (place / ENVIRONMENT_MARKER).unlink()
        with suppress(FileNotFoundError):
            shutil.rmtree(place)

    def size(self, environment: str) -> Size:
        """How much of the disk an environment takes, each file once however often it is linked."""
        whole = own = 0
        inside: dict[tuple[int, int], int] = {}  # links seen so far
        for status in _statuses(self.place(environment)):
            file = (status.st_dev, status.st_ino)
            inside[file] = inside.get(file, 0) + 1
            if inside[file] == 1:
                whole += status.st_blocks * _BLOCK
            if inside[file] == status.st_nlink:  # all its links are in here
                own += status.st_blocks * _BLOCK
        return Size(whole, own)


def _statuses(folder: Path) -> Iterator[os.stat_result]:
    waiting = [os.fspath(folder)]
    while waiting:
        # It may not be there, or be removed meanwhile.
        with suppress(FileNotFoundError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                else:
                    yield entry.stat(follow_symlinks=False)
