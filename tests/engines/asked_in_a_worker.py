"""Puts requests to an engine in a worker, for tests that run it in other interpreters than their own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.engines.contract import EngineSettings, Request
from harness.workers import Failed, Job, Loaded, Scored, run

__all__ = ["ask"]


def ask(folder: Path, python: str, settings: EngineSettings, requests: Sequence[Request]) -> dict[str, Any]:
    """Answers and errors by case; rows are put into the answers. 'loaded' is the engine's fingerprint."""
    job = Job(
        python=python,
        settings=settings,
        load_seconds=240,
        case_seconds=120,
        log=folder / "worker.log",
        rows=folder / "rows",
    )
    found: dict[str, Any] = {}
    for event in run(job, [(request.case, request) for request in requests]):
        match event:
            case Loaded():
                found["loaded"] = event.fingerprint
            case Scored():
                found[event.key] = event.answer
            case Failed():
                found[event.key] = event.error
    return found
