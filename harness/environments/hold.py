"""Holding an environment: shared while it is used, alone while it is made or removed.

Locks of ``flock``: they end with the process, and a program that is started with the descriptor keeps them,
so that nobody makes an environment anew while a uv whose parent was killed still writes to it.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path

__all__ = ["Hold"]

_LOOK_SECONDS = 0.2


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
