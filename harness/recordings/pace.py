"""How fast an engine went when recordings were made."""

from __future__ import annotations

import hashlib
import platform
import time
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from harness.engines.contract import Answer
    from harness.recordings.store import Recording

__all__ = ["Pace", "PaceMaker", "pace_of", "this_host"]

_HOST_DIGITS = 8


class Pace(NamedTuple):
    """How far an engine had come with an answer: ``cases`` answered within ``seconds`` of being loaded.

    ``tokens`` are those of their prompts and of what was generated, None where an answer has none, as one by
    text. ``loaded`` (seconds of the epoch) and ``host`` (`this_host`) name the start of the engine that the
    rest is counted from.
    """

    loaded: float
    host: str
    seconds: float
    cases: int
    tokens: int | None


@dataclass(slots=True)
class PaceMaker:
    """Counts one engine's answers; nothing is counted any more once a case got none, which takes its time."""

    _pace: Pace | None = None
    _began: float = 0.0

    def start(self) -> None:
        """The engine is loaded, perhaps once more."""
        self._began = time.monotonic()
        self._pace = Pace(loaded=round(time.time(), 3), host=this_host(), seconds=0.0, cases=0, tokens=0)

    def answered(self, answer: Answer) -> Pace | None:
        """The pace up to this answer, None where it cannot be told."""
        if self._pace is not None:
            own = len(answer.prompt_ids) + len(answer.generated_ids) if answer.prompt_ids else None
            before = self._pace.tokens
            self._pace = self._pace._replace(
                seconds=round(time.monotonic() - self._began, 3),
                cases=self._pace.cases + 1,
                tokens=None if before is None or own is None else before + own,
            )
        return self._pace

    def failed(self) -> None:
        """A case got no answer."""
        self._pace = None


def pace_of(recordings: Collection[Recording]) -> Pace | None:
    """That of all ``recordings``, if one start of an engine on this machine made them all; else None."""
    paces = [one.pace for one in recordings if one.pace is not None]
    if len(paces) < len(recordings) or len({(pace.loaded, pace.host) for pace in paces}) != 1:
        return None
    last = max(paces, key=lambda pace: pace.cases)
    return last if last.host == this_host() and last.seconds > 0 else None


@cache
def this_host() -> str:
    """A short name for this machine that does not tell its own."""
    return hashlib.sha256(platform.node().encode()).hexdigest()[:_HOST_DIGITS]
