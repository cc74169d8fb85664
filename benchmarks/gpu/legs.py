"""Legs of a run: commands by worth, each begun only if it fits, ended at its limit, and kept at once."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import tarfile
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.gpu.results import FAILED, INCONCLUSIVE, NOT_RUN, OVERRAN, PASSED, RUNNING, write

__all__ = ["FAULT", "INCOMPLETE", "ROOT", "WELL", "Leg", "Legs", "by_worth"]

ROOT: Final = Path(__file__).resolve().parents[2]
WELL, FAULT, INCOMPLETE = 0, 1, 3
"""Exit statuses: all legs passed; one failed, overran or met an error; none did, but not all is known."""

_GRACE_SECONDS: Final = 5.0  # after an interrupt, in which pytest still writes its report
_LAST_LINES: Final = 40
_LEFT_SOMETHING: Final = (PASSED, FAILED, INCONCLUSIVE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """One command of a run.

    ``folder`` is its own, for its ``log`` and whatever it writes; ``read`` makes data of that once it ended.
    ``worth`` is in points, ``seconds`` is what it is reckoned to take. Where a leg of ``needs`` left nothing
    this one is not run. ``absent`` says why it cannot run here, None if it can.
    """

    name: str
    kind: str
    command: Sequence[str]
    folder: Path
    worth: float
    seconds: float
    needs: tuple[str, ...] = ()
    read: Callable[[Path], Mapping[str, Any]] = lambda _: {}
    absent: Callable[[], str | None] = lambda: None

    @property
    def limit(self) -> float:
        """Seconds after which it is ended: an estimate may be wrong by as much, not by more."""
        return 2 * self.seconds + 30

    @property
    def shown(self) -> str:
        """The command as one would type it."""
        program, *rest = self.command
        return shlex.join(["python" if program == sys.executable else program, *rest])

    @property
    def log(self) -> Path:
        """What it said."""
        return self.folder / "log.txt"


def by_worth(legs: Iterable[Leg]) -> list[Leg]:
    """``legs`` by worth for each second, the best first; what a leg needs counts with it, and goes before."""
    waiting = {leg.name: leg for leg in legs}
    found: list[Leg] = []

    def with_needs(name: str) -> list[str]:
        needed = [each for need in waiting[name].needs if need in waiting for each in with_needs(need)]
        return list(dict.fromkeys([*needed, name]))

    def worth(names: Iterable[str]) -> float:
        chain = [waiting[name] for name in names]
        return sum(leg.worth for leg in chain) / sum(leg.seconds for leg in chain)

    while waiting:
        found += [waiting.pop(name) for name in max(map(with_needs, waiting), key=worth)]
    return found


@dataclass(slots=True)
class Legs:
    """Runs legs until ``seconds`` since ``began`` have passed, and keeps ``results`` on disk around each.

    Beside the results stands an archive of all that legs wrote under ``files``. ``began`` is a reading of
    `time.monotonic`.
    """

    results: dict[str, Any]
    file: Path
    files: Path
    seconds: float
    began: float

    @property
    def left(self) -> float:
        """Seconds left."""
        return self.began + self.seconds - time.monotonic()

    @property
    def status(self) -> int:
        """The exit status."""
        found = {entry["status"] for entry in self.results["legs"].values()}
        if found <= {PASSED}:
            return WELL
        return INCOMPLETE if found <= {PASSED, NOT_RUN, INCONCLUSIVE} else FAULT

    def list(self, legs: Iterable[Leg]) -> None:
        """Put ``legs`` into the results as not run, so that they are told whatever becomes of the run."""
        for leg in legs:
            self.results["legs"][leg.name] = {
                "kind": leg.kind,
                "status": NOT_RUN,
                "why": "the run ended before",
                "estimate": round(leg.seconds),
                "seconds": 0.0,
                "command": leg.shown,
            }

    def run(self, leg: Leg) -> Mapping[str, Any]:
        """Run a leg that is listed; what became of it, which the results have, too."""
        entry: dict[str, Any] = self.results["legs"][leg.name]
        if (why := self._obstacle(leg)) is not None:
            entry["why"] = why
            print(f"{leg.name}: not run: {why}", flush=True)
        else:
            del entry["why"]
            entry["status"] = RUNNING
            self.keep()  # a machine that goes away now leaves word of what it was at
            print(f"{leg.name} ... (about {leg.seconds:.0f} s; {self.left:.0f} s are left)", flush=True)
            started = time.monotonic()
            try:
                self._run(leg, entry)
            except Exception as error:  # noqa: BLE001 - a leg that fails must not take the others with it
                entry |= {"status": "error", "why": f"{type(error).__name__}: {error}"}
                entry["said"] = traceback.format_exc().splitlines()[-_LAST_LINES:]
            entry["seconds"] = round(time.monotonic() - started, 1)
            told = f"{entry['status']} {entry.get('why', '')}".strip()
            print(f"{leg.name}: {told} ({entry['seconds']} s)", flush=True)
        self.keep()
        return entry

    def keep(self) -> None:
        """Write what is known so far."""
        self.results["seconds"] = round(time.monotonic() - self.began, 1)
        write(self.results, self.file)
        archive = self.file.with_name("files.tar.gz")
        fresh = archive.with_suffix(".part")
        with tarfile.open(fresh, "w:gz") as tar:
            for each in sorted(self.files.iterdir()) if self.files.is_dir() else ():
                tar.add(each, arcname=each.name)
        fresh.replace(archive)

    def _obstacle(self, leg: Leg) -> str | None:
        legs = self.results["legs"]
        for need in leg.needs:
            if (status := legs[need]["status"]) not in _LEFT_SOMETHING:
                return f"it needs '{need}', which is: {status}"
        if leg.seconds > self.left:
            return f"about {leg.seconds:.0f} s, and {max(self.left, 0):.0f} s of {self.seconds:.0f} were left"
        return leg.absent()

    def _run(self, leg: Leg, entry: dict[str, Any]) -> None:
        leg.folder.mkdir(parents=True, exist_ok=True)
        limit = max(1.0, min(leg.limit, self.left))
        status = _run(leg, limit)
        entry |= {"exit": status, "status": PASSED if status == 0 else FAILED}
        if status is None:
            entry |= {"status": OVERRAN, "why": f"ended after {limit:.0f} s, its limit"}
        elif status != 0:
            entry["why"] = f"exit status {status}"
        if status != 0:
            said = leg.log.read_text(encoding="utf-8", errors="replace")
            entry["said"] = said.splitlines()[-_LAST_LINES:]
        entry["data"] = data = leg.read(leg.folder)
        # By what was judged as well: pytest's own 3 is an error within it.
        if status == INCOMPLETE and data.get("inconclusive"):
            entry["status"] = INCONCLUSIVE


def _run(leg: Leg, limit: float) -> int | None:
    """The exit status of a leg's command, None where it was ended after ``limit`` seconds.

    Workers of the harness end with the process that started them, so that none holds the GPU afterwards.
    """
    with leg.log.open("wb") as log:
        process = subprocess.Popen(
            leg.command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
        try:
            return process.wait(limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_GRACE_SECONDS)
            return None
        finally:
            # What it has left behind as well.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
