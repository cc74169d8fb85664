"""Pictures as every engine sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.errors import EngineError, ErrorKind

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["open_image"]


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
