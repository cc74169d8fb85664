"""What a worker is asked to do, and what is heard of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from harness.engines.contract import Answer, EngineSettings, Json
from harness.errors import EngineError

__all__ = ["Event", "Failed", "Job", "Loaded", "Progress", "Scored"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One engine, where it runs, and how long it may be silent.

    ``python`` is the interpreter's path. ``load_seconds`` is the time from starting the process to a loaded
    engine; ``case_seconds`` the longest silence for each case in hand, as an engine may tell a batch's
    outcomes together: any answer starts it anew. Output of the engine is appended to ``log``. ``rows`` is the
    folder for full rows of logits, kept as ``KEY.PATH.npy`` ([V] float32), or None to keep none. ``patch`` is
    a Python file executed in the worker before the engine's module is imported. ``environment`` has variables
    that differ from our own. The folders of ``log`` and ``rows`` are made when missing. Of the first batch
    ``begun`` cases are answered already, so that it is so much smaller.
    """

    python: str
    settings: EngineSettings
    load_seconds: float
    case_seconds: float
    log: Path
    rows: Path | None = None
    patch: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    begun: int = 0


class Loaded(NamedTuple):
    """The engine is loaded; comes again when a new worker had to be started. ``seconds`` since its start."""

    fingerprint: Mapping[str, Json]
    seconds: float


class Scored(NamedTuple):
    """The answer to the request under ``key``; its full rows are on disk, not in it.

    ``loaded`` is the fingerprint of the worker that gave it, where there are several.
    """

    key: str
    answer: Answer
    loaded: Mapping[str, Json] | None = None


class Failed(NamedTuple):
    """Why the request under ``key`` has no answer."""

    key: str
    error: EngineError


class Progress(NamedTuple):
    """Comes when a phase begins and then once a second while nothing else does.

    ``phase`` is ``loading``, ``scoring``, ``scoring one at a time`` after a batch went wrong, or says what is
    waited for before and after a worker. ``done`` of ``total`` requests have been scored or have failed.
    ``seconds`` since the load, the batch or the waiting began.
    """

    phase: str
    done: int
    total: int
    seconds: float


Event = Loaded | Scored | Failed | Progress
