"""What is heard of others: workers, the parent that speaks to one, and servers."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from harness.engines.api_server.client import Client, Reply
from harness.engines.api_server.engine import ApiServer
from harness.engines.codec import (
    answer_to_json,
    request_digest,
    request_from_json,
    request_to_json,
    settings_from_json,
    settings_to_json,
)
from harness.engines.contract import EngineSettings, Request
from harness.errors import EngineError, RecordingError
from harness.workers import conversation
from harness.workers.events import Failed, Job, Loaded, Scored
from harness.workers.handed_over import HandedOver
from harness.workers.protocol import Lines, decode, encode
from tests.fuzz.ground import HOSTILE, deep, need, target
from tests.recordings.recording_data import answer

SETTINGS = EngineSettings(
    kind="torch", model="m", dtype="float32", device="cpu", paths=(), top_k=2, batch_size=2
)
REQUEST = Request(case="s.a", prompt="Which?", letters=("A", "B", "C", "D"))


class _Worker:
    """Says the lines that it was given, and then that it has ended."""

    pid = 1

    def __init__(self, lines: list[bytes]) -> None:
        self._lines = iter(lines)
        self.started = self.heard = math.inf

    def send(self, message: Any) -> None:
        encode(message)

    def receive(self, seconds: float) -> Any:
        line = next(self._lines, None)
        return {"event": "ended"} if line is None else decode(line)

    def kill(self, *, grace: float = 0.0) -> int:
        return 1

    def dump_stacks(self) -> None:
        """Has none."""

    def log_tail(self, *, lines: int = 15) -> str:
        return ""


def _message(**more: Any) -> bytes:
    return json.dumps(more).encode()


def _worker_seeds() -> Iterator[bytes]:
    loaded = _message(event="loaded", fingerprint={"device": "cpu"})
    own = request_digest(REQUEST)
    good = answer_to_json(answer(words=6, image=4))
    told = _message(event="answer", key="k0", answer=good, request=own)
    yield b"\n".join(
        [
            loaded,
            told,
            _message(event="failure", key="k1", kind="failed", message="no"),
            _message(event="scored"),
        ]
    )
    for change in (
        {"g": ["a"]},
        {"t": 5},
        {"s": True},
        {"p": [[7, 10**12]]},
        {"l": [1.5, 2, 3, 4]},
        {"n": ["nan"]},
        {"w": {"a": "x"}},
    ):
        yield b"\n".join([loaded, _message(event="answer", key="k0", answer={**good, **change}, request=own)])
    firsts: list[dict[str, Any]] = [{}, {"event": "loaded"}, {"event": "refused"}, {"event": []}]
    for first in (*firsts, {"event": "loaded", "fingerprint": 5}):
        yield _message(**first)
    yield _message(event="refused", kind="nothing", message=5, says_all="x")
    for then in (
        {"key": ["k0"]},
        {"key": "k0", "kind": "failed"},
        {"key": "k9", "kind": "failed", "message": "m"},
        {"key": "k0", "kind": "failed", "message": 5},
    ):
        yield b"\n".join([loaded, _message(event="failure", **then)])
    yield from (
        b"\n".join([loaded, _message(event=event)]) for event in ("raised", "answer", "traced", "scored")
    )
    yield from (loaded + b"\n" + deep(), loaded + b'\n{"event": ' + b"9" * 5000 + b"}")


@target(
    "worker",
    "harness.workers.conversation",
    "harness.workers.handed_over",
    "harness.workers.protocol",
    seeds=_worker_seeds,
)
def worker(data: bytes, folder: Path) -> None:
    """One outcome at most for each request, whatever the worker says, and text where text is promised."""
    job = Job(python="python", settings=SETTINGS, load_seconds=1, case_seconds=1, log=folder / "log")
    requests = [("k0", REQUEST), ("k1", Request(case="s.b", prompt="Who?", letters=("A", "B")))]
    said: Any = _Worker(data.split(b"\n"))
    for event in conversation.load(said, job):
        if isinstance(event, Loaded):
            need(isinstance(event.fingerprint, dict), "a fingerprint that is none")
            break
    else:
        return
    left, seen = {key: (key, request) for key, request in requests}, []
    for event in conversation.score(
        said, job, left, "scoring", HandedOver(job, [one for _, one in requests])
    ):
        if isinstance(event, Scored | Failed):
            seen.append(event.key)
        if isinstance(event, Scored):
            need(isinstance(event.answer.text, str), "a text that is none")
            json.dumps(answer_to_json(event.answer), allow_nan=False)
        if isinstance(event, Failed):
            need(isinstance(event.error.message, str) and event.error.first_line, "no words")
    need(len(seen) == len(set(seen)) and set(seen) <= {"k0", "k1"}, f"outcomes of {seen}")
    try:
        conversation.trace(said, job, {"case": "s.a"}, folder / "trace")
    except EngineError as error:
        need(error.first_line, "no words")


def _protocol_seeds() -> Iterator[bytes]:
    yield _message(do="load", settings=settings_to_json(SETTINGS), patch=None, rows=None)
    yield _message(do="score", batch=[["k", request_to_json(REQUEST)]]) + b"\n" + _message(do="close") + b"\n"
    yield from (
        deep() + b"\n\n{}",
        b'{"do":"x"}\n' * 9,
        b"\xff\n\x00",
        b'{"do":"score","batch":[[1,{"letters":5,"images":[]}]]}',
    )


@target("protocol", "harness.workers.protocol", "harness.engines.codec", seeds=_protocol_seeds)
def protocol(data: bytes, folder: Path) -> None:
    """Lines come whole however they are cut; a message is one or is garbled; orders are read or refused."""
    size = data[0] % 16 + 1 if data else 1
    lines = Lines()
    found = [line for at in range(0, len(data), size) for line in lines.feed(data[at : at + size])]
    need(found == data.split(b"\n")[:-1], "other lines")
    for line in data.split(b"\n"):
        message = decode(line)
        need("event" in message or "do" in message, "no message")
        batch = message.get("batch")
        given = (
            [pair[1] for pair in batch if isinstance(pair, list) and len(pair) == 2]
            if isinstance(batch, list)
            else []
        )
        for read, write, each in (
            *((request_from_json, request_to_json, one) for one in given),
            (settings_from_json, settings_to_json, message.get("settings")),
        ):
            try:
                value: Any = read(each)
                need(read(write(value)) == value, "otherwise when sent again")  # type: ignore[operator]
            except RecordingError:
                continue


class _Server:
    """In a client's place: replies are made of the texts given, as the client makes them."""

    url = "http://server"

    def __init__(self, texts: list[bytes]) -> None:
        self._texts = texts
        self._client = Client.__new__(Client)
        self._client._key = None  # type: ignore[misc]
        self._at = 0

    def get(self, path: str) -> Reply:
        return self._next()

    def post(self, path: str, body: Any) -> Reply:
        json.dumps(body)
        return self._next()

    def _next(self) -> Reply:
        text = self._texts[min(self._at, len(self._texts) - 1)]
        self._at += 1
        status = 200
        if text[:1] == b"!" and text[1:4].isdigit():
            status, text = int(text[1:4]), text[4:]
        found: Any = SimpleNamespace(status_code=status, encoding="utf-8", headers={"server": HOSTILE})
        return self._client._reply(found, text)

    def close(self) -> None:
        """Holds nothing."""


def _server_seeds() -> Iterator[bytes]:
    models = _message(data=[{"id": "m"}])
    top = [{"token": "A", "logprob": -0.1, "bytes": [65]}, {"token": "B", "logprob": -2.5, "bytes": [66]}]
    content: list[Any] = [{**top[0], "top_logprobs": top}]

    def reply(**more: Any) -> bytes:
        choice = {"message": {"content": "A"}, "logprobs": {"content": content}, **more}
        return _message(choices=[choice], usage={"prompt_tokens": 5})

    start = [models, b"", _message(version="1")]
    yield b"\n".join([*start, reply(), reply()])
    bads: list[Any] = [[{}], [{**top[0], "top_logprobs": None}], [5], {"a": 1}, "x"]
    for bad in (*bads, [{"token": 5, "logprob": 1, "top_logprobs": []}]):
        yield b"\n".join([*start, reply(), reply(logprobs={"content": bad})])
        yield b"\n".join([*start, reply(logprobs={"content": bad})])
    for odd in (
        {"message": {"content": 5}},
        {"message": None},
        {"logprobs": 5},
        {"logprobs": {"content": [{**content[0], "bytes": [999]}]}},
    ):
        yield b"\n".join([*start, reply(), reply(**odd)])
    yield b"\n".join(
        [*start, reply(), _message(choices=[{"message": {"content": "A"}}], usage={"prompt_tokens": "1e999"})]
    )
    yield from (
        b"\n".join([*start, reply(), text])
        for text in (deep(), b"!429{}", b"!500" + HOSTILE[:30].encode(), b"9" * 5000, b"null")
    )
    yield from (
        deep(),
        b"[]",
        _message(data=[5]),
        _message(data=[{"id": ["x"]}]),
        b"!404",
        b"\n".join([models, b"", deep()]),
    )


@target(
    "server",
    "harness.engines.api_server.answers",
    "harness.engines.api_server.tokens",
    "harness.engines.api_server.limits",
    "harness.engines.readings",
    seeds=_server_seeds,
)
def server(data: bytes, folder: Path) -> None:
    """An answer that can be handed over, a failure in words, or an error of the engine."""
    settings = EngineSettings(
        kind="api", model="m", dtype="float32", device="cpu", paths=(), top_k=2, batch_size=1
    )
    client: Any = _Server(data.split(b"\n"))
    try:
        engine = ApiServer(settings, client, None)
        json.dumps(engine.fingerprint(), allow_nan=False)
        for outcome in engine.score([REQUEST]):
            result: Any = outcome.result
            if hasattr(result, "message"):
                need(isinstance(result.message, str) and result.message, "no words")
            else:
                encode(answer_to_json(result))
                job = Job(python="p", settings=settings, load_seconds=1, case_seconds=1, log=folder / "log")
                HandedOver(job, [REQUEST]).misfit("k", REQUEST, result, request_digest(REQUEST))
    except EngineError as error:
        need(error.first_line, "no words")
