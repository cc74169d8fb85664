"""States on the way: what was killed leaves some gigabytes, which the next explanation removes."""

from __future__ import annotations

from pathlib import Path

from harness.drift import run as module
from harness.environments.hold import Hold


def test_states_that_nobody_holds_are_removed(tmp_path: Path) -> None:
    for name in ("states-killed", "states-at-work", "p-a..p-b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "seen.npz").write_bytes(b"large")
    held = Hold(tmp_path / "states-at-work" / module._HELD)
    held.take()
    module._remove_left(tmp_path)
    assert sorted(folder.name for folder in tmp_path.iterdir()) == ["p-a..p-b", "states-at-work"]
    held.release()
    module._remove_left(tmp_path)
    assert [folder.name for folder in tmp_path.iterdir()] == ["p-a..p-b"]
