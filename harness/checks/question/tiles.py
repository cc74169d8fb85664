"""Did the same pieces of the image enter two models? Their number, and their values by hash and mean."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import replace

from harness.checks.question.causes import Cause, QuestionDifference, difference
from harness.engines.contract import Question

__all__ = ["PIXEL_NOISE", "compare_pixels", "compare_tiles", "count_of_tiles"]

PIXEL_NOISE = 2**-8
"""How far a tile's mean may move by rounding, relative to its size and at least 1.

One unit of bfloat16, the coarsest dtype that pixel values are rounded to. Normalised values are near 1.
"""


PIXEL_MOVE = 2**-5
"""How far a tile's mark may move by rounding or by another library's resizing, at least.

Rounding to bfloat16 moves it by about 2**-9 of the values, one grey level in every pixel at random by 0.02.
"""

STEP_NOISE = 2**-11
"""How far the mean square of a tile's steps may move by rounding, at least.

One grey level up or down in every pixel at random adds 0.0004. Of its size, another 2**-6 for bfloat16.
"""

_STEPS_OF_SIZE = 2**-6
_COARSELY = 6  # times `PIXEL_MOVE`: what no rounding moves a mark by, and hardly a filter
_EXPLAINS = 1 / 8  # of how far the tiles moved, at most, is left by the view that explains it
_RESIZED = 8  # times `PIXEL_NOISE`: what a filter may move the mean of a tile of fine lines
_MOST_SHOWN = 3


def compare_tiles(a: Question, b: Question, names: tuple[str, str]) -> QuestionDifference | None:
    """A difference in the number of tiles; None where it is equal or not known."""
    if a.tiles is None or b.tiles is None:
        return None
    if a.tiles == b.tiles:
        return _shared_out_otherwise(a, b)
    most, least = (0, 1) if a.tiles > b.tiles else (1, 0)
    tiles, means = (a.tiles, b.tiles), (a.pixel_means, b.pixel_means)
    if tiles[least] == 0:
        return difference(
            Cause.IMAGE_MISSING,
            f"{count_of_tiles(tiles[most])} entered {names[most]}, and no image entered {names[least]}",
        )
    if lost := _lost((a, b)[most], means[least]):
        return difference(
            Cause.IMAGE_MISSING, f"{_numbered(lost)} entered {names[most]}, and did not enter {names[least]}"
        )
    # An image that is not cut has no thumbnail.
    one_more = tiles[least] > 1 and tiles[most] == tiles[least] + 1
    if one_more and _apart(means[least], means[most][:-1]) <= 1:
        return difference(
            Cause.THUMBNAIL,
            f"{names[most]} adds the whole image as one more tile to the same {tiles[least]} tiles, "
            f"{names[least]} does not: see use_thumbnail of the model and of the engine",
        )
    own = zip(a.image_tiles, b.image_tiles, strict=False)
    which = _numbered([number for number, (p, q) in enumerate(own) if p != q])
    return difference(
        Cause.TILES,
        f"{which or 'the image'} enters {names[0]} in {count_of_tiles(a.tiles)} and {names[1]} in {b.tiles}, "
        "thumbnails included. Pin it for both with max_tiles: in the profile",
        title=f"{a.tiles} against {b.tiles} tiles",
    )


def _lost(asked: Question, means: Sequence[float]) -> list[int]:
    """The images of ``asked`` without one of which, or with one of which alone, it has these tiles."""
    each = [one.pixel_means for one in _each_image(asked)]
    every = range(len(each))
    for gone in [[n] for n in every] + [[m for m in every if m != n] for n in every]:
        left = [mean for n in every if n not in gone for mean in each[n]]
        if left and _apart(left, means) <= 1:
            return gone
    return []


def compare_pixels(a: Question, b: Question) -> QuestionDifference | None:
    """A difference in the values of as many tiles, said image by image where it is known what is whose.

    A note if it is within rounding, as far as means tell.
    """
    whole = _compare_pixels(a, b)
    if whole is None or whole.note or not a.image_tiles or a.image_tiles != b.image_tiles:
        return whole
    own = [_compare_pixels(p, q) for p, q in zip(_each_image(a), _each_image(b), strict=True)]
    moved = [number for number, each in enumerate(own) if each is not None and not each.note]
    if len(moved) != 1:
        return replace(whole, text=f"{_numbered(moved)}: {whole.text}") if moved else whole
    only = own[moved[0]] or whole
    return replace(only, text=f"{_numbered(moved)}: {only.text}")


def _shared_out_otherwise(a: Question, b: Question) -> QuestionDifference | None:
    if not a.image_tiles or not b.image_tiles or a.image_tiles == b.image_tiles:
        return None
    shared = [", ".join(map(str, each.image_tiles)) for each in (a, b)]
    return difference(
        Cause.TILES,
        f"as many tiles, but the images have {shared[0]} of them on one side, {shared[1]} on the other: cut "
        "otherwise, or in another order",
        title="tiles of each image",
    )


def _numbered(places: Sequence[int]) -> str:
    """'image 2', or 'images 1 and 3', of places from 0; '' for none."""
    if not places:
        return ""
    return f"image{'s' if len(places) > 1 else ''} {' and '.join(str(place + 1) for place in places)}"


def _each_image(asked: Question) -> list[Question]:
    """What is known of each image's own tiles; equal figures stand for equal pixels."""
    found, start = [], 0
    for count in asked.image_tiles:
        means = asked.pixel_means[start : start + count]
        marks = asked.pixel_marks[2 * start : 2 * (start + count)]
        steps = asked.pixel_steps[start : start + count]
        pixels = str((means, marks, steps))
        found.append(
            Question(tiles=count, pixels=pixels, pixel_means=means, pixel_marks=marks, pixel_steps=steps)
        )
        start += count
    return found


def _compare_pixels(a: Question, b: Question) -> QuestionDifference | None:
    if a.tiles != b.tiles or a.pixels is None or b.pixels is None or a.pixels == b.pixels:
        return None
    pairs = list(zip(a.pixel_means, b.pixel_means, strict=False))
    shown = ", ".join(f"{p:.3g} and {q:.3g}" for p, q in pairs[:_MOST_SHOWN])
    means = f"the means of the tiles ({shown}{', …' if pairs[_MOST_SHOWN:] else ''})"
    apart, moved = _apart(a.pixel_means, b.pixel_means), _moved(a.pixel_marks, b.pixel_marks)
    known = bool(a.pixel_views) and len(a.pixel_views) == len(b.pixel_views)
    plain, view = _nearest_view(a, b) if known else (moved, "")
    if view and apart <= 1:
        return difference(
            Cause.PIXELS,
            f"the same values in other places: {means} are equal within rounding, and one side's tiles are "
            f"the other's, {view}",
        )
    if plain <= _COARSELY and apart <= (_RESIZED if known else 1) and _other_steps(a, b):
        return difference(
            Cause.PIXELS,
            f"the picture is resized otherwise: {means} are close, but edges are sharper on one side. See "
            "resample and antialias of the image processors, and by which library they resize",
            title="resized otherwise",
        )
    if apart <= 1:
        if plain > 1 or not moved <= _COARSELY:
            what = "another one, or its tiles entered in another order"
            if not known:
                what = f"mirrored, turned or resized otherwise, its colours are swapped, or it is {what}"
            return difference(
                Cause.PIXELS,
                f"other values though {means} are equal within rounding: the tiles' marks move by up to "
                f"{moved:.3g} times what rounding does. The picture is {what}",
            )
        return difference(
            Cause.PIXELS,
            f"the pixel values are not bit-equal, but {means} are, within rounding: another dtype, "
            "another release of the image library, or another filter on few edges",
            note=True,
        )
    if _apart(sorted(a.pixel_means), sorted(b.pixel_means)) <= 1:
        return difference(Cause.PIXELS, f"the same tiles entered in another order: {means}")
    largest = max((abs(p - q) for p, q in pairs), default=float("nan"))
    return difference(
        Cause.PIXELS,
        f"{count_of_tiles(a.tiles or 0)} on both sides, but {means} differ by up to {largest:.3g}: another "
        "picture or normalisation; see image_mean, image_std and rescale_factor of the image processors",
    )


def _nearest_view(a: Question, b: Question) -> tuple[float, str]:
    """How far the tiles' blocks moved, in `PIXEL_MOVE`, and which of `Question.VIEWS` explains it or ''."""
    count = len(a.pixel_views) // len(Question.VIEWS)
    views = [a.pixel_views[at : at + count] for at in range(0, len(a.pixel_views), count)]
    moved = {
        name: _moved(view, b.pixel_views[:count]) for name, view in zip(Question.VIEWS, views, strict=True)
    }
    plain, *others = Question.VIEWS
    nearest = min(others, key=moved.__getitem__)
    explained = moved[plain] > 1 and moved[nearest] <= moved[plain] * _EXPLAINS
    return moved[plain], nearest if explained else ""


def _moved(left: Sequence[float], right: Sequence[float]) -> float:
    """The largest difference of two lists of marks, as a multiple of `PIXEL_MOVE` and their size."""
    size = max([1.0, *map(abs, (*left, *right))])
    return max((abs(p - q) for p, q in zip(left, right, strict=False)), default=0.0) / (PIXEL_MOVE * size)


def _other_steps(a: Question, b: Question) -> bool:
    """Whether edges are sharper on one side, and not only because all its values are larger."""
    products = [sum(map(operator.mul, a.pixel_views, views)) for views in (a.pixel_views, b.pixel_views)]
    scale = (products[1] / products[0]) ** 2 if products[0] else 1.0
    return all(
        any(
            abs(each * p - q) > max(STEP_NOISE, _STEPS_OF_SIZE * max(p, q))
            for p, q in zip(a.pixel_steps, b.pixel_steps, strict=False)
        )
        for each in (1.0, scale)
    )


def count_of_tiles(count: int) -> str:
    """'1 tile' or '4 tiles'."""
    return "1 tile" if count == 1 else f"{count} tiles"


def _apart(left: Sequence[float], right: Sequence[float]) -> float:
    """The largest difference of two lists of means, as a multiple of `PIXEL_NOISE`; infinite if not known."""
    if len(left) != len(right) or not left:
        return float("inf")
    return max(
        abs(p - q) / (PIXEL_NOISE * max(1.0, abs(p), abs(q))) for p, q in zip(left, right, strict=True)
    )
