"""What environments take on the disk."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.environments.folder import EnvironmentsFolder, default_folder

NAME = "0123456789abcdef"


def test_hard_links_are_counted_once_and_shared_ones_are_not_its_own(tmp_path: Path) -> None:
    folder = EnvironmentsFolder(tmp_path / "environments")
    place = folder.place(NAME)
    (place / "lib").mkdir(parents=True)
    cached = tmp_path / "cached"
    cached.write_bytes(b"x" * 100_000)
    os.link(cached, place / "lib" / "shared")
    (place / "own").write_bytes(b"x" * 200_000)
    os.link(place / "own", place / "lib" / "twice")
    (place / "link").symlink_to(cached)
    size = folder.size(NAME)
    assert 300_000 <= size.whole < 330_000
    assert 200_000 <= size.own < 220_000
    assert folder.size("f" * 16) == (0, 0), "one that is not there"
    cached.unlink()
    assert folder.size(NAME).own == folder.size(NAME).whole


def test_only_folders_with_an_id_are_environments(tmp_path: Path) -> None:
    folder = EnvironmentsFolder(tmp_path / "environments")
    assert folder.ids() == []
    folder.prepare()
    for name in (NAME, "resolved", "0123"):
        (folder.root / name).mkdir()
    assert folder.ids() == [NAME]
    assert (folder.root / ".gitignore").read_text() == "*\n"


def test_removing_begins_with_the_marker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a removal that is broken off does not leave something that looks whole."""
    folder = EnvironmentsFolder(tmp_path)
    place = folder.place(NAME)
    place.mkdir()
    marker = place / "harness-environment.json"
    marker.write_text("{}")
    monkeypatch.setattr("shutil.rmtree", lambda path: pytest.fail("too early") if marker.exists() else None)
    folder.clear(NAME)
    folder.clear(NAME)


def test_the_default_is_in_the_users_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "vlm-harness" / "environments"
