"""Is an image named by a suite one that every engine can read?"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageFile, UnidentifiedImageError

from harness.cases.problems import describe, shown

__all__ = ["FORMATS", "MAX_PIXELS", "ImageProblem", "check_image"]

FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
MAX_PIXELS = (
    50_000_000  # 150 MB once decoded; InternVL looks at no more than 40 tiles of 448 x 448, 8 million
)

_ALLOWED = f"one image as {', '.join(FORMATS[:-1])} or {FORMATS[-1]}"
_URL = re.compile(r"(?i)(data:|[a-z][a-z0-9+.-]+://)")


class ImageProblem(NamedTuple):
    """What is wrong with an image: what was found and what is allowed."""

    found: str
    allowed: str


def check_image(name: str, *, folder: Path) -> Path | ImageProblem:
    """Return the image's absolute path, or why it cannot be used.

    ``name`` is relative to ``folder`` (the suite's), in which it must lie once symbolic links are followed.
    The size is read from the header first, so that no more than ``MAX_PIXELS`` are ever decoded. Each file
    is decoded once in a process as long as its size and time of change stay the same.
    """
    if _URL.match(name):
        found = f"{describe(name)}, the address of something remote"
        return ImageProblem(found, "a file; download it into the suite's folder")
    path = folder.absolute() / name
    real, real_folder = Path(os.path.realpath(path)), Path(os.path.realpath(folder))
    if not real.is_relative_to(real_folder):
        return ImageProblem(
            f"{name!r}, which is outside the suite's folder",
            f"a file below {shown(real_folder)}; copy it there",
        )
    try:
        status = real.stat()
    except OSError as error:
        return ImageProblem(f"{name!r} ({error.strerror})", f"a file that exists; looked for {shown(real)}")
    if not real.is_file():
        return ImageProblem(f"{name!r}, which is not a file", _ALLOWED)
    what = _wrong_with(real, status.st_size, status.st_mtime_ns)
    return ImageProblem(f"{name!r}, {what.found}", what.allowed) if what else real


@cache
def _wrong_with(path: Path, _size: int, _changed: int) -> ImageProblem | None:
    """Read and decode the file. The last arguments only tell one state of the file from the next."""
    with warnings.catch_warnings(), _whole_images_only():
        warnings.simplefilter("ignore")
        try:
            return _wrong_with_content(path)
        except Image.DecompressionBombError as error:
            # Pillow refuses some sizes by itself and tells only the number of pixels.
            pixels = re.search(r"\d+", str(error))
            return _too_large(pixels[0] if pixels else f"over {MAX_PIXELS}")
        except UnidentifiedImageError:
            return ImageProblem("which is not an image", _ALLOWED)
        except Exception as error:  # noqa: BLE001 - decoders raise nearly anything on damaged files
            return ImageProblem(
                f"which is truncated or damaged ({error})", "an image that decodes to its end"
            )


@contextmanager
def _whole_images_only() -> Iterator[None]:
    """Some libraries (LMDeploy) switch this on for the whole process when they are imported."""
    before, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, False
    try:
        yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before


def _wrong_with_content(path: Path) -> ImageProblem | None:
    with Image.open(path) as image:
        if image.width * image.height > MAX_PIXELS:
            return _too_large(f"{image.width} x {image.height}")
        # Phones write JPEG files with a preview or depth map appended, which Pillow calls MPO.
        kind = "JPEG" if image.format == "MPO" else image.format
        if kind not in FORMATS:
            return ImageProblem(f"an image as {kind}", f"{_ALLOWED}; convert it")
        frames = getattr(image, "n_frames", 1)
        if kind != "JPEG" and frames > 1:
            return ImageProblem(f"an animation of {frames} frames", _ALLOWED)
        image.load()
    return None


def _too_large(pixels: str) -> ImageProblem:
    return ImageProblem(f"an image of {pixels} pixels", f"at most {MAX_PIXELS} pixels; make it smaller")
