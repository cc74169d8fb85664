"""Running uv, and what to do about what it says."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.machine.findings import Finding, lacking, right

__all__ = ["UvError", "UvProgram", "is_passing", "look_at_uv"]

_INSTALL = shlex.join([sys.executable, "-m", "pip", "install", "uv"])

# These would lead uv to an environment other than the one that is named.
_MISLEADING = (
    "CONDA_PREFIX",
    "PYTHONHOME",
    "UV_PYTHON",
    "UV_SYSTEM_PYTHON",
    "VIRTUAL_ENV",
)
_TELL_SECONDS = 1.0
_TAIL_LINES = 40
_LINE_CHARACTERS = 300

# The first that uv's words hold. A disk that is full may show as a failed download, so it comes first.
_PASSING = 3  # so many from the first on are no fault of what was asked for
_ADVICE = (
    (
        ("no space left on device", "disk quota exceeded", "os error 28"),
        "the disk is full: free some with `harness env remove --unused` or `uv cache prune`, or name a "
        "folder on another disk with --environments",
    ),
    (
        ("network was disabled",),
        "uv may not use the network (UV_OFFLINE or uv.toml): allow it once; afterwards none is needed",
    ),
    (
        (
            "request failed after",
            "error sending request",
            "dns error",
            "failed to fetch",
            "failed to download",
            "timed out",
            "operation timed out",
        ),
        "what it needs cannot be fetched: check the network, or name an index that can be reached, in "
        "uv.toml or UV_DEFAULT_INDEX; once the environment is made, no network is needed",
    ),
    (
        ("no interpreter found", "no download found"),
        "there is no such Python: install it, or leave `python_version` out to take that of pytest",
    ),
    (
        ("no solution found",),
        "change `requirements`, `as_of` or `python_version`, so that there are versions that satisfy all",
    ),
    (
        ("hash mismatch",),
        "the index holds other files than when this was resolved; add --again to resolve anew",
    ),
    (
        ("failed to build", "build backend"),
        "a package could not be built from source: take a version that has a wheel for this Python and "
        "platform, or install what its build needs",
    ),
)


class UvError(Exception):
    """uv failed: ``words`` is what it said, ``advice`` what to change."""

    def __init__(self, what: str, words: str) -> None:
        """``what`` could not be done."""
        super().__init__(what)
        self.what = what
        self.words = words

    @property
    def advice(self) -> str:
        """What may help."""
        said = self.words.lower()
        for signs, advice in _ADVICE:
            if any(sign in said for sign in signs):
                return advice
        return "see what uv says"


@dataclass(frozen=True, slots=True, kw_only=True)
class UvProgram:
    """How uv is run: in the folder ``cwd``, with its output appended to ``log``.

    ``show`` is called about once a second with the seconds so far and uv's last line. ``loud`` leaves uv's
    output on the terminal. ``hold`` is a descriptor that uv keeps open.
    """

    cwd: Path
    log: Path
    show: Callable[[float, str], None]
    loud: bool = False
    hold: int | None = None

    def run(self, what: str, arguments: Sequence[str], *, given: str = "") -> str:
        """Run uv with ``given`` on its standard input; return its standard output.

        Raises `UvError`, saying that ``what`` could not be done, when it is not there or fails, and OSError.
        """
        command = [_program(), *arguments]
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            log.write(f"--- uv {shlex.join(arguments)}\n".encode())
            log.flush()
            start = log.tell()
            process = subprocess.Popen(
                command,
                cwd=self.cwd,
                env=_environment(loud=self.loud),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=None if self.loud else log,
                pass_fds=() if self.hold is None else (self.hold,),
            )
        told = self._communicate(process, given.encode(), start)
        if process.returncode != 0:
            words = _tail(self.log, start) or f"exit code {process.returncode}"
            raise UvError(what, "its words are above" if self.loud else words)
        return told.decode("utf-8", "replace")

    def _communicate(self, process: subprocess.Popen[bytes], given: bytes, start: int) -> bytes:
        began = time.monotonic()
        rest: bytes | None = given
        try:
            while True:
                try:
                    return process.communicate(rest, timeout=_TELL_SECONDS)[0]
                except subprocess.TimeoutExpired:
                    rest = None  # goes on with what was given
                    self.show(time.monotonic() - began, _tail(self.log, start).rpartition("\n")[2].strip())
        finally:
            if process.returncode is None:
                process.kill()
                process.communicate()


def is_passing(words: str) -> bool:
    """Whether what uv said is about this machine's disk or network, and not about what was asked for."""
    said = words.lower()
    return any(sign in said for signs, _ in _ADVICE[:_PASSING] for sign in signs)


def _program() -> str:
    try:
        import uv  # here, since only who makes an environment needs it

        return str(uv.find_uv_bin())
    except (ImportError, FileNotFoundError) as error:
        raise UvError("uv could not be found", f"{error}; install it with: {_INSTALL}") from error


def look_at_uv() -> Finding:
    """Whether uv is there, and which."""
    try:
        command = [_program(), "--version"]
        said = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout.strip()
    except (UvError, OSError, subprocess.SubprocessError) as error:
        return lacking(True, "uv", f"{error}; no environment of `requirements` can be made", _INSTALL)
    return right("uv", f"{said}, {command[0]}")


def _environment(*, loud: bool) -> dict[str, str]:
    quiet = {} if loud else {"NO_COLOR": "1", "UV_NO_PROGRESS": "1"}
    return {**{name: value for name, value in os.environ.items() if name not in _MISLEADING}, **quiet}


def _tail(log: Path, start: int) -> str:
    with log.open("rb") as file:
        file.seek(start)
        lines = file.read().decode("utf-8", "replace").splitlines()
    return "\n".join(line[:_LINE_CHARACTERS] for line in lines[-_TAIL_LINES:] if line.strip())
