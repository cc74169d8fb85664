"""Workers on the machines of a Ray cluster (``--executor ray``). Deleting this file takes Ray out.

An actor is our own supervisor, in Ray's Python with the harness installed in it. It starts the ordinary
worker in the engine's interpreter, as a run on its machine would. Ray places actors and imports no engine.
All machines see the folders of recordings, models, images and environments under the same paths.

What an engine does is an outcome and is never tried again elsewhere. A batch is asked again only where Ray
lost its actor, of which nothing is kept: a node that ended, a process that was killed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import secrets
import socket
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

from harness.engines.contract import EngineSettings, Json
from harness.errors import EngineError, ErrorKind, HarnessError
from harness.workers.conversation import Item
from harness.workers.events import Event, Failed, Job, Loaded, Progress, Scored
from harness.workers.executors.devices import gpus_per_worker
from harness.workers.executors.side_by_side import side_by_side
from harness.workers.handed_over import HandedOver
from harness.workers.interpreter import probe
from harness.workers.interpreter_report import told
from harness.workers.supervisor import require_each_once, settle_batches, whole_batches

__all__ = ["RayExecutor"]

_TICK_SECONDS = 1.0
_CONNECT_SECONDS = 10.0
_MOST_LOSSES = 3  # of one batch: more is a fault that no other machine mends
_VISIBLE = "CUDA_VISIBLE_DEVICES"
_OURS: Final = Path(__file__).resolve().parents[2]


class RayExecutor:
    """An executor with an actor for each ``tp`` GPUs of the cluster, or on the CPU one for each node."""

    def __init__(self, address: str | None) -> None:
        """``address`` is the cluster's; None is what Ray finds. Nothing is connected yet.

        Raises HarnessError without Ray.
        """
        try:
            import ray
        except ModuleNotFoundError as error:
            raise HarnessError(
                f"--executor: found ray, but {error}; allowed: with the extra ray here and on every node:\n"
                "  pip install 'vlm-consistency-harness[ray]'"
            ) from error
        self._ray = ray
        self._address = address or "auto"
        self._looked: dict[tuple[str, int], _Report] = {}
        self._cache = Path()  # of the folder of recordings
        self._lost = 0

    def probe(
        self, python: str, settings: EngineSettings, *, cache: Path, show: Callable[[str], None]
    ) -> dict[str, Json]:
        """As `harness.workers.executors.Executor`: what one actor tells."""
        self._connect()
        self._cache = cache
        show("waiting for Ray to place an actor")
        actor = self._actor(settings)
        try:
            with _to_be_seen(cache) as seen:
                report: _Report = self._ray.get(actor.look.remote(python, cache, seen))
        except self._ray.exceptions.RayError as error:
            what = f"--executor ray: no actor could look at {python}: {_first_line(error)}"
            raise _refusal(what) from error
        finally:
            self._ray.kill(actor)
        found = _checked(report)
        self._looked[python, gpus_per_worker(settings)] = report
        return found

    def run(self, job: Job, requests: Sequence[Item]) -> Generator[Event, None, None]:
        """As `harness.workers.run`."""
        require_each_once(requests)
        if not requests:
            return
        self._connect()
        batches = [*whole_batches(job, requests)]
        many, ask = min(self._many(job.settings), len(batches)), partial(self._ask, job, len(requests))
        yield from side_by_side(iter(batches), [ask] * many)

    def _ask(self, job: Job, total: int, batches: Iterator[Sequence[Item]]) -> Generator[Event, None, None]:
        """Have an actor ask batch after batch, and another one where Ray loses it."""
        actor: Any = None
        batch: Sequence[Item] = ()
        try:
            for batch in batches:
                for _ in range(_MOST_LOSSES):
                    try:
                        if actor is None:
                            actor = self._actor(job.settings, job)
                            yield from self._look(actor, job, total)
                        outcomes = yield from self._awaited(actor.settle.remote(batch), "scoring", total)
                        break
                    except self._ray.exceptions.RayTaskError:
                        raise  # our own mistake, not Ray's loss
                    except self._ray.exceptions.RayError as error:
                        self._ray.kill(actor)  # it may be out of reach only, and hold its place
                        self._lost, actor, why = self._lost + 1, None, _first_line(error)
                else:
                    what = f"Ray lost the actor that asked this batch, {_MOST_LOSSES} times: {why}"
                    failure = _as_data(EngineError(ErrorKind.CRASH, what, log=str(job.log)))
                    outcomes = [("failed", key, failure) for key, _ in batch]
                yield from map(_event, outcomes)
            if actor is not None:
                with suppress(self._ray.exceptions.RayError):
                    yield from self._awaited(actor.close.remote(), "ending", total)
        except EngineError as refusal:
            yield from [Failed(key, refusal) for key, _ in batch]
        finally:
            if actor is not None:
                self._ray.kill(actor)

    def _look(self, actor: Any, job: Job, total: int) -> Generator[Event, None, None]:  # noqa: ANN401
        """Wait until the actor has a place, and raise EngineError where that is another kind of machine."""
        with _to_be_seen(self._cache) as seen:
            looking = actor.look.remote(job.python, self._cache, seen)
            report = yield from self._awaited(looking, "waiting for Ray to place an actor", total)
        self._require_alike(job, report)

    def _awaited(self, reference: Any, phase: str, total: int) -> Generator[Event, None, Any]:  # noqa: ANN401
        """What ``reference`` becomes; yields progress meanwhile."""
        began = time.monotonic()
        while True:
            now = f"{phase}, {self._lost} actors lost" if self._lost else phase
            yield Progress(now, 0, total, time.monotonic() - began)
            try:
                return self._ray.get(reference, timeout=_TICK_SECONDS)
            except self._ray.exceptions.GetTimeoutError:
                pass

    def _require_alike(self, job: Job, report: _Report) -> None:
        """Raise EngineError where an actor's machine is not the one that keys were made for."""
        found, expected = _checked(report), self._looked.get((job.python, gpus_per_worker(job.settings)))
        if expected is None or found == expected.installed:
            return
        names = [name for name in found if found[name] != expected.installed.get(name)]
        differ = "; ".join(f"{name} {expected.installed.get(name)} and {found[name]}"[:200] for name in names)
        raise _refusal(
            f"--executor ray: found unlike machines, {expected.host} and {report.host}: {differ}; "
            "allowed: machines of one kind with the same packages, as an engine's answers must not be mixed "
            "from several. Start Ray on those only"
        )

    def _connect(self) -> None:
        if self._ray.is_initialized():
            return
        host, _, port = self._address.rpartition(":")
        try:
            if host and port.isdecimal():  # Ray itself would wait for minutes
                socket.create_connection((host, int(port)), timeout=_CONNECT_SECONDS).close()
            self._ray.init(address=self._address, log_to_driver=False, logging_level="ERROR")
        except (OSError, RuntimeError, ValueError) as error:
            raise _refusal(
                f"--ray-address: found {self._address}, where no Ray cluster answers: {_first_line(error)}; "
                "start one (ray start --head, and ray start --address=HEAD:6379 on the others), or name it"
            ) from error

    def _many(self, settings: EngineSettings) -> int:
        if (need := gpus_per_worker(settings)) > 0:
            gpus: float = self._ray.cluster_resources().get("GPU", 0)
            return max(1, int(gpus // need))
        nodes = [node for node in self._ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) >= 1]
        return max(1, len(nodes))

    def _actor(self, settings: EngineSettings, job: Job | None = None) -> Any:  # noqa: ANN401 - Ray's handle
        placed = self._ray.remote(_Actor).options(
            num_cpus=1,
            num_gpus=gpus_per_worker(settings),
            max_restarts=0,
            max_task_retries=0,
            scheduling_strategy="SPREAD",
        )
        variables = {name: text for name, text in os.environ.items() if told(name)}
        return placed.remote(variables, job)


@dataclasses.dataclass(slots=True)
class _Report:
    """What an actor tells of its machine: ``error`` has the fields of an EngineError where it cannot."""

    host: str
    code: str
    sees: bool
    installed: dict[str, Json] = dataclasses.field(default_factory=dict)
    error: dict[str, str] | None = None


class _Actor:
    """Runs on a node."""

    def __init__(self, variables: Mapping[str, str], job: Job | None) -> None:
        """Takes on the variables that choose kernels and numerics where the run was started.

        Ray sets some, such as OMP_NUM_THREADS. Which GPUs it gave is kept.
        """
        for name in [name for name in os.environ if told(name) and name != _VISIBLE]:
            del os.environ[name]
        os.environ.update({name: text for name, text in variables.items() if name != _VISIBLE})
        self._job = job
        self._batches: deque[Sequence[Item]] = deque()
        if job is not None:
            node = f"{socket.gethostname()}-{os.getpid()}"
            self._job = job = dataclasses.replace(job, log=job.log.with_suffix(f".{node}.log"))
            self._check = HandedOver(job, [])
            self._events = settle_batches(job, self._drawn(), self._check, total=0)

    def look(self, python: str, cache: Path, seen: Path) -> _Report:
        report = _Report(socket.gethostname(), _code(), seen.exists())
        try:
            report.installed = probe(python, cache=cache)
        except EngineError as error:
            report.error = _as_data(error)
        return report

    def settle(self, batch: Sequence[Item]) -> list[tuple[Any, ...]]:
        """The outcomes of a batch, as plain tuples, since an error does not come through pickle."""
        self._check.expect([request for _, request in batch])
        self._batches.append(batch)
        found: list[tuple[Any, ...]] = []
        left = len(batch)
        while left:
            match next(self._events):
                case Loaded(fingerprint, seconds):
                    found.append(("loaded", fingerprint, seconds))
                case Scored(key, answer):
                    found.append(("scored", key, answer))
                    left -= 1
                case Failed(key, error):
                    found.append(("failed", key, _as_data(error)))
                    left -= 1
        return found

    def close(self) -> None:
        """End the worker in good order."""
        for _ in self._events:
            pass

    def _drawn(self) -> Iterator[Sequence[Item]]:
        while self._batches:
            yield self._batches.popleft()


@contextmanager
def _to_be_seen(folder: Path) -> Iterator[Path]:
    """A file for a while, by which an actor knows that it sees the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"ray-{secrets.token_hex(8)}"
    file.touch()
    try:
        yield file
    finally:
        file.unlink(missing_ok=True)


def _event(outcome: tuple[Any, ...]) -> Event:
    kind, first, second = outcome
    if kind == "loaded":
        return Loaded(first, second)
    return Scored(first, second) if kind == "scored" else Failed(first, _from_data(second))


def _checked(report: _Report) -> dict[str, Json]:
    """What is installed there; raises where that machine cannot do our work."""
    if report.code != _code():
        raise _refusal(
            f"--executor ray: {report.host} has another harness; allowed: the same one on every node"
        )
    if not report.sees:
        raise _refusal(
            f"--executor ray: {report.host} does not see the folder of recordings; allowed: one on a disk "
            "that all nodes share, under the same path"
        )
    if report.error is not None:
        raise _from_data(report.error)
    return report.installed


def _code() -> str:
    """A hash of the harness's own modules."""
    whole = hashlib.sha256()
    for file in sorted(_OURS.rglob("*.py")):
        whole.update(f"{file.relative_to(_OURS)} {hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return whole.hexdigest()


def _as_data(error: EngineError) -> dict[str, str]:
    names = ("message", "log", "log_tail", "refused")
    return {"kind": error.kind.value, **{name: getattr(error, name) for name in names}}


def _from_data(data: Mapping[str, str]) -> EngineError:
    fields = dict(data)
    return EngineError(ErrorKind(fields.pop("kind")), fields.pop("message"), **fields)


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _refusal(words: str) -> EngineError:
    return EngineError(ErrorKind.LOAD, words, refused=words)
