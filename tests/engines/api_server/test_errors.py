"""Every error of the engine ``api``: what, where, found, allowed, next command."""

from __future__ import annotations

import socket
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.engines.api_server import client
from harness.engines.api_server.engine import load
from harness.engines.contract import Answer, EngineSettings, Failure
from harness.errors import EngineError, ErrorKind
from tests.engines.api_server.asking import ASK, engine, refusal
from tests.engines.api_server.stand_in_server import StandIn, serving


def test_nobody_listens(server: StandIn) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    error = refusal(server, url=f"http://127.0.0.1:{port}")
    assert error.kind is ErrorKind.LOAD
    assert f"curl http://127.0.0.1:{port}/v1/models" in error.message


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"status": {"/v1/models": 404}}, "Is url the part before /v1?"),
        ({"status": {"/v1/models": 500}}, "status 500, planted failure. See the server's own log"),
        ({"bodies": {"/v1/models": b"<html>hello</html>"}}, "no list of models: <html>hello</html>"),
        ({"status": {"/health": 503}}, "/health: status 503"),
        ({"status": {"/v1/chat/completions": 404}}, "Is the path right"),
        ({"bodies": {"/v1/models": b"[" * 100_000}}, "no list of models: [[["),
        ({"bodies": {"/v1/models": b'{"data": [5]}'}}, "no list of models"),
        (
            {
                "bodies": {
                    "/v1/chat/completions": b'{"choices": [{"logprobs": {"content": [{}]}, "message": {}}]}'
                }
            },
            "its log-probabilities cannot be read: KeyError",
        ),
        (
            {"bodies": {"/v1/chat/completions": b'{"choices": [{"message": {"content": 5}}]}'}},
            "but no chat completion came",
        ),
        ({"bodies": {"/v1/chat/completions": b"ready"}}, "but no chat completion came: ready"),
        ({"bodies": {"/v1/chat/completions": b'{"choices": []}'}}, "but no chat completion came"),
        ({"logprobs": False}, "not enabled logprobs_mode"),
        ({"entries": 1}, "LMDeploy's TurboMind gives no others under greedy decoding"),
        ({"redirect": "http://127.0.0.2:1"}, "a redirect to http://127.0.0.2:1/v1/models"),
        ({"key": "k"}, "It wants a key: options.key_env"),
    ],
)
def test_a_server_that_will_not_do_is_refused_at_once(changes: dict[str, Any], said: str) -> None:
    with serving(StandIn(**changes)) as server:
        error = refusal(server)
        assert error.kind is ErrorKind.LOAD
        assert said in error.message
        assert server.url in error.message


def test_a_server_that_ignores_logprobs_is_told_how_to_give_them(server: StandIn) -> None:
    server.bodies["/v1/chat/completions"] = b'{"choices": [{"message": {"content": "B"}, "logprobs": null}]}'
    assert "--logprobs-mode raw_logprobs" in refusal(server).message


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('[{"token": "B"}]', "its log-probabilities cannot be read: KeyError"),
        ('[{"token": "B", "logprob": 0.7, "top_logprobs": []}]', "found 0.7 among the log-probabilities"),
        ('[{"token": "B", "logprob": null, "top_logprobs": []}]', "TypeError"),
        ("[]", "no log-probabilities came"),
        ("[5]", "its log-probabilities cannot be read: TypeError"),
        ('[{"token": "B", "logprob": -1, "top_logprobs": null}]', "cannot be read: TypeError"),
        ('[{"token": "B", "logprob": -1, "bytes": [999], "top_logprobs": []}]', "cannot be read: ValueError"),
        ("[" * 100_000, "no chat completion came"),
    ],
)
def test_answers_that_cannot_be_right_fail_their_case(server: StandIn, content: str, said: str) -> None:
    loaded = engine(server)
    body = f'{{"choices": [{{"message": {{"content": "B"}}, "logprobs": {{"content": {content}}}}}]}}'
    server.bodies["/v1/chat/completions"] = body.encode()
    ((_, found),) = loaded.score([ASK])
    assert isinstance(found, Failure)
    assert said in found.message


@pytest.mark.parametrize("status", [400, 401, 404, 500])
def test_a_status_that_means_something_is_not_tried_again(server: StandIn, status: int) -> None:
    loaded = engine(server)
    server.status["/v1/chat/completions"] = status
    before = server.hits
    ((_, found),) = loaded.score([ASK])
    assert isinstance(found, Failure)
    assert f"status {status}, planted failure" in found.message
    # 500 may be LMDeploy's for an id without a token: once more, with a single entry.
    assert server.hits - before == (2 if status == 500 else 1)


def test_a_busy_server_is_asked_again_after_what_it_says(server: StandIn) -> None:
    loaded = engine(server)
    server.busy = 2
    ((_, found),) = loaded.score([ASK])
    assert isinstance(found, Answer)


def test_a_server_that_stays_busy_fails_the_case_in_the_end(server: StandIn) -> None:
    loaded = engine(server)
    server.busy = 100
    ((_, found),) = loaded.score([ASK])
    assert isinstance(found, Failure)
    assert "status 503" in found.message
    assert server.busy == 96  # four attempts


def test_a_connection_that_breaks_off_is_tried_again_and_not_for_ever(server: StandIn) -> None:
    loaded = engine(server)
    server.drop = 2
    ((_, found),) = loaded.score([ASK])
    assert isinstance(found, Answer)
    server.drop = 100
    with pytest.raises(EngineError) as caught:
        list(loaded.score([ASK]))
    assert caught.value.kind is ErrorKind.CRASH
    assert "the connection broke off" in caught.value.message
    assert server.drop == 96


def test_an_answer_without_an_end_is_not_waited_for(server: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = engine(server, timeout=1.0)
    server.bodies["/v1/chat/completions"] = b"x" * 1001
    with monkeypatch.context() as patch:
        patch.setattr(client, "_LARGEST", 1000)
        ((_, found),) = loaded.score([ASK])
    assert isinstance(found, Failure)
    assert "found an answer of more than 1,000 bytes" in found.message
    server.drip = 0.01  # a byte at a time, each well within the time
    ((_, found),) = loaded.score([ASK])
    assert isinstance(found, Failure)
    assert found.kind is ErrorKind.TIMEOUT


def test_a_slow_server_times_out_and_is_not_asked_again(server: StandIn) -> None:
    loaded = engine(server, timeout=0.5)
    server.slow = 2.0
    before = server.hits
    ((_, found),) = loaded.score([ASK])
    assert isinstance(found, Failure)
    assert found.kind is ErrorKind.TIMEOUT
    assert "Raise options.timeout" in found.message
    assert server.hits == before + 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"top_k": 0}, "top_k: found 0"),
        ({"serve": True}, "found both or neither of url and serve"),
        ({"url": None}, "found both or neither of url and serve"),
        (
            {"max_pixels": 9000},
            "max_pixels: found 9000; allowed: none; a server keeps to its",
        ),
    ],
)
def test_settings_that_it_cannot_honour(server: StandIn, changes: dict[str, Any], said: str) -> None:
    error = refusal(server, **changes)
    assert error.kind is ErrorKind.UNSUPPORTED
    assert said in error.message


def test_a_server_for_a_gpu_is_not_started_without_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cuda = SimpleNamespace(is_available=lambda: False)
    torch = SimpleNamespace(cuda=cuda, __version__="0")  # a stand-in
    monkeypatch.setitem(sys.modules, "torch", torch)
    asked = EngineSettings(
        kind="api",
        model=str(tmp_path),
        dtype="float16",
        device="cuda",
        paths=("chat",),
        top_k=5,
        batch_size=1,
        options={"serve": True},
    )
    with pytest.raises(EngineError, match="no NVIDIA GPU visible"):
        load(asked)
    with pytest.raises(EngineError, match="there is no model folder"):
        load(replace(asked, model=str(tmp_path / "gone")))
