"""One worker an engine for all faults: what a run takes for a new one with its patch is one switched over."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

from harness.drift.faults.catalogue import Fault
from harness.engines.codec import request_to_json
from harness.engines.contract import Request
from harness.errors import HarnessError
from harness.workers import Job
from harness.workers.process import WorkerProcess
from harness.workers.protocol import Message

__all__ = ["Bench"]

_TURN = "harness.drift.faults.switch"  # as `switch` has it, which imports what only a worker has
_STAY = "from harness.drift.faults import switch\nswitch.stay({side!r})\n"


class Bench:
    """Gives workers for `harness.workers.run`; each is ended by `close` only, unless it is killed before."""

    def __init__(self, folder: Path) -> None:
        """``folder`` holds what workers are started with, and their logs."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._workers: dict[str, _Staying] = {}  # by side, and whether it is the one with faults
        self._planted: tuple[Fault, str] | None = None

    def plant(self, fault: Fault | None, size: str = "") -> None:
        """From now on engines of the fault's side that have a patch are given with it, others clean."""
        self._planted = None if fault is None else (fault, size)

    def start(self, job: Job) -> WorkerProcess:
        """A worker that has, or will have, the engine of ``job``, with what is planted."""
        side = job.settings.kind
        name = side if job.patch is None else f"{side}-patched"
        order: list[str] = []
        if self._planted is not None and self._planted[0].side == side and job.patch is not None:
            order = [self._planted[0].name, self._planted[1]]
        rows = self._folder / f"{name}-rows"
        rows.unlink(missing_ok=True)
        if job.rows is not None:
            rows.symlink_to(job.rows)  # the worker was told this name once and for all
        worker = self._workers.get(name)
        if worker is None or not worker.alive:
            patch = self._folder / f"{name}.py"
            patch.write_text(_STAY.format(side=side), encoding="utf-8")
            own = replace(job, log=self._folder / f"{name}.log", patch=patch, rows=rows)
            worker = self._workers[name] = _Staying(own)
        worker.order = order
        return worker

    def close(self) -> None:
        """End all workers."""
        for worker in self._workers.values():
            worker.kill()
        self._workers.clear()


class _Staying(WorkerProcess):
    """A worker that loads once: to load again is to switch, and the run that used it does not close it."""

    def __init__(self, job: Job) -> None:
        super().__init__(job.python, job.log)
        self._job = job
        self._loaded: Message | None = None
        self._turning = False
        self.order: list[str] = []

    def send(self, message: Message) -> None:
        if message["do"] != "load":
            super().send(message)
            return
        self.started = time.monotonic()  # of this load
        if self._loaded is None:
            super().send({**message, "patch": str(self._job.patch), "rows": str(self._job.rows)})
        turn = Request(case=_TURN, prompt=json.dumps(self.order), letters=("A",))
        super().send({"do": "score", "batch": [[_TURN, request_to_json(turn)]]})
        self._turning = True

    def receive(self, seconds: float) -> Message | None:
        message = super().receive(seconds)
        while self._turning and message is not None:
            if message["event"] == "loaded":
                self._loaded = message
            elif message["event"] == "scored":
                self._turning = False
                return self._loaded
            elif message["event"] != "failure":
                self._turning = False
                if message["event"] == "raised":
                    raise HarnessError(f"{' '.join(self.order)}: cannot be planted: {message['message']}")
                return message
            message = super().receive(seconds)
        return message

    def close(self) -> None:
        """Nothing: the next run goes on with it."""
