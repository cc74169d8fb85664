"""One engine that is traced: its worker, its orders, and what came of them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from harness.engines.contract import Answer, Json, Request
from harness.engines.taps.contract import TraceOrder, order_to_json
from harness.engines.taps.sketches import Trace, read_traces
from harness.errors import EngineError
from harness.workers import Job, conversation
from harness.workers.conversation import load, trace
from harness.workers.events import Event, Failed, Loaded, Progress, Scored
from harness.workers.gpu_turn import GpuTurn, free_memory
from harness.workers.handed_over import HandedOver
from harness.workers.process import WorkerProcess, start_worker

__all__ = ["TracedEngine"]

_T = TypeVar("_T")
_SILENCE_SECONDS = 10.0


class TracedEngine:
    """An engine in a worker of its own, loaded at the first order. Close it, or use it as a context.

    ``folder`` is for files on the way, ``label`` names the engine where ``say`` tells what goes on.
    """

    def __init__(
        self,
        label: str,
        job: Job,
        folder: Path,
        *,
        say: Callable[[str], None],
        start: Callable[[Job], WorkerProcess] = start_worker,
        beside: bool = False,
    ) -> None:
        """``start`` is the way in which its worker is started.

        With ``beside`` it does not wait for its turn on a GPU, since another that has it makes room.
        """
        self._start = start
        self.label = label
        self.about: Mapping[str, Json] = {}
        self.fingerprint: Mapping[str, Json] = {}
        self._job = job
        self._folder = folder
        self._say = say
        self._worker: WorkerProcess | None = None
        self._turn = GpuTurn(free_memory if job.settings.device == "cuda" and not beside else dict)
        self._refused: EngineError | None = None
        self._said = 0.0

    def __enter__(self) -> TracedEngine:  # noqa: D105
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:  # noqa: D105
        if kind is None:
            self.close()
        else:
            self.kill()  # what is interrupted does not wait for an engine to end in good order

    @property
    def shares_memory(self) -> bool:
        """Whether it keeps others from what it runs on, so that two must not be loaded at once."""
        return self._job.settings.device == "cuda"

    def trace(self, order: TraceOrder) -> dict[str, Trace]:
        """What was seen, by route. Raises EngineError where the engine cannot be loaded or traced."""
        worker = self._ready()
        file = self._folder / "seen.npz"
        try:
            self.about = trace(worker, self._job, order_to_json(order), file)
        except EngineError as error:
            if not worker.alive:
                self._worker, self._refused = None, error
            raise
        traces, _ = read_traces(file)
        file.unlink()
        return traces

    def load(self) -> None:
        """Load it, unless it is; then ``fingerprint`` is known. Raises EngineError where that fails."""
        self._ready()

    def score(self, requests: Sequence[Request]) -> list[Answer | EngineError]:
        """What it answers to ``requests`` in company, as one batch, or why it does not, in their order.

        Raises EngineError where the engine cannot be loaded, and where it ended.
        """
        worker = self._ready()
        left = {request.case: (request.case, request) for request in requests}
        found: dict[str, Answer | EngineError] = {}
        check = HandedOver(self._job, requests)
        events, ending = _all_of(conversation.score(worker, self._job, left, "scoring", check))
        for event in events:
            if isinstance(event, Scored):
                found[event.key] = event.answer
            elif isinstance(event, Failed):
                found[event.key] = event.error
        if ending is not None:
            error = ending.error(self._job, f"while {len(requests)} cases were scored")
            if not ending.lives_on:
                self._worker, self._refused = None, error
                raise error
            found.update(dict.fromkeys(left, error))
        return [found[request.case] for request in requests]

    def close(self) -> None:
        """End the worker, if there is one."""
        if self._worker is not None:
            self._worker.close()
            self._worker = None
            for phase in self._turn.freed():
                self._say(f"{self.label}: {phase}")
        self._turn.release()

    def kill(self) -> None:
        """End the worker at once."""
        if self._worker is not None:
            self._worker.kill()
            self._worker = None
        self._turn.release()

    def _loading(self, event: Event) -> None:
        """Says every ten seconds that it is still at it."""
        if isinstance(event, Progress) and event.seconds >= self._said + _SILENCE_SECONDS:
            self._said = event.seconds
            self._say(f"{self.label}: loading, {event.seconds:.0f} s")

    def _ready(self) -> WorkerProcess:
        if self._refused is not None:
            raise self._refused
        if self._worker is not None:
            return self._worker
        for phase in self._turn.take():
            self._say(f"{self.label}: {phase}")
        self._say(f"{self.label}: loading")
        self._said = 0.0
        worker = self._start(self._job)
        try:
            events, self._refused = _all_of(load(worker, self._job), self._loading)
        except BaseException:
            worker.kill()
            raise
        if self._refused is not None:
            raise self._refused
        self.fingerprint = next(event.fingerprint for event in events if isinstance(event, Loaded))
        self._worker = worker
        return worker


def _all_of(
    events: Generator[Event, None, _T], seen: Callable[[Event], None] = lambda _: None
) -> tuple[list[Event], _T]:
    """What happens until a conversation's end, each ``seen`` as it happens, and what it returns."""
    told: list[Event] = []
    while True:
        try:
            told.append(next(events))
        except StopIteration as end:
            return told, end.value
        seen(told[-1])
