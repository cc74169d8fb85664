"""Did the same pieces of the image enter two models? Their number, and their values by hash and mean."""

from __future__ import annotations

from collections.abc import Sequence

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

_MOST_SHOWN = 3


def compare_tiles(a: Question, b: Question, names: tuple[str, str]) -> QuestionDifference | None:
    """A difference in the number of tiles; None where it is equal or not known."""
    if a.tiles is None or b.tiles is None or a.tiles == b.tiles:
        return None
    most, least = (0, 1) if a.tiles > b.tiles else (1, 0)
    tiles, means = (a.tiles, b.tiles), (a.pixel_means, b.pixel_means)
    if tiles[least] == 0:
        return difference(
            Cause.IMAGE_MISSING,
            f"{count_of_tiles(tiles[most])} entered {names[most]}, and no image entered {names[least]}",
        )
    # An image that is not cut has no thumbnail.
    one_more = tiles[least] > 1 and tiles[most] == tiles[least] + 1
    if one_more and _apart(means[least], means[most][:-1]) <= 1:
        return difference(
            Cause.THUMBNAIL,
            f"{names[most]} adds the whole image as one more tile to the same {tiles[least]} tiles, "
            f"{names[least]} does not: see use_thumbnail of the model and of the engine",
        )
    return difference(
        Cause.TILES,
        f"the image enters {names[0]} in {count_of_tiles(a.tiles)} and {names[1]} in {b.tiles}, thumbnails "
        "included. Pin it for both with max_tiles: in the profile",
        title=f"{a.tiles} against {b.tiles} tiles",
    )


def compare_pixels(a: Question, b: Question) -> QuestionDifference | None:
    """A difference in the values of as many tiles; a note if it is within rounding, as far as means tell."""
    if a.tiles != b.tiles or a.pixels is None or b.pixels is None or a.pixels == b.pixels:
        return None
    pairs = list(zip(a.pixel_means, b.pixel_means, strict=False))
    shown = ", ".join(f"{p:.3g} and {q:.3g}" for p, q in pairs[:_MOST_SHOWN])
    means = f"the means of the tiles ({shown}{', …' if pairs[_MOST_SHOWN:] else ''})"
    if _apart(a.pixel_means, b.pixel_means) <= 1:
        moved = max((abs(p - q) for p, q in zip(a.pixel_marks, b.pixel_marks, strict=False)), default=0.0)
        if not moved <= PIXEL_MOVE * max([1.0, *map(abs, (*a.pixel_marks, *b.pixel_marks))]):
            return difference(
                Cause.PIXELS,
                f"the same values in other places: {means} are equal within rounding, the tiles' marks move "
                f"by up to {moved:.3g}. The picture is mirrored or turned, its colours are swapped, or its "
                "tiles entered in another order",
            )
        return difference(
            Cause.PIXELS,
            f"the pixel values are not bit-equal, but {means} are, within rounding: another dtype, another "
            "release of the image library, or another filter",
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
