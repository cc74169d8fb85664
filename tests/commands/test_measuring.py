"""The start that commands share."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from harness.commands import measuring as module
from harness.commands.measuring import add_folders, measuring
from harness.environments.store import Environments
from harness.errors import CaseFileError
from harness.scoring.resolving import EngineProgress


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    cases = tmp_path / "cases"
    (cases / "m").mkdir(parents=True)
    (cases / "m" / "config.json").write_text("{}")
    (cases / "s.yaml").write_text(
        "defaults: {prompt: x, letters: [A, B]}\ncases: [{id: a, expect: A}, {id: b, expect: B}]\n"
    )
    (cases / "profiles.yaml").write_text(
        "profiles: {p: {model: m, reference: torch, engines: {torch: {}}}}\n"
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> list[Environments]:
    """The environments that were closed so far."""
    found: list[Environments] = []
    monkeypatch.setattr(Environments, "close", lambda self: found.append(self))
    return found


def options(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_folders(parser)
    return parser.parse_args(arguments)


@pytest.mark.usefixtures("folder")
def test_the_folders_are_used_and_the_environments_closed(closed: list[Environments]) -> None:
    with measuring(options("--recordings", "kept", "--environments", "made")) as measure:
        assert [case.name for case in measure.loaded.cases] == ["s.a", "s.b"]
        assert measure.loaded.profile("p").name == "p"
        assert closed == []
    assert len(closed) == 1


@pytest.mark.usefixtures("folder")
def test_the_environments_are_closed_after_an_error(closed: list[Environments]) -> None:
    with pytest.raises(OSError, match="planted"), measuring(options()):
        raise OSError("planted")
    assert len(closed) == 1


def test_problems_in_the_folder_are_raised(folder: Path) -> None:
    (folder / "cases" / "s.yaml").write_text("cases: [{id: a, expekt: A}]\n")
    with pytest.raises(CaseFileError, match="expekt"), measuring(options()):
        pytest.fail("the folder is not valid")


def test_progress_is_said_once_per_phase(capsys: pytest.CaptureFixture[str]) -> None:
    progress = module._Progress()
    for phase, done in (("loading", 0), ("scoring", 0), ("scoring", 1), ("scoring", 2)):
        progress.show(EngineProgress("p-torch", phase, done, 2, 0, 0))
    printed = capsys.readouterr()
    assert printed.out == ""
    assert len(printed.err.splitlines()) == 2
