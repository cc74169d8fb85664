"""The folder of cases that gates are tried on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.gate_folder import Folder


@pytest.fixture
def gate_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    monkeypatch.chdir(tmp_path)
    return Folder(tmp_path)
