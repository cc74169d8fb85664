"""Pictures as every engine sees them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from harness.errors import EngineError, ErrorKind

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["open_image", "trial_pictures"]

_SIDE = 512  # pixels, about those of a tile


def open_image(path: str) -> Image:
    """The picture in RGB as its file stores it, which is what LMDeploy's own loader makes of a file.

    Its EXIF data is dropped, so that no image processor turns it the way that they say.

    Raises EngineError(FAILED) for what is no image, or not all of one.
    """
    from PIL import Image, ImageFile

    ImageFile.LOAD_TRUNCATED_IMAGES = False  # LMDeploy's import sets it: half a picture, half of it grey
    try:
        with Image.open(path) as opened:
            image = opened.convert("RGB")
    except Exception as error:
        raise EngineError(
            ErrorKind.FAILED, f"the image {path} cannot be opened: {type(error).__name__}: {error}"
        ) from error
    image.info.clear()
    return image


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
