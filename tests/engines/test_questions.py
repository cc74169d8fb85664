"""One form of what was asked, whatever an engine's inputs look like."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.checks.question.tiles import PIXEL_MOVE
from harness.engines.codec import answer_from_json, answer_to_json
from harness.engines.contract import Answer, Question
from harness.engines.questions import one_mark, question


@pytest.mark.parametrize(
    ("placeholder", "before", "after"),
    [
        ("<IMG_CONTEXT>", "<IMG_CONTEXT>", "<img>" + "<IMG_CONTEXT>" * 12 + "</img>"),
        ("<IMG_CONTEXT>", "<img><IMG_CONTEXT></img>", "<img>" + "<IMG_CONTEXT>" * 3 + "</img>"),
        ("<|image_pad|>", "<|vision_start|><|image_pad|><|vision_end|>", "<|image_pad|>" * 5),
        ("<image>", "<image>", "<image>" * 576),
        (
            "<image_soft_token>",
            "<start_of_image><image_soft_token><end_of_image>",
            "<image_soft_token>" * 256,
        ),
    ],
)
def test_a_rendering_is_the_same_before_and_after_expansion(
    placeholder: str, before: str, after: str
) -> None:
    texts = [f"user\n{mark}\nWhat is <b>shown</b>?" for mark in (before, after)]
    assert {one_mark(text, placeholder) for text in texts} == {"user\n<image>\nWhat is <b>shown</b>?"}


def test_marks_that_stand_elsewhere_stay() -> None:
    text = "<img></img> and <|vision_start|>x<|vision_end|>"
    assert one_mark(text, "<IMG_CONTEXT>") == text
    assert one_mark("a <image> b", None) == "a <image> b"
    assert one_mark("<P><P>\n<P>", "<P>") == "<image>\n<image>"


def test_tiles_are_counted_hashed_and_averaged() -> None:
    tiles = np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2)
    asked = question(text="<P>?", prompt_ids=[1, 7, 7, 2], placeholder="<P>", pixels=[tiles])
    assert asked == Question(
        pixel_marks=asked.pixel_marks,
        pixel_steps=(1.0, 1.0),
        text="<image>?",
        tokens=4,
        tiles=2,
        pixels=hashlib.sha256(tiles.astype("<f4").tobytes()).hexdigest(),
        pixel_means=(5.5, 17.5),
    )


@pytest.mark.parametrize(
    ("shape", "tiles"), [((3, 3, 4, 4), 3), ((1, 3, 3, 4, 4), 3), ((16, 12), 1), ((2, 8, 12), 2)]
)
def test_every_layout_of_pixel_values_is_one_sequence(shape: tuple[int, ...], tiles: int) -> None:
    values = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    asked = question(text="", prompt_ids=[], placeholder=None, pixels=[values])
    assert asked.tiles == tiles == len(asked.pixel_means)
    assert asked.pixels == hashlib.sha256(values.astype("<f4").tobytes()).hexdigest()


def test_tiles_handed_over_one_array_an_image_or_all_at_once_are_the_same() -> None:
    values = np.random.default_rng(0).normal(size=(5, 3, 4, 4)).astype(np.float32)
    whole = question(text="", prompt_ids=[], placeholder=None, pixels=[values])
    apart = question(text="", prompt_ids=[], placeholder=None, pixels=[values[:2], values[2:]])
    assert whole == apart
    two = question(text="", prompt_ids=[], placeholder=None, pixels=[values[:2], values[2:]], images=2)
    assert two == replace(whole, image_tiles=(2, 3))


def test_values_count_as_float32_whatever_they_came_in() -> None:
    halves = np.linspace(-2, 2, 48).astype(np.float16).reshape(1, 3, 4, 4)
    kinds: list[Any] = [halves, halves.astype(np.float32), halves.astype(">f4")]
    assert len({question(text="", prompt_ids=[], placeholder=None, pixels=[v]).pixels for v in kinds}) == 1


def _marks(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.array(question(text="", prompt_ids=[], placeholder=None, pixels=[values]).pixel_marks)


@pytest.mark.parametrize("shape", [(1, 3, 56, 56), (4, 3, 28, 28), (64, 588)])
def test_marks_tell_a_mirrored_picture_from_rounding(shape: tuple[int, ...]) -> None:
    missed = 0
    for seed in range(60):
        values = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
        # to bfloat16, towards zero: twice as far as rounding goes
        rounded = (values.view(np.uint32) & 0xFFFF0000).view(np.float32)
        assert np.abs(_marks(values) - _marks(rounded)).max() < PIXEL_MOVE
        for other in (values[..., ::-1], np.roll(values, 1, axis=-1)):
            missed += np.abs(_marks(values) - _marks(other)).max() <= PIXEL_MOVE
    assert missed <= 1  # of 120: two marks of one picture may happen to stay


def test_marks_are_the_same_in_every_environment() -> None:
    marks = _marks(np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2))
    assert marks == pytest.approx([-6.350853, 13.856406, -20.207259, 34.641016], abs=1e-6)


def test_without_an_image_there_are_no_pixels() -> None:
    asked = question(text="Only words", prompt_ids=[1, 2], placeholder="<P>")
    assert (asked.tiles, asked.pixels, asked.pixel_means) == (0, None, ())


@given(st.integers(0, 11), st.floats(-3, 3, width=32).filter(lambda x: abs(x) > 1e-3))
def test_any_changed_value_changes_the_hash(place: int, change: float) -> None:
    values = np.zeros((1, 3, 2, 2), dtype=np.float32)
    other = values.copy()
    other.flat[place] += np.float32(change)
    first, second = (
        question(text="", prompt_ids=[], placeholder=None, pixels=[array]) for array in (values, other)
    )
    assert first.pixels != second.pixels


def test_a_question_keeps_a_recording_small() -> None:
    tiles = np.random.default_rng(0).normal(size=(13, 3, 8, 8)).astype(np.float32)
    asked = question(text="x" * 300, prompt_ids=range(900), placeholder="<P>", pixels=[tiles])
    answer = Answer(
        prompt_ids=(), generated_ids=(), text="", letter_ids=(), answer_step=None, readings=(), question=asked
    )
    encoded = answer_to_json(answer)
    assert len(str(encoded["q"])) < 300 + 700
    back = answer_from_json(encoded).question
    assert back.pixels == asked.pixels
    assert back.pixel_views == pytest.approx(asked.pixel_views, rel=0.01)
    assert back.pixel_steps == pytest.approx(asked.pixel_steps, rel=0.001)
