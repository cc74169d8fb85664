"""Full rows of logits on disk: one ``KEY.PATH.npy`` ([V] float32) per recording and path.

Behind the array, where NumPy does not look, stand a line feed and the CRC-32 of all bytes before as eight
hexadecimal digits: nine bytes, so that no damaged length takes them for numbers. Rows of earlier versions
have none.
"""

from __future__ import annotations

import glob
import io
import os
import zlib
from collections.abc import Mapping
from pathlib import Path

from harness.engines.contract import Row

__all__ = ["forget_rows", "read_row", "row_file", "save_rows", "sweep_unfinished"]


def row_file(folder: Path, key: str, path: str) -> Path:
    """Where the row that ``path`` saw for the recording under ``key`` is kept."""
    return folder / f"{key}.{path}.npy"


def save_rows(folder: Path, key: str, rows: Mapping[str, Row]) -> None:
    """Write each of ``rows`` [V] by path, so that a file is there whole or not at all; raises OSError."""
    import numpy as np  # the parent of a run that scores nothing is spared the time

    for path, row in rows.items():
        target = row_file(folder, key, path)
        unfinished = target.with_name(f".{target.name}.{_writer(os.getpid())}.tmp")
        try:
            buffer = io.BytesIO()
            np.save(buffer, np.asarray(row, dtype=np.float32), allow_pickle=False)
            unfinished.write_bytes(buffer.getvalue() + _sum(buffer.getvalue()))
            unfinished.replace(target)
        finally:
            unfinished.unlink(missing_ok=True)


def read_row(file: Path) -> Row | None:
    """The row [V] in ``file``, None where it is damaged; raises OSError."""
    import numpy as np

    data = file.read_bytes()
    stream = io.BytesIO(data)
    try:
        # Not np.load: it takes a damaged file for an archive if its first bytes happen to be those of one.
        row = np.lib.format.read_array(stream, allow_pickle=False)
    except Exception:  # noqa: BLE001 - numpy says in many ways that a file is damaged
        return None
    body, end = data[: stream.tell()], data[stream.tell() :]
    whole = row.dtype == np.float32 and row.ndim == 1 and end in (b"", _sum(body))
    return row if whole else None


def _sum(data: bytes) -> bytes:
    return b"\n%08x" % zlib.crc32(data)


def forget_rows(folder: Path, key: str) -> None:
    """Remove every row kept under ``key``."""
    for file in folder.glob(f"{glob.escape(key)}.*.npy"):
        file.unlink(missing_ok=True)


def sweep_unfinished(folder: Path, pid: int) -> None:
    """Remove what the worker ``pid`` was writing when it ended."""
    for file in folder.glob(f".*.{glob.escape(_writer(pid))}.tmp"):
        file.unlink(missing_ok=True)


def _writer(pid: int) -> str:
    """A name for a process that machines which share a folder do not give twice."""
    return f"{os.uname().nodename}-{pid}"
