"""Folders that a repository names in its pyproject.toml, under ``[tool.vlm-harness]``; an option wins.

And whether a place that was named can be what it is named for.

[tool.vlm-harness]
cases = "checks"      # relative to this file; so are snapshots, recordings, environments
"""

from __future__ import annotations

import errno
import os
import shlex
import tempfile
import tomllib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Final

from harness.cases.kept import is_device
from harness.cases.problems import nearest, shown
from harness.errors import HarnessError

__all__ = ["FOLDERS", "folder_named", "unusable"]

FOLDERS: Final = ("cases", "snapshots", "recordings", "environments")
_TABLE: Final = "vlm-harness"


def folder_named(name: str, start: Path) -> Path | None:
    """What the nearest pyproject.toml with such a table, from ``start`` upwards, says of ``name``.

    None where none says anything. Raises HarnessError for a file that cannot be read, and for what its table
    holds that may not stand there.
    """
    for folder in (start, *start.parents):
        file = folder / "pyproject.toml"
        if not file.is_file():
            continue
        state = file.stat()
        if (table := _table(file, (state.st_mtime_ns, state.st_size, state.st_ino))) is not None:
            return folder / table[name] if name in table else None
    return None


@lru_cache(maxsize=8)
def _table(file: Path, state: tuple[int, ...]) -> Mapping[str, str] | None:
    """The table of a file, None where it has none. Every option and many a test ask, so it is read once."""
    del state  # another one is another file
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8")).get("tool", {}).get(_TABLE)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise HarnessError(f"{shown(file)}: cannot be read: {error}") from error
    if table is None:
        return None
    place = f"{shown(file)}: [tool.{_TABLE}]"
    if not isinstance(table, dict):
        raise HarnessError(f"{place}: found {table!r}; allowed: a table of {', '.join(FOLDERS)}")
    for key, value in table.items():
        if key not in FOLDERS:
            raise HarnessError(f"{place}: found {key!r}; allowed: {nearest(key, FOLDERS)}")
        if not isinstance(value, str) or not value.strip():
            raise HarnessError(f"{place}: {key}: found {value!r}; allowed: a folder's path from there")
    return table


def unusable(path: Path, *, file: bool = False, written: bool = True, new: bool = True) -> str:
    """Why ``path`` cannot be a folder, or a ``file``: what was found and is allowed; '' where it can be.

    It need not be there where it may be ``new``. That something can be ``written`` is tried, by a file
    without a name, as a file system may refuse what permissions allow. A full disk is no reason: what it
    has can be read.
    """
    if file and is_device(path):
        return ""
    start = path.absolute().parent if file else path.absolute()
    there = next(one for one in (start, *start.parents) if os.path.lexists(one))
    try:
        if file and path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if written:
            tempfile.TemporaryFile(dir=there).close()
        else:
            os.scandir(there if new else start).close()
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return ""
        there = path.absolute() if file and error.errno == errno.EISDIR else there
        kind = "file in a folder" if file else "folder"
        allowed = f"a {kind} that can be {'written to' if written else 'read'}{', there or new' * new}"
        why = f"found {shown(path.absolute())} ({shown(there)}: {error.strerror})"
        return f"{why}; allowed: {allowed}; see: ls -ld {shlex.quote(str(there))}"
    return ""
