"""An experiment: something goes wrong in a whole run of real processes; what is made of it is looked at."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import pytest

from tests.gate_folder import Folder

__all__ = ["EXPERIMENTS", "Experiment", "Ground", "Ran", "each_of", "experiment"]

HERE = Path(__file__).parents[2]
_MARK = "VLM_HARNESS_EXPERIMENT"
_OURS = re.compile(r"INTERNALERROR|^Traceback \(most recent call last\)|^  File \"", re.MULTILINE)
_PERMISSIONS = (1, 2)  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH: by which root writes where nobody may
_DROP = 24  # PR_CAPBSET_DROP


@dataclass(frozen=True, slots=True)
class Ran:
    """How a process ended: its exit status, what it wrote, and what of it was still there afterwards."""

    status: int
    output: str
    left: tuple[str, ...]

    @property
    def counts(self) -> dict[str, int]:
        """What pytest counted."""
        last = self.output.strip().rpartition("\n")[2]
        found = re.findall(r"(\d+) (passed|failed|error|skipped|xfailed|deselected)", last)
        return {word: int(number) for number, word in found}

    def first(self, words: str) -> str:
        """The first line with ``words``, for a table."""
        return next((line.strip() for line in self.output.splitlines() if words in line), "")


@dataclass(frozen=True, slots=True)
class Experiment:
    """``expected`` is in words; ``act`` raises AssertionError where something else was seen."""

    name: str
    expected: str
    act: Callable[[Ground], str]
    stand_in: str = ""


EXPERIMENTS: list[Experiment] = []


def experiment(name: str, expected: str, *, stand_in: str = "") -> Callable[..., Callable[[Ground], str]]:
    """Adds a function to the experiments; it returns what was seen. ``stand_in`` says what was not real."""

    def add(act: Callable[[Ground], str]) -> Callable[[Ground], str]:
        EXPERIMENTS.append(Experiment(name, expected, act, stand_in))
        return act

    return add


@dataclass
class Ground(Folder):
    """A folder of cases, answered by a stand-in engine in real workers; commands run on it from outside."""

    path: Path

    def __post_init__(self) -> None:
        Folder.__init__(self, self.path)
        self.clean(4)

    def pytest(self, *arguments: str, **how: Any) -> Ran:
        """The suite on this folder."""
        command = ["-m", "pytest", "-p", "no:cacheprovider", "--pyargs", "harness.suite", "--cases=cases"]
        return self.run(*command, *arguments, **how)

    def harness(self, *arguments: str, **how: Any) -> Ran:
        """A command of the harness."""
        return self.run("-m", "harness.cli", *arguments, **how)

    def run(
        self,
        *arguments: str,
        during: Callable[[subprocess.Popen[str]], None] | None = None,
        environ: dict[str, str] | None = None,
        permissions: bool = False,
        seconds: float = 90,
    ) -> Ran:
        """A process of this Python; ``during`` is called once it runs.

        With ``permissions`` those of files hold for root too.
        """
        mark = uuid.uuid4().hex
        told = {**os.environ, _MARK: mark, "COLUMNS": "160", "PYTHONPATH": str(HERE), **(environ or {})}
        with subprocess.Popen(
            [sys.executable, *arguments],
            cwd=self.path,
            env=told,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            preexec_fn=_permitted if permissions else _interruptible,
        ) as process:
            try:
                if during is not None:
                    during(process)
                output, _ = process.communicate(timeout=seconds)
            except BaseException:
                process.kill()
                raise
        return Ran(process.returncode, output, _left(mark))

    def expect(
        self, ran: Ran, *, status: int, says: Sequence[str], kept: int | None = None, **counts: int
    ) -> str:
        """Hold ``ran`` to what is expected; returns the line that says it, for the table.

        ``kept`` is how many recordings there are, ``counts`` what pytest counted.
        """
        assert ran.status == status, f"exit status {ran.status}, not {status}:\n{ran.output}"
        own = "\n".join(line for line in ran.output.splitlines() if not line.startswith("  | "))
        assert not _OURS.search(own), f"a traceback of the harness:\n{ran.output}"
        for words in says:
            assert words in ran.output, f"{words!r} is not said:\n{ran.output}"
        assert not ran.left, f"left behind: {ran.left}"
        if kept is not None:
            assert self.kept == kept, f"{self.kept} recordings are kept, not {kept}:\n{ran.output}"
        found = ran.counts
        for word, number in counts.items():
            assert found.get(word, 0) == number, f"{found}, not {number} {word}:\n{ran.output}"
        return ran.first(says[0])

    @property
    def kept(self) -> int:
        """How many recordings are there, of all engines."""
        journals = (self.path / ".harness" / "recordings").glob("*.jsonl")
        return sum(len(_answers(journal)) for journal in journals)


def _answers(journal: Path) -> set[str]:
    """Keys, without the reader that is tried."""
    lines = journal.read_text(encoding="utf-8", errors="replace").splitlines()
    keys = (re.search(r'"key":"([^"]+)"', line) for line in lines if '"like":' in line)
    return {key[1] for key in keys if key is not None}


def each_of(room: ModuleType) -> Callable[..., None]:
    """A test of each experiment of a module; a file of tests for each, so that they are shared out."""

    def test(one: Experiment, tmp_path: Path) -> None:
        assert one.act(Ground(tmp_path / "folder"))

    own = [one for one in EXPERIMENTS if one.act.__module__ == room.__name__]
    marked = pytest.mark.faults(pytest.mark.parametrize("one", own, ids=lambda one: one.name)(test))
    return cast("Callable[..., None]", marked)


def _interruptible() -> None:
    """A shell has what it starts in the background ignore Ctrl-C, which children inherit."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _permitted() -> None:
    """From the next program on, root may do what permissions of files say and no more."""
    _interruptible()
    library = ctypes.CDLL(None, use_errno=True)
    for capability in _PERMISSIONS:
        if library.prctl(_DROP, capability, 0, 0, 0) and os.geteuid() == 0:
            raise OSError(ctypes.get_errno(), "root keeps its way past the permissions of files")


@contextmanager
def small_disk(folder: Path, kibibytes: int) -> Iterator[None]:
    """A disk of its own at ``folder``; needs root."""
    folder.mkdir(parents=True, exist_ok=True)
    size = f"size={kibibytes}k"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def _left(mark: str, seconds: float = 5.0) -> tuple[str, ...]:
    """What still runs of a process that had ``mark`` in its environment, once it had time to end."""
    end = time.monotonic() + seconds
    while found := tuple(_marked(mark)):
        if time.monotonic() > end:
            return found
        time.sleep(0.05)
    return ()


def _marked(mark: str) -> Iterator[str]:
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or entry.name == str(os.getpid()):
            continue
        try:
            if mark.encode() not in (entry / "environ").read_bytes():
                continue
            if (entry / "stat").read_text().rpartition(") ")[2][0] == "Z":
                continue
            yield (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()[:200]
        except OSError:
            continue
