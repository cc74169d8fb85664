"""Scores requests in a worker, batch after batch, and decides who is to blame when one goes wrong.

When a batch of several breaks off, by the worker's end, its silence or an exception, the cases without an
answer are scored again one at a time. Those that fail alone are the culprits and become ERRORs; the others
keep their answers. If none fails alone, the first of them becomes the ERROR all the same: an engine that died
must not pass for a sound one.

Who scores again: a new worker after an end or a silence. After an exception the same one goes on, but if it
raises again before it has answered anything, the engine itself may be broken (as a CUDA context is after a
failed assertion), so that case is tried in a new worker before it is blamed. A worker whose GPU's memory ran
out is replaced at once: what its allocator holds may be in pieces too small for the next case.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise

from harness.engines.contract import Request
from harness.errors import EngineError, ErrorKind, HarnessError
from harness.workers import conversation
from harness.workers.conversation import Item
from harness.workers.endings import Ending
from harness.workers.events import Event, Failed, Job, Progress, Scored
from harness.workers.gpu_turn import GpuTurn, Look, free_memory
from harness.workers.handed_over import HandedOver
from harness.workers.process import WorkerProcess, start_worker
from harness.workers.rows import forget_rows

__all__ = ["require_each_once", "run", "settle_batches", "whole_batches"]

# Loading may take minutes, so a worker that helps nobody is not replaced for ever. Eight are enough for a row
# of bad cases among good ones; an engine that never answers costs eight loads instead of one per case.
_STARTS_WITHOUT_OUTCOME = 8


def run(
    job: Job,
    requests: Sequence[tuple[str, Request]],
    *,
    start: Callable[[Job], WorkerProcess] = start_worker,
    look: Look = free_memory,
) -> Generator[Event, None, None]:
    """Score ``requests``, pairs of a recording's key and a request, yielding events as they happen.

    Every request gets exactly one `Scored` or `Failed`, in any order; what happens to the engine is never
    raised. Closing the iterator (wrap it in `contextlib.closing`), or an exception in it such as
    KeyboardInterrupt, ends the worker and everything it started at once. An engine on ``cuda`` waits for its
    turn on the GPUs that ``look`` tells, and keeps it until their memory is free again.

    Raises:
        HarnessError: two requests share a key or a case's name.
    """
    require_each_once(requests)
    check = HandedOver(job, [request for _, request in requests])
    batches = whole_batches(job, requests)
    return settle_batches(job, batches, check, total=len(requests), start=start, look=look)


def require_each_once(requests: Sequence[Item]) -> None:
    """Raise `HarnessError` where two ``requests`` share a key or a case's name."""
    for what, names in (
        ("key", [key for key, _ in requests]),
        ("case", [request.case for _, request in requests]),
    ):
        doubles = [name for name, count in Counter(names).items() if count > 1]
        if doubles:
            raise HarnessError(
                f"{len(doubles)} {what}s stand in more than one of {len(requests)} requests, the first is "
                f"{doubles[0]!r}; allowed: each in one, since answers are told apart by it"
            )


def whole_batches(job: Job, requests: Sequence[Item]) -> Iterator[Sequence[Item]]:
    """``requests`` in batches of the job's size, in their order; the first may be `begun`."""
    size = max(1, job.settings.batch_size)
    cuts = [*range(-(job.begun % size), len(requests), size), len(requests)] if requests else []
    return (requests[max(0, first) : behind] for first, behind in pairwise(cuts))


def settle_batches(
    job: Job,
    batches: Iterator[Sequence[Item]],
    check: HandedOver,
    *,
    total: int,
    start: Callable[[Job], WorkerProcess] = start_worker,
    look: Look = free_memory,
) -> Generator[Event, None, None]:
    """As `run`, with batches that are drawn one after another, each when the one before is settled."""
    first = next(batches, None)
    if job.rows is not None:
        job.rows.mkdir(parents=True, exist_ok=True)
    # A server that runs already has what it needs.
    ours = first is not None and job.settings.device == "cuda" and "url" not in job.settings.options
    turn = GpuTurn(look if ours else dict)
    supervisor = _Supervisor(job, start, turn, check)
    done = 0
    try:
        yield from _waiting(turn.take())
        for batch in () if first is None else chain([first], batches):
            for event in supervisor.settle(batch):
                done += isinstance(event, Scored | Failed)
                yield event._replace(done=done, total=total) if isinstance(event, Progress) else event
        supervisor.close()
        yield from _waiting(turn.freed())
    finally:
        supervisor.kill()
        turn.release()


def _waiting(phases: Iterator[str]) -> Iterator[Progress]:
    began = time.monotonic()
    for phase in phases:
        yield Progress(phase, 0, 0, time.monotonic() - began)


@dataclass(slots=True)
class _Attempt:
    """A batch on its way: the items without an outcome, by key, and what broke it off, if anything did."""

    left: dict[str, Item]
    phase: str
    ending: Ending | None = None


class _Supervisor:
    def __init__(
        self, job: Job, start: Callable[[Job], WorkerProcess], turn: GpuTurn, check: HandedOver
    ) -> None:
        self._job = job
        self._check = check
        self._turn = turn
        self._start = start
        self._worker: WorkerProcess | None = None
        self._doubtful = False  # the worker raised and has had no outcome since
        self._starts = 0  # since the last outcome
        self._refusal: EngineError | None = None  # why no worker is started any more
        self._last_ending: Ending | None = None

    def settle(self, batch: Sequence[Item]) -> Iterator[Event]:
        """Yield one `Scored` or `Failed` for each of ``batch``, and other events on the way."""
        attempt = _Attempt({key: (key, request) for key, request in batch}, "scoring")
        yield from self._score(attempt)
        if attempt.ending is None:
            return
        left = list(attempt.left.values())
        if len(left) > 1:
            yield from self._one_at_a_time(left, attempt.ending)
        elif left:
            others = f" and the {len(batch) - 1} others of its batch had outcomes" if len(batch) > 1 else ""
            yield Failed(left[0][0], attempt.ending.error(self._job, f"while this case was in hand{others}"))

    def close(self) -> None:
        """End the worker in good order."""
        if self._worker is not None:
            self._worker.close()
            self._worker = None

    def kill(self) -> None:
        """End the worker at once."""
        if self._worker is not None:
            self._worker.kill()
            self._worker = None

    def _one_at_a_time(self, items: Sequence[Item], ending: Ending) -> Iterator[Event]:
        first, held, culprits = items[0][0], None, 0
        for key, request in items:
            attempt = _Attempt({key: (key, request)}, "scoring one at a time")
            for event in self._score(attempt):
                culprits += isinstance(event, Failed)
                if isinstance(event, Scored) and key == first:
                    held = event
                else:
                    yield event
            if attempt.ending is not None and attempt.left:
                culprits += 1
                yield Failed(key, attempt.ending.error(self._job, "while this case was scored alone"))
        if held is not None and culprits:
            yield held
        elif held is not None:
            if self._job.rows is not None:
                forget_rows(self._job.rows, first)
            circumstances = (
                f"while this case and {len(items) - 1} more were in hand; alone every one of them answered, "
                "so the first of them bears the blame and its answer is not kept"
            )
            yield Failed(first, ending.error(self._job, circumstances))

    def _score(self, attempt: _Attempt) -> Iterator[Event]:
        """Score what is left of ``attempt`` once; afterwards nothing is left, or there is an ending."""
        attempt.ending = None
        while True:
            worker = yield from self._ready()
            if isinstance(worker, EngineError):
                for key in list(attempt.left):
                    del attempt.left[key]
                    yield Failed(key, worker)
                return
            count = len(attempt.left)
            ending = yield from conversation.score(
                worker, self._job, attempt.left, attempt.phase, self._check
            )
            attempt.ending = ending
            if len(attempt.left) < count:
                self._starts, self._doubtful = 0, False
            if ending is None:
                return
            self._last_ending = ending
            if not ending.lives_on:
                self._worker = None
                return
            if ending.kind is ErrorKind.OUT_OF_MEMORY and self._job.settings.device == "cuda":
                self.kill()
                return
            if not self._doubtful or not attempt.left:
                self._doubtful = True
                return
            self.kill()

    def _ready(self) -> Generator[Event, None, WorkerProcess | EngineError]:
        """Return a worker with a loaded engine, or why there will be none any more."""
        if self._worker is not None and self._worker.alive:
            return self._worker
        self.kill()  # it may have ended between two batches, which is nobody's fault
        if self._refusal is not None:
            return self._refusal
        if self._last_ending is not None and self._starts >= _STARTS_WITHOUT_OUTCOME:
            circumstances = f"in the last of {self._starts} workers in a row without one outcome; not tried"
            self._refusal = self._last_ending.error(self._job, circumstances)
            self._refusal.refused = self._refusal.message
            return self._refusal
        yield from _waiting(self._turn.freed())
        self._starts += 1
        self._doubtful = False
        try:
            self._worker = worker = self._start(self._job)
        except EngineError as error:
            self._refusal = error
            return error
        self._refusal = yield from conversation.load(worker, self._job)
        if self._refusal is None:
            return worker
        self._worker = None
        return self._refusal
