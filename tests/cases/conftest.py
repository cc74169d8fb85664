"""A folder to write suites and profiles into."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from PIL import Image


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with an image, a model, an interpreter and a patch; places are shown by file name."""
    (tmp_path / "images").mkdir()
    Image.new("RGB", (8, 6), "red").save(tmp_path / "images" / "red.png")
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "config.json").write_text("{}")
    (tmp_path / "empty").mkdir()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    (tmp_path / "patch.py").write_text("")
    (tmp_path / "note.txt").write_text("")
    monkeypatch.chdir(tmp_path)
    return tmp_path
