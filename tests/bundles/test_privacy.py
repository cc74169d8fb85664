"""What is taken out of texts and data, and what is left alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.bundles.privacy import Private


@pytest.fixture
def private(monkeypatch: pytest.MonkeyPatch) -> Private:
    monkeypatch.setenv("HOME", "/home/ann")
    environ = {
        "HF_TOKEN": "hf_abcdefgh",
        "SHORT_KEY": "abc",
        "SSH_KEY": "/home/ann/.ssh/id",
        "LANG": "C.UTF-8x",
    }
    models = ["/home/ann/models/big", "org/hub", "/home/ann/models/big", "/data/next"]
    return Private(models=models, folder=Path("/home/ann/work/cases"), environ=environ)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("cannot read /home/ann/models/big/config.json", "cannot read <model>/config.json"),
        ("/data/next", "<model-2>"),
        ("/home/ann/models/bigger", "~/models/bigger"),
        ("'/home/ann/work/cases/a.yaml'", "'<cases>/a.yaml'"),
        ("HOME=/home/ann", "HOME=~"),
        ("log: /var/log/deep/x.log", "log: <path>/x.log"),
        ("the token hf_abcdefgh was refused", "the token <HF_TOKEN> was refused"),
        ("https://ann:pw@host/simple", "https://host/simple"),
    ],
)
def test_a_place_or_a_secret_is_taken_out(private: Private, text: str, left: str) -> None:
    assert private.text(text) == left
    assert private.data({"a": [text, {text: 1}]}) == {"a": [left, {left: 1}]}


@pytest.mark.parametrize(
    "text",
    [
        "and/or",
        "1/2",
        "org/hub",
        "models/embedded",
        "https://host/a/b/c",
        "abc",
        "<b>x</b>",
        "a:/b",
        "C.UTF-8x",
        "/",
    ],
)
def test_what_is_neither_stays(private: Private, text: str) -> None:
    assert private.text(text) == text


def test_fields_that_are_named_as_secrets_lose_their_value(private: Private) -> None:
    data = {"api_key": "x", "db-password": "y", "max_tokens": 3, "image_token": "<img>", "secret": 7}
    assert private.data(data) == {**data, "api_key": "<removed>", "db-password": "<removed>"}


def test_what_must_stay_as_it_is_tells_its_line(private: Private) -> None:
    assert private.line_in("a\n# from /home/ann/x\n") == 2
    assert private.line_in("a\nb\nhf_abcdefgh") == 3
    assert private.line_in("see /var/log/deep/x.log") is None  # what was asked may speak of any path
