"""The parent's side of the conversation with one worker: loading, and one batch."""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping
from pathlib import Path

from harness.cases.problems import readable
from harness.engines.codec import request_to_json, settings_to_json
from harness.engines.contract import Json, Request
from harness.errors import EngineError, ErrorKind, RecordingError
from harness.workers.believing import believed
from harness.workers.endings import Ending, how_it_ended, memory_killer
from harness.workers.events import Event, Failed, Job, Loaded, Progress, Scored
from harness.workers.handed_over import HandedOver
from harness.workers.process import WorkerProcess
from harness.workers.protocol import Message
from harness.workers.rows import forget_rows, sweep_unfinished

__all__ = ["Item", "load", "score", "trace"]

Item = tuple[str, Request]

_TICK_SECONDS = 1.0
_EXIT_SECONDS = 2.0


def load(worker: WorkerProcess, job: Job) -> Generator[Event, None, EngineError | None]:
    """Have the engine loaded; yields `Progress` and, when it is there, `Loaded`.

    Returns None, or why there is no engine; the worker is dead then.
    """
    worker.send(
        {
            "do": "load",
            "settings": settings_to_json(job.settings),
            "patch": None if job.patch is None else str(job.patch),
            "rows": None if job.rows is None else str(job.rows),
        }
    )
    patched = "" if job.patch is None else f", behind its patch {job.patch}"
    where = f"the engine (kind: {job.settings.kind}{patched}) could not be loaded in {job.python}"
    yield Progress("loading", 0, 0, 0.0)
    while (message := worker.receive(min(_TICK_SECONDS, _left(worker.started, job.load_seconds)))) is None:
        if _left(worker.started, job.load_seconds) <= 0:
            worker.dump_stacks()
            worker.kill()
            what = (
                f"{where} within {job.load_seconds:g} s, the profile's `deadlines.load`; "
                "the log shows where every thread stood: raise the limit if it was at work"
            )
            return EngineError(
                ErrorKind.LOAD, what, log=str(job.log), log_tail=worker.log_tail(), refused=what
            )
        yield Progress("loading", 0, 0, time.monotonic() - worker.started)
    if message["event"] == "loaded" and isinstance(message.get("fingerprint"), dict):
        yield Loaded(message["fingerprint"], time.monotonic() - worker.started)
        return None
    returncode = worker.kill(grace=_EXIT_SECONDS)
    kind, why, tail = ErrorKind.LOAD, f"the worker {how_it_ended(returncode)}", worker.log_tail()
    if message["event"] == "refused" and (told := _told(message)) is not None:
        kind, why = told
        tail = "" if message.get("says_all") else tail
    else:
        if message["event"] != "ended":
            why = _no_answer(message)
        if last := worker.log_tail(lines=1):
            why += f": {last}"
        if killer := memory_killer(returncode):
            why += f"; {killer}: use a machine with more memory, or a smaller model"
    return EngineError(kind, f"{where}: {why}", log=str(job.log), log_tail=tail, refused=why)


def score(
    worker: WorkerProcess, job: Job, left: dict[str, Item], phase: str, check: HandedOver
) -> Generator[Event, None, Ending | None]:
    """Score the items in ``left``, which loses each as its `Scored` or `Failed` is yielded.

    An answer that ``check`` finds not to fit its request is a `Failed`, and none of its rows are left.

    Returns None when the batch came to its end, else what broke it off. Unless the ending ``lives_on``, the
    worker is dead then.
    """
    began = time.monotonic()
    worker.send({"do": "score", "batch": [[key, request_to_json(request)] for key, request in left.values()]})
    yield Progress(phase, 0, 0, 0.0)
    while True:
        # An engine may tell all outcomes of a batch together, so each case in hand has its time.
        limit = job.case_seconds * max(1, len(left))
        message = worker.receive(min(_TICK_SECONDS, _left(worker.heard, limit)))
        if message is None:
            if _left(worker.heard, limit) > 0:
                yield Progress(phase, 0, 0, time.monotonic() - began)
                continue
            worker.dump_stacks()
            worker.kill()
            what = f"nothing was heard for {job.case_seconds:g} s"
            if len(left) > 1:
                what = f"no answer came for {len(left)} cases within {len(left)} × {job.case_seconds:g} s"
            return _ending(worker, job, ErrorKind.TIMEOUT, what)
        if message["event"] == "scored":
            return None
        if message["event"] == "raised" and (told := _told(message)) is not None:
            what = f"the engine raised {told[1]}"
            return Ending(kind=told[0], what=what, log_tail=worker.log_tail(), lives_on=True)
        outcome = _outcome(message, left, worker, job, check)
        if outcome is None:
            returncode = worker.kill(grace=_EXIT_SECONDS)
            what = f"the worker {how_it_ended(returncode)}"
            if message["event"] != "ended":
                what = _no_answer(message)
            return _ending(worker, job, ErrorKind.CRASH, what, returncode)
        del left[outcome.key]
        yield outcome


def trace(worker: WorkerProcess, job: Job, order: Mapping[str, Json], file: Path) -> Mapping[str, Json]:
    """Have one case traced into ``file``; returns what is told about the traced model.

    Raises EngineError: that of the engine, which lives on; TIMEOUT or CRASH, after which the worker is dead.
    """
    worker.send({"do": "trace", "order": order, "file": str(file)})
    while (message := worker.receive(min(_TICK_SECONDS, _left(worker.heard, job.case_seconds)))) is None:
        if _left(worker.heard, job.case_seconds) <= 0:
            worker.dump_stacks()
            worker.kill()
            what = f"nothing was heard for {job.case_seconds:g} s"
            raise _ending(worker, job, ErrorKind.TIMEOUT, what).error(job, "while this case was traced")
    if message["event"] == "raised" and (told := _told(message)) is not None:
        raise EngineError(*told, log=str(job.log), log_tail=worker.log_tail())
    about = message.get("about")
    if message["event"] != "traced" or not isinstance(about, dict):
        returncode = worker.kill(grace=_EXIT_SECONDS)
        what = (
            f"the worker {how_it_ended(returncode)}" if message["event"] == "ended" else _no_answer(message)
        )
        ending = _ending(worker, job, ErrorKind.CRASH, what, returncode)
        raise ending.error(job, "while this case was traced")
    return about


def _left(since: float, seconds: float) -> float:
    return since + seconds - time.monotonic()


def _told(message: Message) -> tuple[ErrorKind, str] | None:
    """The kind and the words of a failure; None where the message does not have both."""
    kind, words = message.get("kind"), message.get("message")
    return (
        (ErrorKind(str(kind)), readable(words)) if kind in [*ErrorKind] and isinstance(words, str) else None
    )


def _no_answer(message: Message) -> str:
    return f"something other than an answer came from the worker: {str(message)[:200]!r}"


def _outcome(
    message: Message, left: Mapping[str, Item], worker: WorkerProcess, job: Job, check: HandedOver
) -> Scored | Failed | None:
    try:
        if message["event"] == "answer":
            key, request = left[message["key"]]
            answer = believed(message["answer"])
            misfit = check.misfit(key, request, answer, message["request"])
            if misfit is None:
                return Scored(key, answer)
            if job.rows is not None:
                forget_rows(job.rows, key)
            return Failed(key, EngineError(*misfit, log=str(job.log), log_tail=worker.log_tail()))
        if message["event"] == "failure" and message["key"] in left and (told := _told(message)):
            return Failed(message["key"], EngineError(*told, log=str(job.log), log_tail=worker.log_tail()))
    except (KeyError, TypeError, RecordingError):
        pass
    return None


def _ending(
    worker: WorkerProcess, job: Job, kind: ErrorKind, what: str, returncode: int | None = None
) -> Ending:
    if job.rows is not None:
        sweep_unfinished(job.rows, worker.pid)
    return Ending(kind=kind, what=what, log_tail=worker.log_tail(), returncode=returncode)
