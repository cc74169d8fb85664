"""Small pictures for the page: as good as a budget of bytes allows, or a word why there is none."""

from __future__ import annotations

import base64
import io
import warnings
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageOps

__all__ = ["LARGEST", "Thumbnail", "make_thumbnail"]

LARGEST = 4000
"""The most that one picture may take, in bytes before it is written as base64."""

# Side in pixels and quality of WebP, tried in this order until one fits.
_STEPS = ((176, 72), (144, 64), (112, 60), (80, 56), (56, 50), (40, 45), (24, 40))


class Thumbnail(NamedTuple):
    """A picture as a ``data:`` address, or '' and the ``problem`` in a few words."""

    address: str
    problem: str = ""


def make_thumbnail(path: Path, *, most: int = LARGEST) -> Thumbnail:
    """The picture at ``path`` in at most ``most`` bytes."""
    try:
        with warnings.catch_warnings():
            # A picture of very many pixels is worth a warning elsewhere; here it is only made small.
            warnings.simplefilter("ignore")
            picture = _opened(path)
    except FileNotFoundError:
        return Thumbnail("", "image missing")
    except Exception:  # noqa: BLE001 - decoders fail in many ways on a damaged file
        return Thumbnail("", "image unreadable")
    for side, quality in _STEPS:
        small = picture.copy()
        small.thumbnail((side, side), Image.Resampling.LANCZOS)
        out = io.BytesIO()
        small.save(out, "WEBP", quality=quality, method=1)
        if out.tell() <= most:
            return Thumbnail("data:image/webp;base64," + base64.b64encode(out.getvalue()).decode("ascii"))
    return Thumbnail("", "image left out to keep this page small")


def _opened(path: Path) -> Image.Image:
    """The picture in memory, upright, and no larger than the largest thumbnail needs."""
    largest = _STEPS[0][0]
    with Image.open(path) as image:
        image.draft("RGB", (2 * largest, 2 * largest))  # lets JPEG decode at a fraction of the size
        upright = ImageOps.exif_transpose(image)
        has_alpha = upright.mode in {"LA", "PA", "RGBA"} or "transparency" in upright.info
        picture = upright.convert("RGBA" if has_alpha else "RGB")
    picture.thumbnail((largest, largest), Image.Resampling.LANCZOS)
    return picture
