"""The file of a bundle: a zip with ``manifest.json`` and each content once, under its SHA-256.

The manifest has ``format``, ``version`` and, under ``files``, the hash of each file by name. So equal folders
make equal files, a name in the zip is never a path on disk, and what is damaged is found.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from harness.cases.kept import whole
from harness.cases.problems import shown
from harness.engines.contract import Json
from harness.errors import HarnessError

__all__ = ["BundleError", "read_bundle", "write_bundle"]

_MANIFEST: Final = "manifest.json"
_HEAD: Final[Mapping[str, Json]] = {"format": "vlm-harness bundle", "version": 1}
_THEN: Final = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip knows
_PIECE: Final = 1 << 20
_LARGEST: Final = 1 << 30  # bytes of a file: a trace of an 8B model takes 50 MB
_MOST: Final = 1 << 34  # of all


class BundleError(HarnessError):
    """A file is no bundle, or damaged, or a bundle cannot be made or does not hold what is asked of it."""


def write_bundle(file: Path, about: Mapping[str, Json], folder: Path) -> None:
    """Write all of ``folder``, with what the manifest says ``about`` it; the file is whole or not there.

    Raises `BundleError` where something in it is too large, and OSError.
    """
    contents: dict[str, Path] = {}
    files: dict[str, Json] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        if path.stat().st_size > _LARGEST:
            raise BundleError(f"{path.name}: found {path.stat().st_size:,} bytes; allowed: {_LARGEST:,}")
        with path.open("rb") as content:
            name = hashlib.file_digest(content, "sha256").hexdigest()
        contents[name], files[path.relative_to(folder).as_posix()] = path, name
    manifest = folder / _MANIFEST
    manifest.write_text(json.dumps({**_HEAD, **about, "files": files}, indent=1), encoding="utf-8")
    with whole(file) as new, zipfile.ZipFile(new, "w", zipfile.ZIP_DEFLATED) as target:
        for name, path in ((_MANIFEST, manifest), *sorted(contents.items())):
            entry = zipfile.ZipInfo(name, _THEN)
            entry.compress_type = zipfile.ZIP_DEFLATED
            with path.open("rb") as content, target.open(entry, "w") as out:
                shutil.copyfileobj(content, out, _PIECE)


def read_bundle(file: Path, into: Path) -> dict[str, Any]:
    """Unpack a bundle into an empty folder; returns the manifest.

    Raises `BundleError` for what is no bundle, of another version, damaged or too large, or would write
    outside of ``into``; some files may then have been written.
    """
    try:
        with zipfile.ZipFile(file) as source:
            with source.open(_MANIFEST) as member:
                manifest: dict[str, Any] = json.loads(member.read(_LARGEST))
            if (found := {name: manifest.get(name) for name in _HEAD}) != _HEAD:
                raise ValueError(f"{found}, where {dict(_HEAD)} is read")
            left = _MOST
            for name, digest in manifest["files"].items():
                if not _stays_below(name):
                    raise ValueError(f"the file {name!r}, which leads outside")
                (into / name).parent.mkdir(parents=True, exist_ok=True)
                left -= _unpack(source, digest, into / name, min(left, _LARGEST))
            return manifest
    except OSError as error:
        raise BundleError(f"{shown(file)}: cannot be read as a bundle: {error}") from error
    except Exception as error:
        raise BundleError(
            f"{shown(file)}: found {error}; allowed: a bundle as harness bundle writes it\n"
            "Download it again, or make it again where it ran:\n  harness bundle"
        ) from error


def _stays_below(name: str) -> bool:
    parts = name.split("/")
    return not any(mark in name for mark in "\\:\0") and not any(part in ("", ".", "..") for part in parts)


def _unpack(source: zipfile.ZipFile, digest: str, target: Path, most: int) -> int:
    """Write a content; returns its size. No more than ``most`` bytes are written, whatever it unpacks to."""
    seen, size = hashlib.sha256(), 0
    with source.open(digest) as member, target.open("xb") as out:
        while piece := member.read(_PIECE):
            if (size := size + len(piece)) > most:
                raise ValueError(f"more than {most:,} bytes in {target.name!r}")
            seen.update(piece)
            out.write(piece)
    if seen.hexdigest() != digest:
        raise ValueError(f"the file {target.name!r} damaged")
    return size
