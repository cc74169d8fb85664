"""A word that stands for an image in a case's own prompt, which one side takes for its place."""

from __future__ import annotations

import pytest

from harness.checks.question.causes import Cause
from tests.checks.question.test_question import HEADER, answer, only, user


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("<image>\n<IMAGE_TOKEN>\nWhat?", "<image>\nWhat?"),
        ("<image>\nWhat?\n<IMAGE_TOKEN>", "What?\n<image>"),
        ("<image>\n<|image_pad|>What?", "<image>\n<image>What?"),
        ("<image>\n<image>\nWhat?", "<image>\nWhat?"),
    ],
)
def test_is_named_and_no_system_text_is(left: str, right: str) -> None:
    found = only(answer(user(left) + HEADER), answer(user(right) + HEADER))
    assert found.cause is Cause.PLACEHOLDER
    assert found.title == "placeholder of an image in the prompt"
    assert "Take it out of the case's prompt" in found.text


def test_beside_another_question_is_none() -> None:
    left, right = (user(f"<image>\n{text}") + HEADER for text in ("<IMAGE_TOKEN> Which?", "What?"))
    assert only(answer(left), answer(right)).cause is Cause.QUESTION
