"""Keys of servers are sent, and nothing tells them."""

from __future__ import annotations

import pytest

from harness.engines.contract import Failure, Outcome
from harness.errors import ErrorKind
from tests.engines.api_server.asking import ASK, engine, refusal
from tests.engines.api_server.stand_in_server import StandIn, serving

SECRET = "sk-planted-0123456789"


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
