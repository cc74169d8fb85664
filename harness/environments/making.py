"""Making an environment: find the Python, resolve the requirements, create the environment, install.

Each step is one run of uv.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path

from harness.cases.environment_request import EnvironmentRequest
from harness.environments.folder import EnvironmentsFolder, Marker
from harness.environments.lock import Lock
from harness.environments.uv_program import UvError, UvProgram, is_passing

__all__ = ["Making", "kind_of_python", "request_id"]

_NOTE_CHARACTERS = 50  # progress is a line that is rewritten in place, which one that wraps is not
_RESOLVER_OPTIONS = ("--no-header", "--no-annotate")


@dataclass(frozen=True, slots=True)
class Making:
    """Makes environments in ``folder``. ``show`` is called with what is being done and a note about it."""

    folder: EnvironmentsFolder
    show: Callable[[str, str], None]
    loud: bool = False

    def resolve(self, request: EnvironmentRequest, *, hold: int | None = None) -> Lock:
        """The lock of a request, as of now. Raises `UvError` and OSError."""
        local = request.local()
        uv = self._uv(request, f"resolving its requirements: {_short(request)}", hold)
        arguments = self._compile(request, uv, "--generate-hashes")
        for name in request.folders():
            arguments += ["--refresh-package", name]
        given = "\n".join(request.requirements) + "\n"
        text = uv.run("its requirements could not be resolved", [*arguments, "-"], given=given)
        return Lock(
            text=text,
            python=kind_of_python(request),
            platform=_platform(),
            requirements=request.requirements,
            as_of=request.as_of,
            local=tuple(sorted(local.items())),
        )

    def releases(self, request: EnvironmentRequest, package: str, oldest: str, newest: str) -> list[str]:
        """The releases that uv could take of a package, the newest first, with neither end.

        Pre-releases and those that do not fit this Python and platform are no such releases. Raises `UvError`
        and OSError.
        """
        uv = self._uv(request, f"looking for releases of {package}", None)
        arguments = [*self._compile(request, uv, "--no-deps", "--prerelease", "disallow"), "-"]
        found: list[str] = []
        # Uv lists none, and knows where to look: so it is asked for the newest below the last, till none is.
        while True:
            below = (found or [newest])[-1].partition("+")[0]
            given = f"{package}>={oldest.partition('+')[0]},<{below}\n"
            try:
                text = uv.run(f"no releases of {package} could be found", arguments, given=given)
            except UvError as error:
                if not is_passing(error.words) and "no solution found" in error.words.lower():
                    return found
                raise
            version = text.partition("==")[2].split()[0]
            if version.partition("+")[0] == oldest.partition("+")[0]:
                return found
            found.append(version)

    def make(
        self, request: EnvironmentRequest, lock: Lock, *, engine: str, profiles: Path, hold: int
    ) -> None:
        """Make the environment of a lock; the caller holds it alone. Raises `UvError` and OSError."""
        began = time.monotonic()
        place = self.folder.place(lock.id)
        self.folder.clear(lock.id)  # an interrupted process may have left a part
        uv = self._uv(request, f"making its environment: {_short(request)}", hold)
        python = self._python(request, uv)
        uv.run("its environment could not be created", ["venv", "--python", python, str(place)])
        # The lock as its own file in the environment, so that it can be looked at there.
        kept = place / "requirements.txt"
        lock.write(kept)
        arguments = ["pip", "sync", "--python", str(self.folder.python(lock.id))]
        for name in request.folders():
            arguments += ["--refresh-package", name]
        uv.run("its packages could not be installed", [*arguments, str(kept)])
        self.folder.mark(
            lock.id,
            Marker(
                requirements=request.requirements,
                as_of=request.as_of,
                python=_version_of(place),
                lock=lock.digest,
                made=time.time(),
                took=round(time.monotonic() - began, 1),
                engine=engine,
                profiles=str(profiles),
            ),
        )
        if self.folder.marker(lock.id) is None:  # else it would be made again and again
            raise UvError("its environment was made and cannot be used", f"no interpreter in {place}")

    def _compile(self, request: EnvironmentRequest, uv: UvProgram, *options: str) -> list[str]:
        arguments = ["pip", "compile", *_RESOLVER_OPTIONS, *options, "--python", self._python(request, uv)]
        if request.as_of is not None:
            # To the end of that day in UTC; uv would take a bare date for one of the local time zone.
            end = date.fromisoformat(request.as_of) + timedelta(days=1)
            arguments += ["--exclude-newer", f"{end}T00:00:00Z"]
        return arguments

    def _uv(self, request: EnvironmentRequest, what: str, hold: int | None) -> UvProgram:
        began = time.monotonic()

        def show(_: float, line: str) -> None:
            seconds = f"{time.monotonic() - began:.0f} s"
            self.show(what, f"{seconds}; {line[:_NOTE_CHARACTERS]}" if line else seconds)

        self.show(what, "")
        return UvProgram(
            cwd=request.folder,
            log=self.folder.log_path(request_id(request)),
            show=show,
            loud=self.loud,
            hold=hold,
        )

    def _python(self, request: EnvironmentRequest, uv: UvProgram) -> str:
        """The interpreter to make it of: pytest's own unless another version is asked for."""
        wanted = request.python_version
        if wanted is None or f"{platform.python_version()}.".startswith(f"{wanted}."):
            return sys.executable
        what = f"Python {wanted} could not be found"
        find = ["python", "find", "--no-project", wanted]
        try:
            return replace(uv, loud=False).run(what, find).strip()
        except UvError:
            uv.run(what, ["python", "install", wanted])
            return uv.run(what, find).strip()


def kind_of_python(request: EnvironmentRequest) -> str:
    """What an environment depends on of its Python: the version asked for, or that of pytest."""
    own = f"{sys.implementation.name}-{sys.version_info.major}.{sys.version_info.minor}{sys.abiflags}"
    return own if request.python_version is None else f"cpython-{request.python_version}"


def request_id(request: EnvironmentRequest) -> str:
    """The name of a request: of everything that its lock depends on but the day. Raises OSError."""
    whole = [
        sorted(request.requirements),
        request.as_of,
        kind_of_python(request),
        _platform(),
        sorted(request.local().items()),
        # Which build of torch uv takes. Without it the name is what it was before this was looked at.
        *([backend] if (backend := os.environ.get("UV_TORCH_BACKEND")) else []),
    ]
    return hashlib.sha256(json.dumps(whole).encode()).hexdigest()[:16]


def _short(request: EnvironmentRequest) -> str:
    text = str(request)
    return text if len(text) <= _NOTE_CHARACTERS else f"{text[: _NOTE_CHARACTERS - 3]}..."


def _platform() -> str:
    """Operating system, processor and C library, on which the choice of wheels depends."""
    return " ".join((platform.system(), platform.machine(), "-".join(platform.libc_ver()))).strip()


def _version_of(place: Path) -> str:
    """The version in an environment's pyvenv.cfg; uv writes all three numbers."""
    for line in (place / "pyvenv.cfg").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition("=")
        if name.strip() in ("version_info", "version"):
            return value.strip()
    return "unknown"
