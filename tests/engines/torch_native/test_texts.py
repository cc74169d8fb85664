"""The engine ``torch`` on texts that are accepted: both paths force them, whatever the model writes."""

from __future__ import annotations

import math
from typing import Any

import pytest

from harness.engines.contract import Answer, Failure, Request
from tests.engines.torch_native.asking import EMBEDDED, NOISE, answers_of, request_of, settings_of

PICTURE = EMBEDDED.parents[1] / "images" / "yellow-circle-top-left.png"
PROMPT = "What colour is it?\nA. yellow\nB. blue\nC. green\nD. red\nAnswer in the form 'Answer: X'."


def asked(case: str, target: str, **changes: Any) -> Request:
    plain = {"letters": (), "kind": Request.TEXT, "target": target}
    return request_of(case, PROMPT, image=str(PICTURE), **plain, **changes)


@pytest.fixture(scope="module")
def answers(embedded: Any) -> dict[str, Any]:
    """What the embedded model writes to its question is 'Answer: A'."""
    requests = [
        asked("right", "Answer: A"),
        asked("wrong", "Answer: B"),
        asked("short", "Answer:"),
        asked("long", "Answer: A. red"),
        asked("more", "Answer: A", max_new_tokens=9),
        asked("few", "Answer: A", max_new_tokens=1),
    ]
    return answers_of(embedded, requests)


@pytest.mark.parametrize(
    ("case", "picked", "instead"),
    [
        ("right", [True, True, True, True], None),
        ("wrong", [True, True, False, True], " A"),
        ("short", [True, True, False], " A"),
        ("long", [True, True, True, False], "<|im_end|>"),
        ("more", [True, True, True, True], None),
        ("few", [True, True, True, True], None),
    ],
)
def test_each_token_is_scored_on_both_paths(
    answers: dict[str, Answer], case: str, picked: list[bool], instead: str | None
) -> None:
    answer = answers[case]
    assert isinstance(answer, Answer), answer
    one, other = answer.readings
    assert [reading.path for reading in answer.readings] == ["forward", "generate"]
    assert [score.picked for score in one.target][: len(picked)] == picked
    assert len(one.target) == len(answer.target_ids) + 1
    for a, b in zip(one.target, other.target, strict=True):
        assert a.logprob == pytest.approx(b.logprob, abs=NOISE)
    assert one.letter_logits[0] == pytest.approx(math.fsum(score.logprob for score in one.target), rel=1e-6)
    first = next((score for score in one.target if not score.picked), None)
    assert (None if first is None else answer.token_texts[first.rival]) == instead


def test_what_is_written_does_not_depend_on_what_is_accepted(answers: dict[str, Answer]) -> None:
    assert {case: answer.text for case, answer in answers.items() if case != "few"} == dict.fromkeys(
        ("right", "wrong", "short", "long", "more"), "Answer: A"
    )
    assert answers["few"].text == "Answer"


@pytest.mark.parametrize("path", ["forward", "generate"])
def test_a_path_alone_forces_the_text(embedded: Any, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.setattr(embedded, "_settings", settings_of(EMBEDDED, paths=[path]))
    answer = answers_of(embedded, [asked("wrong", "Answer: B")])["wrong"]
    assert [reading.path for reading in answer.readings] == [path]
    assert len(answer.readings[0].target) == 4


def test_a_model_without_a_stop_token_says_so(embedded: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded._passes._prompts, "_stop_ids", ())
    failure = answers_of(embedded, [asked("right", "Answer: A")])["right"]
    assert isinstance(failure, Failure)
    assert "no stop token" in failure.message
