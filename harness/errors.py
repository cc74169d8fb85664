"""Everything the harness raises on purpose.

The tree::

    HarnessError
    ├── CaseFileError     a suite or profiles file is wrong; carries every problem found, each with its place
    ├── UnknownName       a name on the command line that nothing has
    │   └── UnknownProfile    a profile was asked for that the folder of cases does not have
    ├── LettersError      a letter has no token id of its own in the context in which it is generated
    ├── RecordingError    a journal or a stored row cannot be used
    ├── GateError         two sides cannot be named or cannot be compared; nothing was judged
    ├── EngineError       an engine could not answer a case: an ERROR, never a pass and never a skip
    └── CheckFailed       a check found a difference over its limit (an AssertionError, so pytest says FAILED)

Standard library only: workers import this module in the engine's own environment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

__all__ = [
    "CaseFileError",
    "CheckFailed",
    "EngineError",
    "ErrorKind",
    "GateError",
    "HarnessError",
    "LettersError",
    "Problem",
    "RecordingError",
    "UnknownName",
    "UnknownProfile",
]


class HarnessError(Exception):
    """Base of all errors the harness raises on purpose."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a YAML file.

    ``place`` is ``file:line:column`` (both 1-based), ``field`` a dotted path such as ``cases.3.expect``,
    ``found`` what stands there, and ``allowed`` what may stand there.
    """

    place: str
    field: str
    found: str
    allowed: str

    def __str__(self) -> str:
        """Everything on one line."""
        field = f"{self.field}: " if self.field else ""
        return f"{self.place}: {field}found {self.found}; allowed: {self.allowed}"


class CaseFileError(HarnessError):
    """Suites or profiles are not valid; ``problems`` holds every one, in file order."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        """``problems`` in the order in which they are to be read."""
        self.problems = tuple(problems)
        count = len(self.problems)
        head = "1 problem" if count == 1 else f"{count} problems"
        super().__init__(f"{head} in the case files:\n" + "\n".join(f"  {p}" for p in self.problems))


class UnknownName(HarnessError):  # noqa: N818 - it says what is wrong with a name, not with a file
    """A name was asked for that nothing has; the message says which there are."""


class UnknownProfile(UnknownName):
    """A profile was asked for by a name that no profile of the folder of cases has."""


class LettersError(HarnessError):
    """The letters have no distinct, round-tripping, single token ids in their context."""


class RecordingError(HarnessError):
    """A journal or a stored row is unreadable, of another format version, or missing."""


class GateError(HarnessError):
    """A side of a gate is not there, or the two sides cannot be compared; says what was found and allowed."""


class ErrorKind(StrEnum):
    """Why an engine could not answer."""

    LOAD = "load"  # the engine did not start at all
    CRASH = "crash"  # its process ended
    TIMEOUT = "timeout"  # it was silent past its deadline
    OUT_OF_MEMORY = "out-of-memory"
    NOT_FINITE = "not-finite"  # NaN or infinity among the logits
    UNSUPPORTED = "unsupported"  # the engine cannot do what the profile or case asks
    LETTERS = "letters"  # see LettersError
    FAILED = "failed"  # any other exception


class EngineError(HarnessError):
    """An engine could not answer a case.

    ``kind`` says why, ``log`` is the path of the worker's log file ('' where there is none) and ``log_tail``
    its last lines. ``refused`` is the reason, without its circumstances, where the engine as a whole is not
    there, so that every case of it has this error; else ''.
    """

    def __init__(
        self, kind: ErrorKind, message: str, *, log: str = "", log_tail: str = "", refused: str = ""
    ) -> None:
        """``message`` says what happened and what to do next."""
        self.kind = kind
        self.message = message
        self.refused = refused
        self.log = log
        self.log_tail = log_tail
        text = f"{kind.value}: {message}"
        if log:
            text += f"\nlog: {log}"
        if log_tail:
            text += "\nlast lines:\n" + "\n".join(f"  | {line}" for line in log_tail.splitlines())
        super().__init__(text)

    @property
    def first_line(self) -> str:
        """What happened, in the first line of the message; the kind where there is none."""
        return self.message.splitlines()[0] if self.message else self.kind.value


class CheckFailed(HarnessError, AssertionError):  # noqa: N818 - it is an outcome, like pytest's own Failed
    """A check found a difference over its limit."""
