"""Executors: where the workers of an engine run, other than one on this machine, which needs none.

``devices.py`` has several on this machine, ``ray_executor.py`` those of a Ray cluster. Whichever it is, a
supervisor stands over each worker, whole batches are handed out, and every request has exactly one outcome.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Protocol

from harness.engines.contract import EngineSettings, Json
from harness.workers.conversation import Item
from harness.workers.events import Event, Job

__all__ = ["Executor"]


class Executor(Protocol):
    """Runs workers."""

    def probe(
        self, python: str, settings: EngineSettings, *, cache: Path, show: Callable[[str], None]
    ) -> dict[str, Json]:
        """What `harness.workers.probe` tells where an engine of these ``settings`` will run.

        Raises `EngineError` as that does, and where its workers would be on several kinds of machine.
        """
        ...

    def run(self, job: Job, requests: Sequence[Item]) -> Generator[Event, None, None]:
        """As `harness.workers.run`."""
        ...
