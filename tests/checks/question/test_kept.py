"""What is told of a prompt of which only hashes were kept."""

from __future__ import annotations

from typing import Any

import pytest

from harness.checks.question.causes import Cause
from harness.checks.question.kept import compare_kept
from harness.engines.contract import Answer, Question
from harness.recordings.fingerprint import rendered_of

TITLE = "the prompt was rendered differently than when this was accepted"
ASKED: dict[str, Any] = {"text": "a b", "tokens": 3, "tiles": 1, "pixels": "ab" * 32}


def rendered(ids: tuple[int, ...] = (1, 2, 3), **changes: Any) -> dict[str, Any]:
    answer = Answer(
        prompt_ids=ids,
        generated_ids=(1,),
        text="A",
        letter_ids=(1,),
        answer_step=0,
        readings=(),
        question=Question(**{**ASKED, **changes}),
    )
    return rendered_of(answer)


@pytest.mark.parametrize(
    ("now", "text"),
    [
        (rendered((1, 9, 3), text="a c"), "text differs; token ids differ"),
        (
            rendered((1, 9, 3, 4), text="a c", tokens=4),
            "text differs; token ids differ; 3 tokens then, 4 now",
        ),
        (rendered((1, 9, 3)), "token ids differ"),
        (rendered(tiles=2, pixels="cd" * 32), "1 tiles then, 2 now"),
    ],
)
def test_what_differs_is_named(now: dict[str, Any], text: str) -> None:
    (found,) = compare_kept(rendered(), now)
    assert (found.cause, found.title, found.text, found.note) == (Cause.ACCEPTED, TITLE, text, False)


def test_without_ids_text_and_length_tell() -> None:
    (found,) = compare_kept(rendered(()), rendered((), text="a c"))
    assert (found.text, found.note) == ("text differs", False)


@pytest.mark.parametrize(
    ("then", "now", "cause"),
    [
        (rendered(), rendered(text="<s>a b"), Cause.RENDERING),
        # The kernels of another processor may round pixels otherwise.
        (rendered(), rendered(pixels="cd" * 32), Cause.PIXELS),
        (rendered(), rendered(text=None), Cause.UNKNOWN),
        (None, rendered(), Cause.UNKNOWN),
        ({**rendered(), "version": 0}, rendered((9,)), Cause.UNKNOWN),
    ],
)
def test_what_may_be_the_same_is_a_note(then: Any, now: Any, cause: Cause) -> None:
    (found,) = compare_kept(then, now)
    assert (found.cause, found.note) == (cause, True)


def test_the_same_is_the_same() -> None:
    assert compare_kept(rendered(), rendered()) == ()
