"""Holding an environment, shared while it is used, alone while it is made or removed; and scratch folders.

Locks of ``flock``: they end with the process, and a program that is started with the descriptor keeps them,
so that nobody makes an environment anew while a uv whose parent was killed still writes to it. A scratch
folder is held by who made it; the next one of its prefix removes those that nobody holds.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["Hold", "new_scratch", "scratch"]

_LOOK_SECONDS = 0.2
_HELD = "held"


class Hold:
    """A hold on whatever ``path``, an empty file, stands for; the file is made when missing."""

    def __init__(self, path: Path) -> None:
        """Nothing is held yet. Raises OSError."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)

    def share(self, *, waiting: Callable[[float], None] = lambda _: None) -> None:
        """Hold it together with others; given up is what was held alone."""
        self._wait(fcntl.LOCK_SH, waiting)

    def take(self, *, waiting: Callable[[float], None] = lambda _: None) -> None:
        """Hold it alone; ``waiting`` is called with the seconds, about once each, while another holds it."""
        self._wait(fcntl.LOCK_EX, waiting)

    def try_take(self) -> bool:
        """Hold it alone if nobody else holds it; whether that is so."""
        return self._try(fcntl.LOCK_EX)

    def release(self) -> None:
        """Give up what is held, for good."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def _try(self, kind: int) -> bool:
        try:
            fcntl.flock(self.descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _wait(self, kind: int, waiting: Callable[[float], None]) -> None:
        began, told = time.monotonic(), 0
        while not self._try(kind):
            seconds = time.monotonic() - began
            if seconds >= told + 1:
                told = int(seconds)
                waiting(seconds)
            time.sleep(_LOOK_SECONDS)


@contextmanager
def scratch(prefix: str, root: Path | None = None) -> Iterator[Path]:
    """An empty folder for as long as it is in use, within one that `new_scratch` makes."""
    folder, held = new_scratch(prefix, root)
    try:
        (inside := folder / "own").mkdir()
        yield inside
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        held.release()


def new_scratch(prefix: str, root: Path | None = None) -> tuple[Path, Hold]:
    """A new folder in ``root``, by default that of the system, and the hold on it, a file in it.

    Those of the same prefix whose owner was killed, so that nobody holds them, are removed. Raises OSError.
    """
    root = Path(tempfile.gettempdir()) if root is None else root
    for left in root.glob(f"{prefix}*"):
        with suppress(OSError):  # another user's, or gone by now
            if left.lstat().st_uid == os.getuid() and (left / _HELD).exists():
                other = Hold(left / _HELD)
                if other.try_take():
                    shutil.rmtree(left, ignore_errors=True)
                other.release()
    while True:
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=root))
        held = Hold(folder / _HELD)
        held.take()
        if os.fstat(held.descriptor).st_nlink:
            return folder, held
        held.release()  # somebody removed it before it was held
