"""Several workers of one engine, a thread for each, whose events come out in one row.

A worker takes the next whole batch when it has done one. So a case stands in the batch in which one worker
would have asked it, and only which worker asks is left to chance.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import chain
from queue import SimpleQueue

from harness.engines.contract import Json
from harness.errors import EngineError
from harness.workers.conversation import Item
from harness.workers.events import Event, Failed, Loaded, Progress, Scored

__all__ = ["Worker", "side_by_side"]

Worker = Callable[[Iterator[Sequence[Item]]], Generator[Event, None, None]]
"""Draws batches one after another, each when the one before has all its outcomes."""


def side_by_side(
    batches: Iterator[Sequence[Item]], workers: Sequence[Worker]
) -> Generator[Event, None, None]:
    """The events of all; an engine that one of them cannot load at all is not there, as with one worker.

    What others had answered by then stays answered. Closing it ends all within about a second.
    """
    yield from _SideBySide(batches).run(workers)


class _SideBySide:
    def __init__(self, batches: Iterator[Sequence[Item]]) -> None:
        self._batches = batches
        self._next = threading.Lock()
        self._ended = False  # no batch is handed out any more
        self._left = False  # nobody takes events any more
        self._refused: EngineError | None = None
        self._events: SimpleQueue[tuple[int, Event | BaseException | None]] = SimpleQueue()

    def run(self, workers: Sequence[Worker]) -> Generator[Event, None, None]:
        threads = [threading.Thread(target=self._work, args=numbered) for numbered in enumerate(workers)]
        loaded: dict[int, Mapping[str, Json]] = {}
        done, working = 0, {*range(len(threads))}
        try:
            for thread in threads:
                thread.start()
            while working:
                worker, event = self._events.get()
                match event:
                    case None:
                        working.remove(worker)
                        continue
                    case BaseException():
                        raise event
                    case Loaded():
                        loaded[worker] = event.fingerprint
                    case Scored():
                        event = event._replace(loaded=loaded[worker])
                    case Progress() if worker != min(working):
                        continue  # of one of them, or the phases of all would take turns
                    case Progress():
                        event = event._replace(done=done)
                done += isinstance(event, Scored | Failed)
                yield event
            if self._refused is not None:
                for key, _ in chain.from_iterable(self._batches):
                    yield Failed(key, self._refused)
        finally:
            self._ended = self._left = True
            for thread in threads:
                if thread.ident is not None:
                    thread.join()

    def _work(self, number: int, worker: Worker) -> None:
        try:
            with closing(worker(self._drawn())) as events:
                for event in events:
                    if isinstance(event, Failed) and event.error.refused:
                        self._refused, self._ended = event.error, True
                    self._events.put((number, event))
                    if self._left:
                        break
        except BaseException as error:  # noqa: BLE001 - raised where the events are taken
            self._ended = True
            self._events.put((number, error))
        self._events.put((number, None))

    def _drawn(self) -> Iterator[Sequence[Item]]:
        while True:
            with self._next:
                batch = None if self._ended else next(self._batches, None)
            if batch is None:
                return
            yield batch
