"""Long work is heard of, and not more often than one can read."""

from __future__ import annotations

import time
from typing import Final

__all__ = ["Pulse"]

_SECONDS: Final = 10.0


class Pulse:
    """Is due once in ten seconds."""

    def __init__(self) -> None:
        """Ten seconds from now for the first time."""
        self._last = time.monotonic()

    def due(self, *, anyway: bool = False) -> bool:
        """Whether it is time to say something, which then is said; ``anyway`` where there is news."""
        now = time.monotonic()
        if not anyway and now - self._last < _SECONDS:
            return False
        self._last = now
        return True
