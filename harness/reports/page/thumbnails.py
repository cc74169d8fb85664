"""Pictures for the page: as good as a budget of bytes allows, or a word why there is none."""

from __future__ import annotations

import base64
import io
import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from harness.engines.images import open_image
from harness.errors import EngineError

__all__ = ["LARGEST", "LARGEST_FULL", "Thumbnail", "make_thumbnail"]

LARGEST = 4000
"""The most that a small picture may take, in bytes before it is written as base64."""

LARGEST_FULL = 250_000
"""The same of a large one."""

# Side in pixels and quality of WebP, tried in this order until one fits.
_STEPS = ((176, 72), (144, 64), (112, 60), (80, 56), (56, 50), (40, 45), (24, 40))
_STEPS_FULL = ((1600, 82), (1280, 75), (960, 70), (640, 65), (400, 60))


class Thumbnail(NamedTuple):
    """A picture as a ``data:`` address, or '' and the ``problem`` in a few words.

    ``full`` is a larger one, '' without room for it; of a picture that is small itself it is the same.
    """

    address: str
    problem: str = ""
    full: str = ""


def make_thumbnail(path: Path, *, most: int = LARGEST, full: int = 0) -> Thumbnail:
    """The picture at ``path`` as models see it, in at most ``most`` bytes, and a larger one in ``full``."""
    if not path.exists():
        return Thumbnail("", "image missing")
    side_small = _STEPS[0][0]
    side = _STEPS_FULL[0][0] if full > most else side_small
    try:
        with warnings.catch_warnings():
            # A picture of very many pixels is worth a warning elsewhere; here it is only made small.
            warnings.simplefilter("ignore")
            picture = open_image(str(path), least=2 * side)
            picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    except EngineError:
        return Thumbnail("", "image unreadable")
    small = _webp(picture, _STEPS, most)
    if not small:
        return Thumbnail("", "image left out to keep this page small")
    if full <= most:
        return Thumbnail(small)
    return Thumbnail(
        small, full=small if max(picture.size) <= side_small else _webp(picture, _STEPS_FULL, full)
    )


def _webp(picture: Image.Image, steps: Sequence[tuple[int, int]], most: int) -> str:
    """The address of the first of ``steps`` that fits into ``most`` bytes, '' if none does."""
    tried = math.inf  # bytes that a pixel took before
    for side, quality in steps:
        if tried < math.inf and tried * side**2 > 2 * most:
            continue  # it would not fit either, and large ones take their time
        scaled = picture.copy()
        scaled.thumbnail((side, side), Image.Resampling.LANCZOS)
        out = io.BytesIO()
        scaled.save(out, "WEBP", quality=quality, method=1)
        tried = out.tell() / side**2
        if out.tell() <= most:
            return "data:image/webp;base64," + base64.b64encode(out.getvalue()).decode("ascii")
    return ""
