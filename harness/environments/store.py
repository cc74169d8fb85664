"""The environments of a run: each is made when it is first asked for, once for all processes, and kept."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from harness.cases.environment_request import EnvironmentRequest, without_credentials
from harness.cases.kept import write_whole
from harness.cases.problems import Location, shown
from harness.cases.profiles import EngineSpec
from harness.engines.contract import Json
from harness.environments.folder import EnvironmentsFolder, default_folder
from harness.environments.lock import Lock
from harness.environments.making import Making, request_id
from harness.environments.uv_program import UvError
from harness.errors import EngineError, ErrorKind
from harness.machine.hold import Hold

__all__ = ["Environments", "Interpreter", "Show"]

Show = Callable[[str, str], None]
"""Takes what is being done, and a note about it such as the seconds it has taken."""


class Interpreter(NamedTuple):
    """Where an engine runs: the interpreter's path and, if the harness made its environment, the lock."""

    path: str
    lock: Lock | None = None

    @property
    def fingerprint(self) -> dict[str, Json] | None:
        """What recordings keep of the environment; None where the harness did not make it."""
        return None if self.lock is None else self.lock.fingerprint()


@dataclass(frozen=True, slots=True)
class _Held:
    interpreter: Interpreter
    hold: Hold


@dataclass(frozen=True, slots=True)
class _Order:
    """An engine whose environment is asked for; ``id`` is that of the request."""

    id: str
    request: EnvironmentRequest
    label: str
    location: Location
    show: Show


class Environments:
    """All environments under ``root`` (the user's cache folder where it is None).

    ``run_id`` is shared by the processes of one run: what failed in one is not tried again by another.
    ``loud`` leaves uv's own output on the terminal. What `interpreter` returned is held, so that nobody
    removes it, until `close`.
    """

    def __init__(self, root: Path | None = None, *, run_id: str = "", loud: bool = False) -> None:
        """Touches nothing yet."""
        self.folder = EnvironmentsFolder((default_folder() if root is None else root).absolute())
        self._given = root
        self._run_id = run_id
        self._loud = loud
        self._held: dict[str, _Held] = {}  # by request

    def interpreter(self, label: str, spec: EngineSpec, show: Show) -> Interpreter:
        """The interpreter of an engine, whose environment is made if it is not there.

        ``label`` is ``profile-engine``. Raises `EngineError` (LOAD) when the environment cannot be made.
        """
        if spec.environment is None:
            return Interpreter(str(spec.python))
        try:
            order = _Order(request_id(spec.environment), spec.environment, label, spec.location, show)
            if order.id not in self._held:
                self._held[order.id] = self._made(order)
            return self._held[order.id].interpreter
        except OSError as error:
            raise self._disk_error(label, spec.location, error) from error

    def known_lock(self, request: EnvironmentRequest) -> Lock | None:
        """The lock that a request was resolved to, if it ever was. Raises OSError."""
        return Lock.read(self.folder.lock_path(request_id(request)))

    def releases(
        self, label: str, spec: EngineSpec, package: str, ends: tuple[str, str], show: Show
    ) -> list[str]:
        """The releases of a package between two that uv could take for an engine, oldest first.

        Raises `EngineError` (LOAD).
        """
        if spec.environment is None:
            return []
        try:
            order = _Order(request_id(spec.environment), spec.environment, label, spec.location, show)
            with self._failures_noted(order):
                making = Making(self.folder, show, loud=self._loud)
                return making.releases(order.request, package, *ends)[::-1]
        except OSError as error:
            raise self._disk_error(label, spec.location, error) from error

    def resolve_again(self, label: str, spec: EngineSpec, show: Show) -> bool:
        """Resolve the requirements of an engine anew; whether the lock is another now.

        Raises `EngineError` (LOAD) when they cannot be resolved; the lock is then the one there was.
        """
        if spec.environment is None:
            return False
        try:
            order = _Order(request_id(spec.environment), spec.environment, label, spec.location, show)
            before = Lock.read(self.folder.lock_path(order.id))
            with self._alone(f"{order.id}.request", show) as hold:
                after = self._resolve(order, hold)
        except OSError as error:
            raise self._disk_error(label, spec.location, error) from error
        return before is None or before.digest != after.digest

    def remove(self, environment: str) -> bool:
        """Remove an environment; False, and it stays, where it is in use. Raises OSError."""
        hold = self.folder.hold(environment)
        try:
            if not hold.try_take():
                return False
            self.folder.clear(environment)
            return True
        finally:
            hold.release()

    def command_to_make(self, label: str, location: Location) -> str:
        """The command line that makes the environment of the engine at ``location``."""
        words = ["harness", "env", "make", label]
        if (cases := shown(location.file.parent)) != "cases":
            words += ["--cases", cases]
        if self._given is not None:
            words += ["--environments", shown(self._given)]
        return shlex.join(words)

    def close(self) -> None:
        """Hold nothing any more."""
        while self._held:
            self._held.popitem()[1].hold.release()

    def _made(self, order: _Order) -> _Held:
        lock = Lock.read(self.folder.lock_path(order.id)) or self._first_lock(order)
        hold = self.folder.hold(lock.id)
        try:
            while True:
                hold.share(waiting=_waiting(order.show))
                if self.folder.marker(lock.id) is not None:
                    os.utime(hold.descriptor)  # when it was last used
                    return _Held(Interpreter(str(self.folder.python(lock.id)), lock), hold)
                hold.take(waiting=_waiting(order.show))
                if self.folder.marker(lock.id) is None:  # else another process made it meanwhile
                    self._make(order, lock, hold)
        except BaseException:
            hold.release()
            raise

    def _first_lock(self, order: _Order) -> Lock:
        with self._alone(f"{order.id}.request", order.show) as hold:
            # Another process may have resolved it meanwhile.
            return Lock.read(self.folder.lock_path(order.id)) or self._resolve(order, hold)

    @contextmanager
    def _alone(self, name: str, show: Show) -> Iterator[Hold]:
        hold = self.folder.hold(name)
        try:
            hold.take(waiting=_waiting(show))
            yield hold
        finally:
            hold.release()

    def _resolve(self, order: _Order, hold: Hold) -> Lock:
        with self._failures_noted(order):
            making = Making(self.folder, order.show, loud=self._loud)
            lock = making.resolve(order.request, hold=hold.descriptor)
        lock.write(self.folder.lock_path(order.id))
        return lock

    def _make(self, order: _Order, lock: Lock, hold: Hold) -> None:
        with self._failures_noted(order):
            making = Making(self.folder, order.show, loud=self._loud)
            profiles = order.location.file
            making.make(order.request, lock, engine=order.label, profiles=profiles, hold=hold.descriptor)

    @contextmanager
    def _failures_noted(self, order: _Order) -> Iterator[None]:
        """Turn what uv could not do into an `EngineError`, the same one in all processes of the run."""
        noted = self.folder.failure_path(order.id)
        log = str(self.folder.log_path(order.id))
        with suppress(OSError, ValueError, KeyError):
            note = json.loads(noted.read_text(encoding="utf-8"))
            if note["run"] == self._run_id:
                raise EngineError(ErrorKind.LOAD, note["message"], log=log, log_tail=note["words"])
        try:
            yield
            noted.unlink(missing_ok=True)
        except UvError as error:
            again = self.command_to_make(order.label, order.location)
            if order.request.changed:  # that command would make what profiles.yaml has
                again = "the same command again (its `requirements` are not those of profiles.yaml)"
            message = (
                f"engine {order.label} ({order.location}, requirements: {order.request}): {error.what}\n"
                f"what to do: {error.advice}\nthen: {again}"
            )
            words = without_credentials(error.words)
            if self._run_id:
                note = {"run": self._run_id, "message": message, "words": words}
                write_whole(noted, json.dumps(note))
            raise EngineError(ErrorKind.LOAD, message, log=log, log_tail=words) from error

    def _disk_error(self, label: str, location: Location, error: OSError) -> EngineError:
        where = f" ({error.filename})" if error.filename else ""
        return EngineError(
            ErrorKind.LOAD,
            f"engine {label} ({location}): its environment in {self.folder.root} cannot be made or used: "
            f"{error.strerror or error}{where}\n"
            "what to do: free some of the disk, with `harness env remove --unused` for one, or name another "
            "folder with --environments",
        )


def _waiting(show: Show) -> Callable[[float], None]:
    def waiting(seconds: float) -> None:
        show("waiting for another process that makes its environment", f"{seconds:.0f} s")

    return waiting
