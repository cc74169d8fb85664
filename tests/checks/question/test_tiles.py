"""Which change of a picture is told, by name, on pictures that were really changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from harness.checks.question.causes import QuestionDifference
from harness.checks.question.tiles import compare_pixels, compare_tiles
from harness.engines.contract import Question
from harness.engines.questions import question

Array = np.ndarray[Any, np.dtype[Any]]
SIDE = 56
MEAN, DEVIATION = (np.array(v).reshape(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))


def picture(seed: int) -> Image.Image:
    """Shapes and lines in other colours for each ``seed``, larger than a tile."""
    random = np.random.default_rng(seed)
    image = Image.new("RGB", (150, 150), tuple(random.integers(150, 256, 3)))
    draw = ImageDraw.Draw(image)
    for _ in range(6):
        x, y, size = (int(v) for v in random.integers(5, 90, 3))
        colour = tuple(int(v) for v in random.integers(0, 256, 3))
        (draw.rectangle, draw.ellipse)[x % 2]((x, y, x + size, y + size // 2 + 3), fill=colour)
        draw.line((x, y, y, x + size), fill="black", width=2)
    return image


def tile(image: Image.Image, resample: Image.Resampling = Image.Resampling.BICUBIC) -> Array:
    values = np.asarray(image.resize((SIDE, SIDE), resample), dtype=np.float32).transpose(2, 0, 1) / 255
    normalised: Array = ((values - MEAN) / DEVIATION).astype(np.float32)[None]
    return normalised


def asked(values: Array) -> Question:
    return question(text="", prompt_ids=[1], placeholder=None, pixels=[values])


def compared(before: Array, after: Array) -> QuestionDifference:
    found, mirrored = (compare_pixels(asked(a), asked(b)) for a, b in ((before, after), (after, before)))
    assert found is not None
    assert mirrored is not None
    assert (found.title, found.note) == (mirrored.title, mirrored.note)
    return found


SEEDS = range(12)


@pytest.mark.parametrize(
    "resample", [Image.Resampling.BILINEAR, Image.Resampling.LANCZOS, Image.Resampling.BOX]
)
def test_another_filter_is_a_finding_of_its_own(resample: Image.Resampling) -> None:
    for seed in SEEDS:
        found = compared(tile(picture(seed)), tile(picture(seed), resample))
        assert (found.title, found.note) == ("resized otherwise", False)
        assert not any(word in found.text for word in ("mirrored", "swapped", "order"))


def test_another_filter_of_packed_patches_too() -> None:
    """Which lie in no rows and columns."""
    for seed in SEEDS:
        plain, other = (
            tile(picture(seed), each)[0].reshape(3, 4, 14, 4, 14).transpose(1, 3, 0, 2, 4).reshape(16, 588)
            for each in (Image.Resampling.BICUBIC, Image.Resampling.BILINEAR)
        )
        assert compared(plain, other).title == "resized otherwise"


VIEWS: dict[str, Callable[[Array], Array]] = {
    "mirrored": lambda v: v[..., ::-1],
    "upside down": lambda v: v[:, :, ::-1],
    "turned by half": lambda v: v[:, :, ::-1, ::-1],
    "turned by a quarter": lambda v: np.rot90(v, -1, (2, 3)),  # and back from there
    "turned by three quarters": lambda v: np.rot90(v, 1, (2, 3)),
    "with red and blue swapped": lambda v: v[:, ::-1],
}


@pytest.mark.parametrize("view", VIEWS)
def test_what_was_done_to_a_picture_is_named(view: str) -> None:
    assert list(VIEWS) == list(Question.VIEWS[1:])
    named = 0
    for seed in SEEDS:
        values = tile(picture(seed))
        found = compare_pixels(asked(VIEWS[view](values)), asked(values))
        assert found is not None
        assert not found.note
        named += found.text.endswith(f"the other's, {view}")
    assert named == len(SEEDS)


def test_several_tiles_mirrored_each() -> None:
    values = np.concatenate([tile(picture(seed)) for seed in range(3)])
    assert compared(values, values[..., ::-1]).text.endswith("mirrored")


def test_one_grey_level_more_or_less_and_bfloat16_are_rounding() -> None:
    for seed in SEEDS:
        values, random = tile(picture(seed)), np.random.default_rng(seed)
        levels = random.integers(-1, 2, values.shape).astype(np.float32) / 255 / DEVIATION.astype(np.float32)
        rounded = ((values.view(np.uint32) + 0x8000) & 0xFFFF0000).view(np.float32)
        assert compared(values, values + levels[0]).note
        assert compared(values, rounded).note


def test_one_grey_level_more_or_less_on_a_flat_picture_is_rounding() -> None:
    """Which has no steps but these."""
    for seed in SEEDS:
        levels = np.random.default_rng(seed).integers(127, 130, (1, 3, SIDE, SIDE)) / 255
        values, flat = (
            ((v - MEAN) / DEVIATION).astype(np.float32) for v in (levels, np.full_like(levels, 128 / 255))
        )
        assert compared(flat, values).note


def test_another_filter_on_the_few_edges_of_one_shape() -> None:
    """As in the suites of this repository, normalised to -1 to 1: 1 to 4% of the values differ."""
    image = Image.new("RGB", (150, 56), "white")
    ImageDraw.Draw(image).rectangle((20, 9, 90, 40), fill="black")
    plain, other = (
        np.asarray(image.resize((SIDE, SIDE), each), dtype=np.float32).transpose(2, 0, 1)[None] / 127.5 - 1
        for each in (Image.Resampling.BICUBIC, Image.Resampling.BILINEAR)
    )
    assert 0 < (plain != other).mean() < 0.1
    assert compared(plain, other).title == "resized otherwise"


def test_another_picture_of_the_same_mean_is_neither_resized_nor_turned() -> None:
    for seed in SEEDS:
        values, other = tile(picture(seed)), tile(picture(seed + 50))
        found = compared(values, other - other.mean() + values.mean())
        assert "The picture is another one" in found.text
        assert not found.note


def test_another_scale_is_no_filter() -> None:
    values = tile(picture(0))
    values -= values.mean()
    assert compared(values, values * 1.2).title == "pixel values"


def test_recordings_without_views_or_steps_are_told_as_before() -> None:
    """Those of earlier versions."""
    old = [
        replace(asked(v), pixel_views=(), pixel_steps=())
        for v in (tile(picture(0)), tile(picture(0))[..., ::-1], tile(picture(0)) + np.float32(1e-4))
    ]
    swapped, rounded = (compare_pixels(old[0], each) for each in old[1:])
    assert swapped is not None
    assert "mirrored, turned or resized otherwise" in swapped.text
    assert rounded is not None
    assert rounded.note


def several(*images: Array) -> Question:
    return question(text="", prompt_ids=[1], placeholder=None, pixels=images, images=len(images))


ONE, TWO, THREE = (np.concatenate([tile(picture(seed)) for seed in seeds]) for seeds in ((1,), (2, 3), (4,)))


@pytest.mark.parametrize(
    ("other", "title", "text"),
    [
        ((ONE, TWO[:, :, :, ::-1], THREE), "pixel values", "image 2: "),
        ((THREE, TWO, ONE), "pixel values", "images 1 and 3: the same tiles entered in another order"),
        ((ONE, THREE), "image missing", "image 2 entered a, and did not enter b"),
        ((TWO,), "image missing", "images 1 and 3 entered a, and did not enter b"),
        ((ONE, TWO, TWO), "4 against 5 tiles", "image 3 enters a in 4 tiles and b in 5"),
        ((TWO, ONE, THREE), "tiles of each image", "the images have 1, 2, 1 of them on one side, 2, 1, 1 on"),
    ],
)
def test_which_of_several_images_differs_is_told(other: tuple[Array, ...], title: str, text: str) -> None:
    asked_a, asked_b = several(ONE, TWO, THREE), several(*other)
    found = compare_tiles(asked_a, asked_b, ("a", "b")) or compare_pixels(asked_a, asked_b)
    assert found is not None
    assert (found.title, found.note) == (title, False)
    assert text in found.text


def test_several_images_that_are_the_same_are_equal() -> None:
    asked_a, asked_b = several(ONE, TWO, THREE), several(ONE, TWO + np.float32(1e-6), THREE)
    assert compare_tiles(asked_a, asked_b, ("a", "b")) is None
    assert compare_pixels(asked_a, asked_a) is None
    found = compare_pixels(asked_a, asked_b)
    assert found is not None
    assert found.note
