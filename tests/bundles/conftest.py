"""A folder of cases whose run is bundled."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from harness.cli import main
from tests.gate_folder import Folder


@pytest.fixture
def gate_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "there")
    return Folder(tmp_path / "there")


@pytest.fixture(scope="session")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of p/torch and p/lmdeploy, which agree but for the last case, and its bundle."""
    folder = Folder(tmp_path_factory.mktemp("asked"))
    folder.write_profiles(q={"engines": {"torch": {}, "third": {"kind": "torch"}}})
    folder.write_suite("say A 1", "say A 2", {"prompt": "lmdeploy: say B", "system": "Be | brief."})
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder.path)
        folder.gate()
        assert bundle() == 0
    return folder.path


@pytest.fixture
def bundled(asked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder one stands in, with the bundle of such a run and nothing else."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(asked / "run.zip", tmp_path)
    return tmp_path


@pytest.fixture
def there(asked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    """A copy of the folder in which it was asked."""
    shutil.copytree(asked, tmp_path / "copy", ignore=shutil.ignore_patterns("run.zip"))
    monkeypatch.chdir(tmp_path / "copy")
    found = Folder.__new__(Folder)
    found.path, found.cases = tmp_path / "copy", tmp_path / "copy" / "cases"
    return found


def bundle(*more: str, out: str = "run.zip") -> int:
    return main(["bundle", "--out", out, *more])
