"""Full rows of logits on disk: one ``KEY.PATH.npy`` ([V] float32) per recording and path."""

from __future__ import annotations

import glob
import os
from collections.abc import Mapping
from pathlib import Path

from harness.engines.contract import Row

__all__ = ["forget_rows", "row_file", "save_rows", "sweep_unfinished"]


def row_file(folder: Path, key: str, path: str) -> Path:
    """Where the row that ``path`` saw for the recording under ``key`` is kept."""
    return folder / f"{key}.{path}.npy"


def save_rows(folder: Path, key: str, rows: Mapping[str, Row]) -> None:
    """Write each of ``rows`` [V] by path, so that a file is there whole or not at all; raises OSError."""
    import numpy as np  # only a worker writes; the parent is spared the time

    for path, row in rows.items():
        target = row_file(folder, key, path)
        unfinished = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        try:
            with unfinished.open("wb") as file:
                np.save(file, np.asarray(row, dtype=np.float32), allow_pickle=False)
            unfinished.replace(target)
        finally:
            unfinished.unlink(missing_ok=True)


def forget_rows(folder: Path, key: str) -> None:
    """Remove every row kept under ``key``."""
    for file in folder.glob(f"{glob.escape(key)}.*.npy"):
        file.unlink(missing_ok=True)


def sweep_unfinished(folder: Path, pid: int) -> None:
    """Remove what the worker ``pid`` was writing when it ended."""
    for file in folder.glob(f".*.{pid}.tmp"):
        file.unlink(missing_ok=True)
