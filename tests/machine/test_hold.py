"""Scratch folders: what a killed process leaves behind goes with the next one of its prefix."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from harness.machine.hold import Hold, new_scratch, scratch

MAKES_ONE = (
    "import sys; from pathlib import Path; from harness.machine.hold import new_scratch\n"
    "folder, held = new_scratch('some-', Path(sys.argv[1])); (folder / 'large').write_bytes(b'large')\n"
    "print(folder, flush=True); sys.stdin.read()\n"
)


def names(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


def test_those_of_a_killed_process_are_removed_and_those_of_a_living_one_are_not(tmp_path: Path) -> None:
    (tmp_path / "some-of-somebody-else").mkdir()  # which nobody says is held or not
    (tmp_path / "other").mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", MAKES_ONE, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        theirs = Path(process.stdout.readline().strip())
        with scratch("some-", tmp_path) as mine:
            assert mine.is_dir()
            assert list(mine.iterdir()) == []
            assert (theirs / "large").exists()
        process.kill()
    with scratch("some-", tmp_path) as mine:
        assert names(tmp_path) == sorted(["other", "some-of-somebody-else", mine.parent.name])
    assert names(tmp_path) == ["other", "some-of-somebody-else"]


def test_one_that_is_removed_before_it_is_held_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Hold.take
    seen: list[Path] = []

    def late(self: Hold) -> None:
        if not seen:
            (folder,) = tmp_path.iterdir()
            seen.append(folder)
            (folder / "held").unlink()
            folder.rmdir()
        real(self)

    monkeypatch.setattr(Hold, "take", late)
    folder, held = new_scratch("some-", tmp_path)
    assert folder.is_dir()
    assert folder not in seen
    held.release()


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    precious, root = tmp_path / "precious", tmp_path / "root"
    precious.mkdir()
    root.mkdir()
    (precious / "held").touch()
    (root / "some-link").symlink_to(precious)
    with scratch("some-", root):
        pass
    assert precious.is_dir()
    assert (precious / "held").exists()
