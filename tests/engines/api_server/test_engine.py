"""The engine ``api`` against a stand-in of a server: what it asks and what it reads."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from harness.engines.codec import request_digest
from harness.engines.contract import Answer, Failure, Request
from harness.errors import ErrorKind
from tests.engines.api_server.asking import ASK, answer, engine, refusal, score
from tests.engines.api_server.stand_in_server import StandIn


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
    assert found.request == request_digest(ASK)


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


def test_of_a_warm_prefix_cache_the_second_answer_counts(server: StandIn) -> None:
    engine(server, prefix_cache="cold")
    cold = len(server.asked)
    dict(engine(server, prefix_cache="cold").score([ASK]))
    assert len(server.asked) == 2 * cold + 1
    before = len(server.asked)
    dict(engine(server, prefix_cache="warm").score([ASK]))
    assert len(server.asked) == before + cold + 2
    assert server.asked[-1]["messages"] == server.asked[-2]["messages"]


def test_a_prefix_cache_that_the_server_turned_off_is_refused(server: StandIn) -> None:
    server.cached = 0
    error = refusal(server, prefix_cache="warm")
    assert error.kind is ErrorKind.UNSUPPORTED
    assert "LMDeploy turned prefix caching off for some/model" in error.message
    server.cached = 64
    engine(server, prefix_cache="warm")


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
