"""Files that are written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.cases.folders import unusable
from harness.cases.kept import write_whole


@pytest.mark.parametrize(("url", "mode"), [("https://user:token@host/x", 0o600), ("https://host/x", 0o644)])
def test_a_file_with_credentials_is_for_its_owner_alone(tmp_path: Path, url: str, mode: int) -> None:
    before = os.umask(0o022)
    try:
        write_whole(tmp_path / "lock.txt", f"lmdeploy @ git+{url}@abc\n")
    finally:
        os.umask(before)
    assert (tmp_path / "lock.txt").stat().st_mode & 0o777 == mode


def test_a_file_that_cannot_be_written_stays_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_whole(tmp_path / "made" / "a", "before")
    monkeypatch.setattr(Path, "replace", lambda *_: (tmp_path / "none").stat())
    with pytest.raises(FileNotFoundError):
        write_whole(tmp_path / "made" / "a", "after")
    assert [(file.name, file.read_text()) for file in (tmp_path / "made").iterdir()] == [("a", "before")]


def test_what_is_no_file_is_written_to_and_stays(tmp_path: Path) -> None:
    """As a shell's ``>(command)``, and a pipe with a name."""
    fifo = tmp_path / "pipe"
    os.mkfifo(fifo)
    read = [os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)]
    end, write = os.pipe()
    read.append(end)
    for path, reader in zip((fifo, Path(f"/dev/fd/{write}")), read, strict=True):
        assert unusable(path, file=True) == ""
        write_whole(path, "all")
        assert os.read(reader, 9) == b"all"
        assert not path.is_file()
    for each in (*read, write):
        os.close(each)
