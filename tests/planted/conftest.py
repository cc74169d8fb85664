"""Some of the committed cases on the real engines, in a folder where changes can be planted."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FAULTS = Path(__file__).with_name("faults")
CASES_PER_SUITE = 2
WHOLE = "words"  # the suite of which all cases are taken


class Planted:
    """A copy of accepted cases, snapshots and model; recordings are shared, as they are keyed by content."""

    def __init__(self, pytester: pytest.Pytester, accepted: Path) -> None:
        self.pytester = pytester
        self.folder = pytester.path
        shutil.copytree(accepted / "cases", self.folder / "cases")
        shutil.copytree(accepted / "snapshots", self.folder / "snapshots")
        self._recordings = accepted / "recordings"

    def run(self, *arguments: str) -> pytest.RunResult:
        return run(self.pytester, self._recordings, *arguments)

    def edit(self, name: str) -> _Edited:
        return _Edited(self.folder / "cases" / name)

    def engine(self, name: str, **changes: Any) -> None:
        """Change an engine of the profile."""
        with self.edit("profiles.yaml") as profiles:
            profiles["profiles"]["embedded"]["engines"][name] |= changes

    def other_model(self, name: str = "other") -> Path:
        """A copy of the model beside it; as `model` of an engine it is `models/NAME`."""
        models = self.folder / "cases/models"
        return Path(shutil.copytree(models / "embedded", models / name))


class _Edited:
    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> dict[str, Any]:
        self._content = yaml.safe_load(self._path.read_text())
        assert isinstance(self._content, dict)
        return self._content

    def __exit__(self, *_: object) -> None:
        self._path.write_text(yaml.safe_dump(self._content, sort_keys=False, allow_unicode=True))


def run(pytester: pytest.Pytester, recordings: Path, *arguments: str) -> pytest.RunResult:
    return pytester.runpytest_inprocess(
        *("-p", "no:cacheprovider", "--pyargs", "harness.suite"),
        *("--cases", "cases", "--recordings", str(recordings), *arguments),
    )


@pytest.fixture(scope="session")
def accepted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cases of every committed suite, all of one, and a folder for recordings."""
    folder = tmp_path_factory.mktemp("accepted")
    cases = folder / "cases"
    shutil.copytree(ROOT / "cases" / "models" / "embedded", cases / "models" / "embedded")
    shutil.copytree(ROOT / "cases" / "images", cases / "images")
    for path in (ROOT / "cases").glob("*.yaml"):
        content = yaml.safe_load(path.read_text())
        if path.stem == "profiles":
            content = {"profiles": {"embedded": content["profiles"]["embedded"]}}
        else:
            plain = [case for case in content["cases"] if "known_failure" not in case]
            content["cases"] = plain if path.stem == WHOLE else plain[:CASES_PER_SUITE]
        (cases / path.name).write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
    (folder / "snapshots").mkdir()
    return folder


@pytest.fixture
def unaccepted(pytester: pytest.Pytester, accepted: Path, monkeypatch: pytest.MonkeyPatch) -> Planted:
    """The cases without snapshots, for what is to be seen without them."""
    monkeypatch.setenv("COLUMNS", "160")
    return Planted(pytester, accepted)


@pytest.fixture
def planted(unaccepted: Planted, accepted: Path) -> Planted:
    planted = unaccepted
    if not any((accepted / "snapshots").iterdir()):
        result = planted.run("-k", "matches_snapshot", "--snapshot-update")
        assert result.ret == 0
        shutil.copytree(planted.folder / "snapshots", accepted / "snapshots", dirs_exist_ok=True)
    return planted
