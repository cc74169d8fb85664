"""What is made from suites and kept beside them, in ``.pictures``; it may be removed at any time.

::

    ab/abcd....png   a picture of a table under its SHA-256, see `harness.cases.sources.pictures`
    SUITE.json       what a suite took from its table, see `harness.cases.sources.reading`
    .looked.json     what was seen of images when they were decoded, see `harness.cases.images`
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from platformdirs import user_cache_path

from harness.cases.environment_request import without_credentials

__all__ = ["is_device", "kept_for", "make_ignored", "whole", "write_whole"]

_FOLDER: Final = ".pictures"
_DEVICES: Final = ("/dev", "/dev/fd")  # links there lead to files, and must not be replaced by one


def kept_for(folder: Path) -> Path:
    """Where that of the suites in ``folder`` lies: beside them, or if nobody may write, in the user's cache.

    It is made, and tells git to leave it out. Raises OSError where neither can be.
    """
    kept = folder / _FOLDER
    with suppress(OSError):
        kept.mkdir(exist_ok=True)
    if not (kept.is_dir() and os.access(kept, os.W_OK)):
        kept = user_cache_path("vlm-harness") / "pictures"
    make_ignored(kept)
    return kept


def make_ignored(folder: Path) -> None:
    """Make a folder that git leaves out. Raises OSError."""
    if not (ignore := folder / ".gitignore").exists():
        write_whole(ignore, "*\n")


def is_device(path: Path) -> bool:
    """Whether it is there, and no file that another can replace: a pipe, /dev/stdout, /dev/fd/63."""
    return path.exists() and (os.fspath(path.parent) in _DEVICES or not (path.is_file() or path.is_dir()))


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A file to write in the place of ``path``, which others see when all of it is there, or as it was.

    Its folder is made. Raises OSError. What `is_device` is written to as it is.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if is_device(path):
        yield path
        return
    new = path.with_name(f".new-{uuid.uuid4().hex}")
    try:
        yield new
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file as `whole` does; none but its owner reads it where it has credentials."""
    secret = isinstance(content, str) and without_credentials(content) != content
    with whole(path) as new:
        new.touch(mode=0o600 if secret else 0o666)  # before anything stands in it
        new.write_bytes(content.encode() if isinstance(content, str) else content)
