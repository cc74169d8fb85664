"""Pictures as every engine sees them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import chain
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from harness.errors import EngineError, ErrorKind
from harness.git_lfs import POINTER, is_pointer

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["MARKS", "PLACEHOLDERS", "as_models_see", "open_image", "over_8_bits", "trial_pictures"]

# What models put around an image's placeholders, beside nothing at all.
MARKS = (
    ("<img>", "</img>"),
    ("<image>", "</image>"),
    ("<|vision_start|>", "<|vision_end|>"),
    ("<|image_start|>", "<|image_end|>"),
    ("<|begin_of_image|>", "<|end_of_image|>"),
    ("<start_of_image>", "<end_of_image>"),
    ("<vision_start>", "<vision_end>"),
    ("<im_start>", "<im_end>"),
)
PLACEHOLDERS = re.compile(
    r"<IMAGE_TOKEN>|<IMG_CONTEXT>|<\|image(?:_pad|_1)?\|>|<image_(?:soft_token|placeholder)>|<ImageHere>"
    r"|<im_patch>|<\|(?:imgpad|placeholder)\|>|\[IMG\]|" + "|".join(map(re.escape, chain(*MARKS)))
)
"""A word by which a model's processor or LMDeploy finds the place of an image in a prompt."""

_SIDE = 512  # pixels, about those of a tile
_TURNS = tuple(Lock() for _ in range(8))  # so that two prompts of one picture do not decode it side by side


def open_image(path: str, *, least: int | None = None) -> Image:
    """The picture in RGB as its file stores it, which is what LMDeploy's own loader makes of a file.

    Its EXIF data is dropped, so that no image processor turns it the way that they say. With ``least`` a JPEG
    may be read at a fraction of its size, with ``least`` pixels a side or more: for what shows it small.

    Prompts of one picture that follow one another share what is decoded; each is given a copy.

    Raises EngineError(FAILED) for what is no image, not all of one, or one of more than 8 bits.
    """
    if least is not None:
        return _decoded(path, least)
    try:
        status = Path(path).stat()
    except (OSError, ValueError):
        return _decoded(path, None)  # tells what is wrong
    state = (status.st_ino, status.st_size, status.st_mtime_ns)
    with _TURNS[hash(path) % len(_TURNS)]:
        return _shared(path, state).copy()


@lru_cache(maxsize=4)  # of 50 million pixels they take 600 MB
def _shared(path: str, _state: tuple[int, ...]) -> Image:
    return _decoded(path, None)


def _decoded(path: str, least: int | None) -> Image:
    from PIL import Image, ImageFile

    ImageFile.LOAD_TRUNCATED_IMAGES = False  # LMDeploy's import sets it: half a picture, half of it grey
    try:
        with Image.open(path) as opened:
            if least is not None:
                opened.draft(None, (least, least))
            if over := over_8_bits(opened):
                raise ValueError(over)
            return as_models_see(opened)
    except Exception as error:
        found = POINTER if is_pointer(path) else f"{type(error).__name__}: {error}"
        raise EngineError(ErrorKind.FAILED, f"the image {path} cannot be opened: {found}") from error


def as_models_see(image: Image) -> Image:
    """An opened picture as `open_image` gives it: what hides behind transparency shows, nothing is turned."""
    seen = image.convert("RGB")
    seen.info.clear()
    return seen


def over_8_bits(image: Image) -> str:
    """Why a picture of more than 8 bits a channel is not taken, '' where it has no more."""
    what = f"a grey picture of more than 8 bits (Pillow's mode {image.mode}), in which all above 255 is white"
    return what if image.mode.startswith(("I", "F")) else ""


def trial_pictures(tiles: int | None) -> Iterator[Image]:
    """What a model is tried with before any case: a picture that is cut into ``tiles``, then smaller ones.

    ``tiles`` is the most that one is cut into, a thumbnail not counted; where None, since the model takes a
    picture as it is or nobody knows, the first has half a million pixels.
    """
    from PIL import Image

    # No other grid of so few tiles has the shape of all of them side by side.
    across = tiles or 2
    while across:
        yield Image.new("RGB", (across * _SIDE, _SIDE), (90, 120, 150))
        across //= 2
