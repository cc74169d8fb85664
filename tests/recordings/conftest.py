"""A store in a folder of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.recordings.store import RecordingStore


@pytest.fixture
def store(tmp_path: Path) -> RecordingStore:
    return RecordingStore(tmp_path / "store")
