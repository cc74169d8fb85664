"""What each path costs: the engine run once per path and round on the same cases, in ordinary workers.

One worker at a time, so that a GPU which holds one model is enough. A worker's first batch is not counted: it
compiles and fills caches. Every round takes the paths in another order, and what slows the machine for a
while slows neighbours alike.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import NamedTuple

from harness.engines.contract import Request
from harness.recordings.device import device_line
from harness.workers import Event, Failed, Job, Loaded, Scored, run

__all__ = ["PathCost", "Ratio", "TimedPath", "Work", "cheapest", "measure_paths", "ratio"]

Work = Callable[[Job, Sequence[tuple[str, Request]]], Generator[Event, None, None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedPath:
    """One path of an engine, and the job that scores by it alone."""

    engine: str
    path: str
    job: Job


@dataclass(frozen=True, slots=True, kw_only=True)
class PathCost:
    """Seconds per case of one path, a value for each round, or the ``problem`` that kept it from being timed.

    ``partial`` says that the path sees only the top of a row. ``device`` is where and with what it ran.
    """

    engine: str
    kind: str
    path: str
    top_k: int
    seconds: tuple[float, ...] = ()
    partial: bool = False
    device: str = ""
    problem: str | None = None

    @property
    def median(self) -> float:
        """Seconds per case in the middle of the rounds."""
        return statistics.median(self.seconds)


class Ratio(NamedTuple):
    """The middle of the rounds' ratios, and how far they are spread."""

    median: float
    lowest: float
    highest: float


def ratio(cost: PathCost, base: PathCost) -> Ratio:
    """How many times as much ``cost`` is as ``base``, round by round; both were timed in the same rounds."""
    values = [a / b for a, b in zip(cost.seconds, base.seconds, strict=True)]
    return Ratio(statistics.median(values), min(values), max(values))


def cheapest(costs: Sequence[PathCost], *, partial: bool | None = None) -> PathCost | None:
    """The path that costs least among those that were timed, of lists or full paths only where asked."""
    timed = [cost for cost in costs if cost.seconds and partial in (None, cost.partial)]
    return min(timed, key=lambda cost: cost.median, default=None)


def measure_paths(
    paths: Sequence[TimedPath],
    requests: Sequence[Request],
    *,
    rounds: int,
    show: Callable[[str], None],
    work: Work = run,
    clock: Callable[[], float] = time.perf_counter,
) -> list[PathCost]:
    """Time each of ``paths`` on at least one request, ``rounds`` times in turn.

    A path that is refused, or fails in any case, is not timed: its ``problem`` says why.
    """
    costs = [
        PathCost(
            engine=path.engine,
            kind=path.job.settings.kind,
            path=path.path,
            top_k=path.job.settings.top_k,
        )
        for path in paths
    ]
    for number in range(rounds):
        first = number % len(paths)
        for place in [*range(first, len(paths)), *range(first)]:
            cost = costs[place]
            if cost.problem is not None:
                continue
            show(f"timing {cost.engine}, path {cost.path}: round {number + 1} of {rounds} ...")
            costs[place] = _with_round(cost, paths[place].job, requests, work, clock)
    return costs


def _with_round(
    cost: PathCost,
    job: Job,
    requests: Sequence[Request],
    work: Work,
    clock: Callable[[], float],
) -> PathCost:
    """``cost`` with one more round: all requests in a worker of their own, after a batch not counted."""
    # The warm-up has a batch to itself, so it must fill one.
    size = min(job.settings.batch_size, len(requests))
    job = replace(job, settings=replace(job.settings, batch_size=size))
    warm = [(f"warm-up-{n}", replace(r, case=f"warm-up-{n}")) for n, r in enumerate(requests[:size])]
    counted = [(f"counted-{n}", replace(r, case=f"counted-{n}")) for n, r in enumerate(requests)]
    cold = {key for key, _ in warm}
    started = finished = 0.0
    with closing(work(job, [*warm, *counted])) as events:
        for event in events:
            match event:
                case Loaded():
                    cost = replace(cost, device=device_line(event.fingerprint))
                case Failed():
                    problem = event.error.first_line
                    return replace(cost, problem=problem, seconds=())
                case Scored():
                    finished = clock()
                    if event.key in cold:
                        started = finished
                    cost = replace(cost, partial=event.answer.readings[0].partial)
    return replace(cost, seconds=(*cost.seconds, (finished - started) / len(requests)))
