"""A worker that says anything but what was agreed: one outcome for each case, in words, and no traceback."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from harness.engines.codec import answer_to_json, request_digest
from harness.engines.contract import EngineSettings, Request
from harness.errors import EngineError, ErrorKind
from harness.workers import conversation, process
from harness.workers.endings import Ending
from harness.workers.events import Event, Failed, Job
from harness.workers.handed_over import HandedOver
from tests.recordings.recording_data import answer
from tests.workers.conftest import Workers

REQUEST = Request(case="s.a", prompt="Which?", letters=("A", "B", "C", "D"))
SETTINGS = EngineSettings(
    kind="torch", model="m", dtype="float32", device="cpu", paths=(), top_k=2, batch_size=1
)
GOOD: Mapping[str, Any] = answer_to_json(answer(words=6, image=4))
OWN = request_digest(REQUEST)


class Says:
    """In a worker's place: says ``messages``, then nothing more."""

    pid, started, heard = 1, math.inf, math.inf

    def __init__(self, *messages: Mapping[str, Any]) -> None:
        self.messages = [*messages, {"event": "ended"}]

    def receive(self, seconds: float) -> Mapping[str, Any]:
        return self.messages.pop(0)

    def send(self, message: Mapping[str, Any]) -> None:
        """Is not heard."""

    def kill(self, *, grace: float = 0.0) -> int:
        return 1

    def log_tail(self, *, lines: int = 15) -> str:
        return ""


def result(talk: Any) -> Any:
    """What a part of the conversation returns, with what it yielded before."""
    seen: list[Event] = []
    while True:
        try:
            seen.append(next(talk))
        except StopIteration as end:
            return seen, end.value


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(python="python", settings=SETTINGS, load_seconds=1, case_seconds=1, log=tmp_path / "log")


@pytest.mark.parametrize(
    "message",
    [
        {"event": "loaded"},
        {"event": "loaded", "fingerprint": [1]},
        {"event": "refused"},
        {"event": "refused", "kind": "load", "message": 5, "says_all": True},
        {"event": "refused", "kind": "nothing", "message": "m", "says_all": True},
        {"event": ["loaded"]},
    ],
)
def test_no_word_on_loading(job: Job, message: Mapping[str, Any]) -> None:
    worker: Any = Says(message)
    _, error = result(conversation.load(worker, job))
    assert error.kind is ErrorKind.LOAD
    assert "something other than an answer came from the worker: " in error.message


@pytest.mark.parametrize(
    "message",
    [
        *(
            {"event": "answer", "key": "k", "answer": {**GOOD, **change}, "request": OWN}
            for change in (
                {"t": 5},
                {"s": "x"},
                {"s": True},
                {"g": ["a", 1, 2]},
                {"l": [1.5, 2, 3, 4]},
                {"p": [[7, 10**12]]},
                {"p": [[7, "x"]]},
                {"p": 5},
                {"q": [1, "a", None, None]},
                {"r": [{**GOOD["r"][0], "path": 5}]},
                {"r": [{**GOOD["r"][0], "a": ["a"]}]},
                {"r": [{**GOOD["r"][0], "t": [[0], [0], [math.inf], [0], [1]]}]},
            )
        ),
        {"event": "answer", "key": "k", "answer": GOOD, "request": {}},
        {"event": "answer", "key": ["k"], "answer": GOOD, "request": OWN},
        {"event": "answer", "key": "k"},
        {"event": "failure", "key": "k"},
        {"event": "failure", "key": "k", "kind": "failed", "message": 5},
        {"event": "failure", "key": "k", "kind": ["failed"], "message": "m"},
        {"event": "failure", "key": "another", "kind": "failed", "message": "m"},
        {"event": "failure", "key": {}, "kind": "failed", "message": "m"},
        {"event": "raised"},
    ],
)
def test_no_word_on_a_case(job: Job, message: Mapping[str, Any]) -> None:
    worker: Any = Says(message)
    left = {"k": ("k", REQUEST)}
    seen, ending = result(conversation.score(worker, job, left, "scoring", HandedOver(job, [REQUEST])))
    assert len(seen) == len(left) == 1
    assert isinstance(ending, Ending)
    assert ending.kind is ErrorKind.CRASH
    assert "something other than an answer came from the worker: " in ending.what


@pytest.mark.parametrize(
    "message", [{"event": "raised"}, {"event": "traced", "about": 5}, {"event": "scored"}]
)
def test_no_word_on_a_trace(job: Job, message: Mapping[str, Any]) -> None:
    worker: Any = Says(message)
    with pytest.raises(EngineError, match="something other than an answer came") as caught:
        conversation.trace(worker, job, {"case": "s.a"}, job.log)
    assert caught.value.kind is ErrorKind.CRASH


def test_what_an_engine_says_does_nothing_to_a_terminal_or_a_service(job: Job) -> None:
    words = "\x1b]0;owned\x07no\n::error::memory"
    worker: Any = Says({"event": "failure", "key": "k", "kind": "failed", "message": words})
    left = {"k": ("k", REQUEST)}
    seen, _ = result(conversation.score(worker, job, left, "scoring", HandedOver(job, [REQUEST])))
    (failed,) = [event for event in seen if isinstance(event, Failed)]
    assert failed.error.message == "\\x1b]0;owned\\x07no\n:\\:error::memory"


def test_a_line_without_an_end_is_not_waited_for(workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_LONGEST_LINE", 100_000)
    found = workers.run("flood 3000000", "a", batch_size=1)
    assert sorted(found.answers) == [1]
    assert "more than 100000 bytes without an end" in found.error.message
