"""Leases on an engine's recordings: who makes which, so that nobody makes what another is making.

A lease is a lock on a file beside the engine's journal, ``ENGINE.making.lock`` for all recordings and
``ENGINE.3-of-8.making.lock`` for one part of them. Parts of one division are held side by side; all others
exclude one another. A lock ends with its process, so what a dead one held is free: at once on the same
machine, on NFS as soon as the server has missed the client. Files stay, and say nothing by being there.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock, Timeout

__all__ = ["Lease"]

_END = ".making.lock"
_LOOK_SECONDS = 0.1
_LONGEST_SECONDS = 0.5
_BEFORE_TELLING = 1.0


class Lease:
    """One on the recordings in ``journal``, of all or of a ``part`` such as ``3-of-8``."""

    def __init__(self, journal: Path, part: str = "") -> None:
        """Nothing is held yet."""
        self._engine = journal.with_suffix("")
        self._part = part
        self._lock = FileLock(self._file(part))

    def take(self, on_wait: Callable[[], None] | None = None) -> None:
        """Wait until it is held; ``on_wait`` is called once after a second. Raises OSError."""
        began, pause = time.monotonic(), _LOOK_SECONDS
        while not self.try_take():
            if on_wait is not None and time.monotonic() - began > _BEFORE_TELLING:
                on_wait()
                on_wait = None
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_SECONDS)

    def release(self) -> None:
        """Give it up."""
        self._lock.release()

    def try_take(self) -> bool:
        """Hold it if nobody holds one that excludes it; whether that is so. Raises OSError."""
        # One looks at a time, or two that exclude one another could both find nobody.
        with FileLock(f"{self._engine}.leases.lock"):
            others = filter(self._excludes, self._engine.parent.glob(f"{self._engine.name}*{_END}"))
            if all(map(_free, others)):
                self._lock.acquire(timeout=0)
                return True
        return False

    def _file(self, part: str) -> Path:
        return Path(f"{self._engine}{'.' * bool(part)}{part}{_END}")

    def _excludes(self, file: Path) -> bool:
        part = file.name.removeprefix(self._engine.name).removesuffix(_END).lstrip(".")
        return part == self._part or part.partition("-of-")[2] != self._part.partition("-of-")[2]


def _free(file: Path) -> bool:
    lock = FileLock(file)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    lock.release()
    return True
