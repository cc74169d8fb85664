"""What was asked and what was rendered, field by field."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from harness.engines.contract import Answer, Question, Request
from harness.recordings.fingerprint import asked_of, asked_today, rendered_of

REQUEST = Request(case="shapes.red", prompt="Which?", letters=("A", "B"), images=("/somewhere/a.png",))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("prompt", "What?"),
        ("letters", ("B", "A")),
        ("system", "Be brief."),
        ("answer_prefix", "Answer: "),
        ("max_new_tokens", 5),
    ],
)
def test_what_was_asked_differs_in_the_field_that_differs(field: str, value: object) -> None:
    before = asked_of(REQUEST, ("ab" * 32,))
    after = asked_of(dataclasses.replace(REQUEST, **{field: value}), ("ab" * 32,))  # type: ignore[arg-type]
    assert [name for name in before if before[name] != after[name]] == [field]


def test_what_was_asked_knows_the_image_by_content_and_the_case_by_what_it_asks() -> None:
    elsewhere = dataclasses.replace(REQUEST, case="other.name", images=("/else/where.png",))
    assert asked_of(elsewhere, ("ab" * 32,)) == asked_of(REQUEST, ("ab" * 32,))
    assert asked_of(REQUEST, ("cd" * 32,))["images"] == ["cd" * 8]
    assert asked_of(REQUEST, ())["images"] == []


def test_what_was_asked_in_the_first_form_is_read_in_todays() -> None:
    today = asked_of(REQUEST, ("ab" * 32,))
    first = {name: value for name, value in today.items() if name not in ("version", "kind", "images")}
    assert asked_today({**first, "image": "ab" * 8}) == today
    assert asked_today({**first, "image": None}) == asked_of(REQUEST, ())
    assert asked_today(today) == today


RENDERED = Answer(
    prompt_ids=(1, 2),
    generated_ids=(3,),
    text="A",
    letter_ids=(3,),
    answer_step=0,
    readings=(),
    question=Question(text="Q", tokens=2, tiles=1, pixels="ab" * 32),
)


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("text", {"question": dataclasses.replace(RENDERED.question, text="q")}),
        ("ids", {"prompt_ids": (2, 1)}),
        ("tokens", {"question": dataclasses.replace(RENDERED.question, tokens=3)}),
        ("tiles", {"question": dataclasses.replace(RENDERED.question, tiles=2)}),
        ("pixels", {"question": dataclasses.replace(RENDERED.question, pixels="cd" * 32)}),
    ],
)
def test_what_was_rendered_differs_in_the_field_that_differs(field: str, change: dict[str, Any]) -> None:
    before, after = rendered_of(RENDERED), rendered_of(dataclasses.replace(RENDERED, **change))
    assert [name for name in before if before[name] != after[name]] == [field]


def test_what_was_not_told_is_none_and_the_answer_no_part_of_what_was_rendered() -> None:
    silent = dataclasses.replace(RENDERED, question=Question(), prompt_ids=())
    assert {value for name, value in rendered_of(silent).items() if name != "version"} == {None}
    assert rendered_of(dataclasses.replace(RENDERED, text="B", generated_ids=(4,))) == rendered_of(RENDERED)
