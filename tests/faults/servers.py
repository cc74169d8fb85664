"""Servers that answer garbage, slowly, never, or that they are busy."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import yaml

from tests.engines.api_server.stand_in_server import StandIn, serving
from tests.faults.ground import Ground, experiment

_CHAT = "/v1/chat/completions"
_REAL = "the server; the harness's client is the real one"


def _asked(ground: Ground, url: str, says: str, *, load: float = 20, case: float = 3, passed: int = 0) -> str:
    """Two cases of a server's: nothing passes that has no answer, and what is wrong is told."""
    engines = {"api": {"kind": "api", "top_k": 4, "options": {"url": url}}}
    profile = {"model": "stand-in", "dtype": "float32", "reference": "api", "engines": engines}
    deadlines = {"deadlines": {"load": load, "case": case}}
    (ground.cases / "profiles.yaml").write_text(yaml.safe_dump({"profiles": {"p": {**profile, **deadlines}}}))
    ground.write_suite("say A 0", "say A 1")
    ran = ground.pytest("-q", "-k", "expected_letter")
    return ground.expect(ran, status=1, says=[says], error=2 - passed, passed=passed, failed=0, kept=passed)


def _standing_in(**behaviour: Any) -> StandIn:
    return StandIn(generated=["A"], top={"A": 0.9, "B": 0.05, "C": 0.01, "x": 0.001}, **behaviour)


@contextmanager
def _listening(says: bytes) -> Iterator[str]:
    """Something that takes connections, writes ``says`` and no more, and leaves them open."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        held: list[socket.socket] = []

        def take() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                    held.append(connection)
                    connection.sendall(says)
                except OSError:
                    return

        threading.Thread(target=take, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            for connection in held:
                connection.close()


@experiment("server: nobody listens", "ERROR of all cases, told once, with the command that looks")
def nobody(ground: Ground) -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    return _asked(ground, f"http://127.0.0.1:{port}", "Connection refused")


@experiment("server: its port is taken by another program", "ERROR of all cases, told once")
def port_taken(ground: Ground) -> str:
    with _listening(b"SSH-2.0-OpenSSH_9.2\r\n") as url:
        return _asked(ground, url, url.removeprefix("http://"))


@experiment("server: garbage in place of JSON", "ERROR of each case; nothing is kept", stand_in=_REAL)
def garbage(ground: Ground) -> str:
    with serving(_standing_in(bodies={_CHAT: b"\xff\xfe<html>oops"})) as server:
        return _asked(ground, server.url, _CHAT)


@experiment("server: never answers", "ERROR at the deadline", stand_in=_REAL)
def never(ground: Ground) -> str:
    with _listening(b"") as url:
        return _asked(ground, url, "no answer within 3 s")


@experiment("server: too slow for the deadline", "ERROR of each case at the deadline", stand_in=_REAL)
def slow(ground: Ground) -> str:
    with serving(_standing_in(slow=30.0)) as server:
        started = time.monotonic()
        seen = _asked(ground, server.url, "3 s", case=3, load=40)
        assert time.monotonic() - started < 80
        return seen


@experiment("server: 429 to every request", "ERROR of each case, which says so", stand_in=_REAL)
def always_busy(ground: Ground) -> str:
    with serving(_standing_in(status={_CHAT: 429})) as server:
        return _asked(ground, server.url, "429", case=6)


@experiment("server: 503 to every request", "ERROR of each case, which says so", stand_in=_REAL)
def unavailable(ground: Ground) -> str:
    with serving(_standing_in(status={_CHAT: 503})) as server:
        return _asked(ground, server.url, "503", case=6)


@experiment("server: breaks off twice, then answers", "asked again; all is answered", stand_in=_REAL)
def breaks_off(ground: Ground) -> str:
    with serving(_standing_in(drop=2)) as server:
        ground.write_suite("say A 0")
        engines = {"api": {"kind": "api", "top_k": 4, "options": {"url": server.url}}}
        profile = {"model": "stand-in", "dtype": "float32", "reference": "api", "engines": engines}
        (ground.cases / "profiles.yaml").write_text(yaml.safe_dump({"profiles": {"p": profile}}))
        ran = ground.pytest("-q", "-k", "expected_letter")
        return ground.expect(ran, status=0, says=["passed"], passed=1)
