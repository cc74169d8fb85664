"""One worker process: starting it, talking to it, ending it with everything it started.

This is the seam for running workers elsewhere: `supervisor` needs no more of a worker than the public methods
of `WorkerProcess`, and takes the function that starts one as an argument.

The worker gets three descriptors besides the standard ones: requests, replies, and a lifeline on which
nothing is ever written. A small watcher process in the worker's group reads the lifeline; when the parent
ends, however it ends, the watcher sees the end of file and kills the group.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import shutil
import signal
import subprocess
import time
from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final

from harness.cases.problems import readable
from harness.errors import EngineError, ErrorKind
from harness.machine.hold import new_scratch
from harness.workers.events import Job
from harness.workers.protocol import Lines, Message, decode, encode

__all__ = ["WorkerProcess", "no_interpreter", "start_worker", "worker_environment"]

_SCRIPT = Path(__file__).with_name("worker.py")
_READ_BYTES = 1 << 20
_TAIL_BYTES = 1 << 16
_LONGEST_LINE = 1 << 28  # an answer takes some 10 KB
_LINE_CHARACTERS = 300
# A child of the engine may hold the pipe open after the worker is gone, so besides the end of file the
# process itself is looked at, this often.
_LOOK_SECONDS = 0.2
_CLOSE_SECONDS = 5.0
_GROUP_SECONDS = 30.0
_ESCAPES = re.compile(
    r"\x1b(?:\[[0-9;?]*[A-Za-z]|\][^\x07\x1b]*(?:\x07|\x1b\\))|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]"
)


def worker_environment() -> dict[str, str]:
    """The user's environment, with output unbuffered and nothing that forks behind an engine's back."""
    return {
        "TOKENIZERS_PARALLELISM": "false",
        **os.environ,
        "PYTHONFAULTHANDLER": "1",
        "PYTHONUNBUFFERED": "1",
    }


def no_interpreter(python: str, error: OSError) -> EngineError:
    """What to raise when ``python`` cannot be started."""
    words = (
        f"the interpreter {python} could not be started: {error.strerror or error}; "
        "`python:` of the profile's engine takes the path of a Python 3.11 or newer"
    )
    return EngineError(ErrorKind.LOAD, words, refused=words)


def start_worker(job: Job) -> WorkerProcess:
    """Start a process for ``job`` on this machine; raises `EngineError` (LOAD) without its interpreter."""
    return WorkerProcess(job.python, job.log, environment=job.environment)


def living(group: int) -> list[int]:
    """The processes of a group that have not ended; those that have and that nobody buries do not count.

    In a container the first process may bury none, so asking for the group alone would find them for ever.
    """
    with contextlib.suppress(PermissionError):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return []
    found = []
    for file in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # proc(5): from the third field on, behind a name that may hold anything
            state, _, its_group, *rest = file.read_text("utf-8", "replace").rpartition(")")[2].split()
            # A dead one's threads may still be ending, in a driver's call say, and hold what it held.
            if int(its_group) == group and (state not in "ZX" or int(rest[14]) > 1):
                found.append(int(file.parent.name))
    return found


class WorkerProcess:
    """A worker on this machine.

    End it with `close` or `kill`: both leave no process and no descriptor behind. ``started`` and ``heard``
    are readings of `time.monotonic`: the start, and the last byte that came or the last message sent.
    """

    def __init__(self, python: str, log: Path, *, environment: Mapping[str, str] | None = None) -> None:
        """Start ``python`` with its output appended to ``log``; raises `EngineError` (LOAD).

        ``environment`` has the variables that differ from our own.
        """
        self._log: Final = log
        self._lines = Lines()
        self._received: deque[bytes] = deque()
        self._outgoing = bytearray()
        self._end_of_replies = False
        self._unfinished = 0  # bytes of a line whose end has not come
        self._killed = False
        self.started = self.heard = time.monotonic()
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            output.write(f"--- {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC, worker in {python}\n".encode())
            output.flush()
            self._log_start: Final = output.tell()
            self._process: Final = self._start(python, output, environment or {})

    def _start(self, python: str, output: BinaryIO, more: Mapping[str, str]) -> subprocess.Popen[bytes]:
        requests, self._requests = os.pipe()
        self._replies, replies = os.pipe()
        lifeline, self._lifeline = os.pipe()
        theirs = (requests, replies, lifeline)
        # Transformers copies the code of checkpoints here, by the name of their folder: two of one name must
        # not meet.
        self._modules, self._held = new_scratch("harness-modules-")
        try:
            os.set_blocking(self._requests, False)
            os.set_blocking(self._replies, False)
            environment = {**worker_environment(), **more, "HF_MODULES_CACHE": str(self._modules)}
            return subprocess.Popen(
                [python, os.fspath(_SCRIPT), *map(str, theirs)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(*theirs, self._held.descriptor),  # held until the worker has ended, too
                env=environment,
                start_new_session=True,
            )
        except OSError as error:
            self._close_descriptors()
            raise no_interpreter(python, error) from error
        finally:
            for descriptor in theirs:
                os.close(descriptor)

    @property
    def pid(self) -> int:
        """Process id, and id of the process group."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process has not ended."""
        return self._process.poll() is None

    def send(self, message: Message) -> None:
        """Hand over ``message``; what does not fit the pipe is written while `receive` waits."""
        self._outgoing += encode(message)
        self.heard = time.monotonic()
        self._write()

    def receive(self, seconds: float) -> Message | None:
        """The next message, None when there is none within ``seconds``, event ``ended`` after the last."""
        until = time.monotonic() + seconds
        while not self._received:
            if self._end_of_replies:
                return {"event": "ended"}
            self._wait(max(0.0, min(until - time.monotonic(), _LOOK_SECONDS)))
            if time.monotonic() >= until and not self._received and not self._end_of_replies:
                return None
        return decode(self._received.popleft())

    def dump_stacks(self) -> None:
        """Have the stacks of all threads written to the log; works on a worker that hangs."""
        self._process.send_signal(signal.SIGUSR1)
        time.sleep(_LOOK_SECONDS)

    def log_tail(self, *, lines: int = 15) -> str:
        """The last lines that this worker wrote to the log."""
        with self._log.open("rb") as log:
            end = log.seek(0, os.SEEK_END)
            log.seek(max(self._log_start, end - _TAIL_BYTES))
            text = log.read().decode("utf-8", "replace")
        # A progress bar is one line written over and over: its last state is enough.
        shown = [_ESCAPES.sub("", line.rstrip().rpartition("\r")[2]) for line in text.split("\n")]
        return readable("\n".join([line[:_LINE_CHARACTERS] for line in shown if line][-lines:]))

    def close(self) -> None:
        """Have the engine freed and the worker exit; one that takes too long over it is killed."""
        self.send({"do": "close"})
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_CLOSE_SECONDS)
        self.kill()

    def kill(self, *, grace: float = 0.0) -> int | None:
        """Kill the whole group, after ``grace`` seconds in which a worker that is about to end may do so.

        Returns the process's own return code, negative for a signal; None if it was this that ended it.
        """
        returncode = self._process.poll()
        if returncode is None and grace:
            with contextlib.suppress(subprocess.TimeoutExpired):
                returncode = self._process.wait(grace)
        if not self._killed:
            # Once: later the number may be another group's.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._killed = True
            self._await_group()
        self._close_descriptors()
        return returncode

    def _await_group(self) -> None:
        # What the worker started may hold the engine's memory longer than it. A process stuck in a driver's
        # call does not even die of SIGKILL: don't wait for ever.
        until = time.monotonic() + _GROUP_SECONDS
        while (self._process.poll() is None or living(self.pid)) and time.monotonic() < until:
            time.sleep(_LOOK_SECONDS / 10)
        if left := living(self.pid):
            with self._log.open("ab") as log:
                what = f"processes {left} of this worker did not end within {_GROUP_SECONDS:g} s of SIGKILL"
                log.write(f"--- {what}; they may hold memory of the GPU\n".encode())

    def _close_descriptors(self) -> None:
        for name in ("_requests", "_replies", "_lifeline"):
            descriptor = getattr(self, name)
            if descriptor >= 0:
                os.close(descriptor)
                setattr(self, name, -1)
        shutil.rmtree(self._modules, ignore_errors=True)
        self._held.release()
        self._end_of_replies = True

    def _wait(self, seconds: float) -> None:
        poll = select.poll()
        poll.register(self._replies, select.POLLIN)
        if self._outgoing:
            poll.register(self._requests, select.POLLOUT)
        ended = self._process.poll() is not None
        ready = dict(poll.poll(0 if ended else seconds * 1000))
        if self._requests in ready:
            self._write()
        if self._replies in ready:
            self._read()
        elif ended:
            self._end_of_replies = True

    def _write(self) -> None:
        try:
            while self._outgoing:
                del self._outgoing[: os.write(self._requests, self._outgoing)]
        except BlockingIOError:
            pass
        except BrokenPipeError:
            # The worker has gone; the end of its replies tells.
            self._outgoing.clear()

    def _read(self) -> None:
        try:
            data = os.read(self._replies, _READ_BYTES)
        except BlockingIOError:
            return
        self.heard = time.monotonic()
        self._end_of_replies = not data
        self._unfinished = len(data) - data.rfind(b"\n") - 1 + (0 if b"\n" in data else self._unfinished)
        if self._unfinished > _LONGEST_LINE:  # no end in sight: what came is no message
            self._lines, self._unfinished, self._end_of_replies = Lines(), 0, True
            self._received.append(b"more than %d bytes without an end" % _LONGEST_LINE)
            return
        self._received.extend(self._lines.feed(data))
