"""Is an image named by a suite one that every engine can read?

To decode it takes milliseconds, which are minutes for 100,000 of them, so what was seen is kept between runs.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property, reduce
from pathlib import Path
from typing import NamedTuple

import PIL
from PIL import Image, ImageChops, ImageFile, UnidentifiedImageError

from harness.cases.kept import kept_for, write_whole
from harness.cases.problems import describe, shown
from harness.engines import images as as_opened
from harness.git_lfs import POINTER, is_pointer

__all__ = ["FORMATS", "MAX_PIXELS", "CheckedImage", "ImageProblem", "Looked", "check_image", "looker"]

FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
MAX_PIXELS = (
    50_000_000  # 150 MB once decoded; InternVL looks at no more than 40 tiles of 448 x 448, 8 million
)

_ALLOWED = f"one image as {', '.join(FORMATS[:-1])} or {FORMATS[-1]}"
_URL = re.compile(r"(?i)(data:|[a-z][a-z0-9+.-]+://)")
_BASE64 = re.compile(
    r"\s*(iVBORw0KGgo|/9j/|UklGR|R0lGOD|Qk)[A-Za-z0-9+/=\s]{99,}"
)  # PNG, JPEG, WEBP, GIF, BMP
_LOOKED = ".looked.json"
_LONGEST_SHOWN = 300  # characters of a path
_ORIENTATION, _TURNED = 0x0112, range(2, 9)  # the tag of EXIF; 1 is upright, and some cameras write 0
_ROUNDING = 3  # grey levels
_FEW = 1 / 1000  # of all pixels


class ImageProblem(NamedTuple):
    """What is wrong with an image: what was found and what is allowed."""

    found: str
    allowed: str


Remarks = tuple[ImageProblem, ...]


class CheckedImage(NamedTuple):
    """The absolute path of an image that can be used, with ``remarks`` that fail nothing."""

    path: Path
    remarks: Remarks = ()


class Looked:
    """What was seen of image files when they were decoded, kept for those of the suites in one folder.

    Of a file it counts as long as path, size and times stay the same, and so do Pillow and this code. What
    cannot be used is not kept, and where nothing can be written nothing is.
    """

    def __init__(self, folder: Path) -> None:
        """Touches nothing before the first image."""
        self._folder = folder
        self._new = False

    @cached_property
    def kept(self) -> Path:
        """Where this is kept, and pictures of tables are. Raises OSError where nothing can be."""
        return kept_for(self._folder)

    @cached_property
    def _seen(self) -> dict[str, tuple[str, Remarks | ImageProblem]]:
        """By path; of an earlier run nothing where that is damaged, or of other code."""
        with suppress(AttributeError, KeyError, OSError, RecursionError, TypeError, ValueError):
            found = json.loads((self.kept / _LOOKED).read_bytes())
            if found["looker"] == looker():
                return {
                    path: (state, tuple(ImageProblem(*remark) for remark in remarks))
                    for path, (state, remarks) in found["images"].items()
                }
        return {}

    def at(self, path: Path, status: os.stat_result) -> Remarks | ImageProblem:
        """`look_at` the file, of which ``status`` is told, unless that was done before."""
        state = f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"
        before, remarks = self._seen.get(str(path), ("", ()))
        if before != state:
            remarks = look_at(path)
            self._seen[str(path)] = state, remarks
            self._new = True
        return remarks

    def close(self) -> None:
        """Keep what is new, and drop what was seen of files that are gone."""
        if self._new:
            images = {
                path: seen
                for path, seen in self._seen.items()
                if not isinstance(seen[1], ImageProblem) and os.path.exists(path)  # noqa: PTH110 - of many
            }
            with suppress(OSError):
                write_whole(self.kept / _LOOKED, json.dumps({"looker": looker(), "images": images}))


def looker() -> str:
    """A hash of all that decides what `look_at` sees of a file."""
    code = [Path(file).read_text(encoding="utf-8") for file in (__file__, as_opened.__file__)]
    return hashlib.sha256("".join([PIL.__version__, *code]).encode()).hexdigest()


def check_image(name: str, *, folder: Path, looked: Looked) -> CheckedImage | ImageProblem:
    """Return the image with what is worth a remark, or why it cannot be used.

    ``name`` is relative to ``folder`` (the suite's), in which it must lie once symbolic links are followed.
    The size is read from the header first, so that no more than ``MAX_PIXELS`` are ever decoded.
    """
    if _URL.match(name):
        found = f"{describe(name)}, the address of something remote"
        return ImageProblem(found, "a file; download it into the suite's folder")
    if _BASE64.match(name):
        return ImageProblem(
            f"{describe(name)}, base64", "a file; decode it and save it in the suite's folder"
        )
    path = folder.absolute() / name
    try:
        real, real_folder = Path(os.path.realpath(path)), Path(os.path.realpath(folder))
        if not real.is_relative_to(real_folder):
            return ImageProblem(
                f"{describe(name)}, which is outside the suite's folder",
                f"a file below {shown(real_folder)}; copy it there",
            )
        status = real.stat()
    except OSError as error:
        where = shown(path)[:_LONGEST_SHOWN]
        return ImageProblem(f"{describe(name)} ({error.strerror})", f"a file that exists; looked for {where}")
    except UnicodeEncodeError as error:
        found = f"{describe(name)}, which no file can be called in this locale ({error.encoding})"
        return ImageProblem(found, "a name in ASCII, or a run with PYTHONUTF8=1")
    except ValueError as error:
        return ImageProblem(f"{describe(name)} ({error})", "a file that exists, by a name that one can have")
    if not stat.S_ISREG(status.st_mode):
        return ImageProblem(f"{describe(name)}, which is not a file", _ALLOWED)
    remarks = looked.at(real, status)
    if isinstance(remarks, ImageProblem):
        return ImageProblem(f"{describe(name)}, {remarks.found}", remarks.allowed)
    return CheckedImage(real, tuple(ImageProblem(f"{describe(name)}, {r.found}", r.allowed) for r in remarks))


def look_at(path: Path) -> Remarks | ImageProblem:
    """Read and decode an image file: what is worth a remark about it, or why it cannot be used."""
    with warnings.catch_warnings(), _whole_images_only():
        warnings.simplefilter("ignore")
        try:
            return _content(path)
        except Image.DecompressionBombError as error:
            # Pillow refuses some sizes by itself and tells only the number of pixels.
            pixels = re.search(r"\d+", str(error))
            return _too_large(pixels[0] if pixels else f"over {MAX_PIXELS}")
        except UnidentifiedImageError:
            what = POINTER if is_pointer(path) else "not an image"
            return ImageProblem(f"which is {what}", _ALLOWED)
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


def _content(path: Path) -> Remarks | ImageProblem:
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
        if over := as_opened.over_8_bits(image):
            return ImageProblem(over, "8 bits a channel; scale it to them and save it again")
        image.load()
        return tuple(filter(None, (_turned(image), _hidden(image))))


def _turned(image: Image.Image) -> ImageProblem | None:
    """EXIF data, which viewers go by and models do not."""
    with suppress(Exception):  # what is no EXIF data turns nothing
        if (orientation := image.getexif().get(_ORIENTATION)) in _TURNED:
            return ImageProblem(
                f"whose EXIF data turns it in viewers (orientation {orientation}), and not for the models",
                "a picture that is stored as it is meant; turn its pixels and take the tag out",
            )
    return None


def _hidden(image: Image.Image) -> ImageProblem | None:
    """Colours that nobody sees behind transparency: what they change against the same on white."""
    if not image.has_transparency_data:
        return None
    white = Image.new("RGBA", image.size, "white")
    white.alpha_composite(image.convert("RGBA"))
    changed = ImageChops.difference(white.convert("RGB"), as_opened.as_models_see(image)).split()
    levels = reduce(ImageChops.lighter, changed).histogram()
    share = sum(levels[_ROUNDING + 1 :]) / (image.width * image.height)
    if share <= _FEW:
        return None
    return ImageProblem(
        f"whose transparency hides other colours in {share:.0%} of it, which the models see",
        "a picture without transparency; put it on the background that is meant",
    )


def _too_large(pixels: str) -> ImageProblem:
    return ImageProblem(f"an image of {pixels} pixels", f"at most {MAX_PIXELS} pixels; make it smaller")
