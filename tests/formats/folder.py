"""A folder of cases with what an earlier version accepted in it, to be written in."""

from __future__ import annotations

import shutil
from pathlib import Path

FROZEN = Path(__file__).parent / "f586fa1"
FROZEN_THIRD = Path(__file__).parent / "0510ca5"
_CASES = Path(__file__).parents[2] / "cases"


def frozen_folder(path: Path) -> Path:
    """Copy cases and snapshots into ``path``, with the images and the model that the cases name."""
    for name in ("cases", "snapshots"):
        shutil.copytree(FROZEN / name, path / name)
    shutil.copytree(_CASES / "images", path / "cases" / "images", dirs_exist_ok=True)
    (path / "cases" / "model").symlink_to(_CASES / "models" / "embedded")
    return path
