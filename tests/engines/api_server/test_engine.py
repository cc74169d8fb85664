"""The engine ``api`` against a stand-in of a server: what it asks, what it reads, and every error."""

from __future__ import annotations

import math
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from harness.engines.api_server import client as api_http
from harness.engines.api_server.engine import ApiServer, load
from harness.engines.contract import Answer, EngineSettings, Failure, Outcome, Request
from harness.errors import EngineError, ErrorKind
from tests.engines.api_server.stand_in_server import StandIn, serving

SECRET = "sk-planted-0123456789"
ASK = Request(case="s.a", prompt="Which?", letters=("A", "B", "C", "D"))


_loaded: list[ApiServer] = []


@pytest.fixture
def server() -> Iterator[StandIn]:
    with serving(StandIn()) as stand_in:
        yield stand_in


@pytest.fixture(autouse=True)
def closed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(api_http, "_FIRST_WAIT", 0.05)
    yield
    while _loaded:
        _loaded.pop().close()


def settings(server: StandIn, *, top_k: int = 5, batch_size: int = 4, **options: Any) -> EngineSettings:
    return EngineSettings(
        kind="api",
        model="some/model",
        dtype="float32",
        device="cpu",
        paths=("chat",),
        top_k=top_k,
        batch_size=batch_size,
        options={"url": server.url, "timeout": 5.0, **options},
    )


def engine(server: StandIn, **changes: Any) -> ApiServer:
    _loaded.append(load(settings(server, **changes)))
    return _loaded[-1]


def score(server: StandIn, *requests: Request, **changes: Any) -> dict[str, Answer | Failure]:
    return dict(engine(server, **changes).score(requests or [ASK]))


def answer(server: StandIn, request: Request = ASK, **changes: Any) -> Answer:
    result = score(server, request, **changes)[request.case]
    assert isinstance(result, Answer), result
    return result


def refusal(server: StandIn, **changes: Any) -> EngineError:
    with pytest.raises(EngineError) as caught:
        engine(server, **changes)
    return caught.value


def failure(server: StandIn, request: Request = ASK, **changes: Any) -> Failure:
    result = score(server, request, **changes)[request.case]
    assert isinstance(result, Failure), result
    return result


def test_letters_outside_the_top_are_bounded(server: StandIn) -> None:
    found = answer(server)
    (reading,) = found.readings
    assert (found.text, found.answer_step) == ("B", 0)
    assert reading.path == "chat"
    assert reading.letter_logits == (math.log(0.05), math.log(0.9), -math.inf, -math.inf)
    assert [math.exp(ceiling) for ceiling in reading.letter_ceilings] == pytest.approx(
        [0.05, 0.9, 0.004, 0.004]
    )
    assert reading.other_spellings == pytest.approx((0.0, 0.03, 0.0, 0.0))
    assert found.question.tokens == 52
    assert (found.prompt_ids, found.generated_ids, found.letter_ids) == ((), (), ())


def test_the_request_is_greedy_and_has_the_image_first(server: StandIn, tmp_path: Path) -> None:
    picture = Image.new("RGB", (4, 2), "red")
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter, which no other engine does
    picture.save(tmp_path / "a.png", exif=exif)
    answer(
        server, Request(case="s.a", prompt="Q", letters=("A",), system="S", images=(str(tmp_path / "a.png"),))
    )
    body = server.asked[-1]
    assert (body["temperature"], body["max_tokens"], body["logprobs"], body["top_logprobs"]) == (
        0,
        1,
        True,
        5,
    )
    assert body["model"] == "stand-in"
    assert body["messages"][0] == {"role": "system", "content": "S"}
    assert [part["type"] for part in body["messages"][1]["content"]] == ["image_url", "text"]
    sent = server.image()
    assert (sent.size, sent.mode, sent.getexif().get(0x0112)) == ((4, 2), "RGB", None)


def test_an_image_that_is_none_fails_its_case_only(server: StandIn, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("no picture")
    wrong = Request(case="s.b", prompt="Q", letters=("A",), images=(str(tmp_path / "a.png"),))
    results = score(server, ASK, wrong)
    assert isinstance(results["s.a"], Answer)
    assert isinstance(results["s.b"], Failure)
    assert "cannot be opened" in results["s.b"].message


@pytest.mark.parametrize("tokens_as", ["text", "byte-level"])
def test_the_letter_is_found_behind_its_prefix_and_what_follows_is_cut(
    server: StandIn, tokens_as: str
) -> None:
    server.tokens_as = tokens_as
    server.generated = ["Answer", ":", " B", ".", " Because"]
    found = answer(
        server, Request(case="s.a", prompt="Q", letters=("A", "B", "C", "D"), answer_prefix="Answer: ")
    )
    assert (found.text, found.answer_step) == ("Answer: B", 2)
    assert len(found.readings[0].logprobs) == 3
    assert found.readings[0].letter_logits[:2] == (math.log(0.05), math.log(0.9))


def test_a_model_that_does_not_write_the_prefix_has_no_answer_row(server: StandIn) -> None:
    server.generated = ["It", " is", " B"]
    found = answer(server, replace(ASK, answer_prefix="Answer: "))
    assert (found.text, found.answer_step, found.readings[0].log_z) == ("It is B", None, None)


def test_a_model_that_ends_its_turn_at_once(server: StandIn) -> None:
    loaded = engine(server)
    server.generated = []
    ((_, found),) = loaded.score([ASK])
    assert isinstance(found, Answer)
    assert (found.text, found.answer_step, found.readings) == ("", None, ())


@pytest.mark.parametrize("cap", [1, 4, 5])
def test_the_cap_is_found_out(server: StandIn, cap: int) -> None:
    server.cap = cap
    server.tokens_as = "byte-level" if cap > 1 else "text"
    loaded = engine(server, top_k=20)
    assert loaded.fingerprint()["top_logprobs"] == cap
    list(loaded.score([ASK]))
    assert server.asked[-1]["top_logprobs"] == cap


def test_no_more_than_the_cap_is_asked_for_again(server: StandIn) -> None:
    server.cap = 4
    loaded = engine(server, top_k=20)
    before = len(server.asked)
    list(loaded.score([ASK]))
    assert len(server.asked) == before + 1


def test_an_id_without_a_token_in_the_top_costs_entries_and_not_the_case(
    server: StandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    loaded = engine(server, top_k=6)
    server.padded = 4
    ((_, found),) = loaded.score([ASK])
    assert isinstance(found, Answer)
    assert found.readings[0].letter_logits[2] == -math.inf
    told = capsys.readouterr().err
    assert (
        "s.a: the server answered top_logprobs 6 with status 500 (Internal Server Error); 3 is the most"
        in told
    )


def test_requests_are_under_way_at_once(server: StandIn) -> None:
    server.slow = 0.3
    requests = [Request(case=f"s.{n}", prompt="Q", letters=("A", "B")) for n in range(8)]
    loaded = engine(server, batch_size=8)
    started = time.perf_counter()
    assert len(list(loaded.score(requests))) == 8
    assert time.perf_counter() - started < 1.5  # one by one it takes 2.4


def test_the_served_model(server: StandIn) -> None:
    assert engine(server).fingerprint()["served_model"] == "stand-in"
    assert engine(server, served_model="another").fingerprint()["served_model"] == "another"
    server.models = ["first", "some/model"]
    assert engine(server).fingerprint()["served_model"] == "some/model"  # the profile's
    error = refusal(server, served_model="gone")
    assert error.kind is ErrorKind.LOAD
    assert "found 'gone'; allowed: what" in error.message
    assert "first, some/model" in error.message


def test_a_server_without_a_list_of_models_needs_a_name(server: StandIn) -> None:
    server.status["/v1/models"] = 404
    assert "options.served_model" in refusal(server).message
    assert engine(server, served_model="another").fingerprint()["served_model"] == "another"


def test_a_url_with_v1_is_the_same(server: StandIn) -> None:
    assert engine(server, url=f"{server.url}/v1/").fingerprint()["device"] == f"server at {server.url}"


def test_what_the_server_says_of_itself_is_in_the_fingerprint(server: StandIn) -> None:
    told = engine(server).fingerprint()
    assert told["server"]["version"] == "0.0-stand-in"  # type: ignore[index, call-overload]
    assert told["models"] == ["stand-in", "another"]
    assert str(told["weights"]).startswith("not known")


# Errors: what, where, found, allowed, next command.


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
    ],
)
def test_settings_that_it_cannot_honour(server: StandIn, changes: dict[str, Any], said: str) -> None:
    error = refusal(server, **changes)
    assert error.kind is ErrorKind.UNSUPPORTED
    assert said in error.message


def test_a_server_for_a_gpu_is_not_started_without_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    torch = SimpleNamespace(cuda=SimpleNamespace(is_available=lambda: False))  # a stand-in
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


# Keys.


def test_the_key_is_sent_and_nothing_tells_it(
    server: StandIn, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PLANTED_KEY", SECRET)
    server.key = SECRET
    loaded = engine(server, key_env="PLANTED_KEY")
    outcomes: list[Outcome] = list(loaded.score([ASK]))
    assert set(server.keys) == {f"Bearer {SECRET}"}
    server.key = "another"  # the server repeats what it was sent
    outcomes += loaded.score([ASK])
    assert isinstance(outcomes[-1].result, Failure)
    assert "does not take the key in the environment variable PLANTED_KEY" in outcomes[-1].result.message
    assert "[key]" in outcomes[-1].result.message
    captured = capfd.readouterr()
    for told in (outcomes, loaded.fingerprint(), captured.out, captured.err):
        assert SECRET not in str(told)


def test_redirects_do_not_carry_the_key(server: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANTED_KEY", SECRET)
    with serving(StandIn()) as elsewhere:
        server.redirect = elsewhere.url
        assert "a redirect to" in refusal(server, key_env="PLANTED_KEY").message
        assert elsewhere.hits == 0


@pytest.mark.parametrize("value", [None, "", "two\nlines", "gehört"])
def test_a_key_that_cannot_be_one_is_named_and_not_shown(
    server: StandIn, monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    if value is None:
        monkeypatch.delenv("PLANTED_KEY", raising=False)
    else:
        monkeypatch.setenv("PLANTED_KEY", value)
    error = refusal(server, key_env="PLANTED_KEY")
    assert error.kind is ErrorKind.LOAD
    assert "PLANTED_KEY" in error.message
    assert not value or value not in error.message
