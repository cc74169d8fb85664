"""Small pictures for the page: as good as a budget of bytes allows, or a word why there is none."""

from __future__ import annotations

import base64
import io
import warnings
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from harness.engines.images import open_image
from harness.errors import EngineError

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
    """The picture at ``path`` as models see it, in at most ``most`` bytes."""
    if not path.exists():
        return Thumbnail("", "image missing")
    try:
        with warnings.catch_warnings():
            # A picture of very many pixels is worth a warning elsewhere; here it is only made small.
            warnings.simplefilter("ignore")
            picture = open_image(str(path), least=2 * _STEPS[0][0])
            picture.thumbnail((_STEPS[0][0],) * 2, Image.Resampling.LANCZOS)
    except EngineError:
        return Thumbnail("", "image unreadable")
    for side, quality in _STEPS:
        small = picture.copy()
        small.thumbnail((side, side), Image.Resampling.LANCZOS)
        out = io.BytesIO()
        small.save(out, "WEBP", quality=quality, method=1)
        if out.tell() <= most:
            return Thumbnail("data:image/webp;base64," + base64.b64encode(out.getvalue()).decode("ascii"))
    return Thumbnail("", "image left out to keep this page small")
