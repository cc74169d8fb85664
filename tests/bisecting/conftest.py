"""Releases to bisect."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bisecting.releases import Releases


@pytest.fixture
def releases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Releases:
    return Releases(tmp_path, monkeypatch)
