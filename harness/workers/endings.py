"""How a worker ended before its time, in words a user can act on."""

from __future__ import annotations

import signal
from dataclasses import dataclass

from harness.errors import EngineError, ErrorKind
from harness.workers.events import Job

__all__ = ["Ending", "how_it_ended", "memory_killer"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """What broke off a batch.

    ``what`` is a clause such as 'the worker was killed by signal 9 (SIGKILL)'; ``returncode`` that of its
    process, negative for a signal, None when it had to be killed or ``lives_on``. ``log_tail`` are the log's
    last lines at that moment.
    """

    kind: ErrorKind
    what: str
    log_tail: str
    returncode: int | None = None
    lives_on: bool = False

    def error(self, job: Job, circumstances: str) -> EngineError:
        """The ERROR of the case that is blamed."""
        text = f"{self.what} {circumstances}"
        if advice := self._advice(job):
            text += f"; {advice}"
        return EngineError(self.kind, text, log=str(job.log), log_tail=self.log_tail)

    def _advice(self, job: Job) -> str:
        size = job.settings.batch_size
        smaller = f"lower batch_size (now {size}) in the profile, or use a machine with more memory"
        if self.kind is ErrorKind.TIMEOUT:
            return (
                f"the limit is the profile's `deadlines.case` ({job.case_seconds:g} s) per case in hand; "
                "the log shows where every thread stood: raise the limit if it was at work"
            )
        if self.kind is ErrorKind.OUT_OF_MEMORY:
            return smaller
        if self.kind is ErrorKind.CRASH and (killer := memory_killer(self.returncode)):
            return f"{killer}: {smaller}"
        if self.kind is ErrorKind.CRASH:
            return "the log's last lines say more"
        return ""


def memory_killer(returncode: int | None) -> str:
    """A hint at memory that ran out, '' where a process ended otherwise."""
    return "signal 9 is often the kernel's out-of-memory killer" if returncode == -signal.SIGKILL else ""


def how_it_ended(returncode: int | None) -> str:
    """'was killed by signal 11 (SIGSEGV)' and the like, for a return code as `subprocess` gives it."""
    if returncode is None:
        return "closed its pipe without ending and was killed"
    if returncode >= 0:
        return f"exited with code {returncode}"
    try:
        name = signal.Signals(-returncode).name
    except ValueError:
        name = "of unknown name"
    return f"was killed by signal {-returncode} ({name})"
