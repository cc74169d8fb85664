"""The order in which cases are asked: like beside like, so that batches cut from it hold little padding.

It is the same for whoever asks the same cases: one process, its suites in bulk, and each shard of its share.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from PIL import Image

from harness.cases.suites import Case
from harness.errors import EngineError

__all__ = ["T", "asking_order"]

T = TypeVar("T")
_SHAPES = 8  # steps that a doubling of the aspect ratio is cut into


def asking_order(
    items: Iterable[T], case: Callable[[T], Case], images: Callable[[Case], tuple[str, ...]]
) -> list[T]:
    """``items`` sorted by the likeness of the ``case`` of each; what is alike stays in its order.

    Models cut a picture into tiles by its aspect ratio or by its area, and tiles are most of what a prompt
    has. Then come the prompt's length, in octaves, and cases of one picture, which is opened once for those
    of a batch. ``images`` gives the hashes of a case's pictures, or raises `EngineError`: by paths two
    machines would order differently.
    """
    return sorted(items, key=lambda item: _likeness(case(item), images))


def _likeness(case: Case, images: Callable[[Case], tuple[str, ...]]) -> tuple[object, ...]:
    try:
        content = images(case)
    except EngineError:  # nobody asks it
        content = ()
    shapes = [_shape(image) for image in case.images] if content else []
    return (len(shapes), shapes, len(case.prompt).bit_length(), content, len(case.prompt))


@lru_cache(maxsize=200_000)
def _shape(image: Path) -> tuple[int, int]:
    """The aspect ratio and the area of a picture, in steps; zeros for one that cannot be read."""
    try:
        with Image.open(image) as opened:
            width, height = opened.size
    except Exception:  # noqa: BLE001 - decoders raise nearly anything on damaged files
        return (0, 0)
    return (round(_SHAPES * math.log2(width / height)), (width * height).bit_length())
