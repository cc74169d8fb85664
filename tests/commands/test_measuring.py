"""The start that commands share."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from harness.cli import main
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


def test_a_long_phase_is_said_again(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    progress, clock = module._Progress(), iter((100.0, 101.0, 112.0, 112.0, 113.0))
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    for now in range(3):
        progress.show(EngineProgress("p-torch", "loading", now, 2, 0, 0))
    assert len(capsys.readouterr().err.splitlines()) == 2


@pytest.mark.parametrize("option", ["--json", "--picture"])
def test_a_file_that_cannot_be_written_is_refused_before_anything_is_asked(
    folder: Path, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("cases/s.yaml/x.svg", "cases"):
        with pytest.raises(SystemExit, match="2"):
            main(["explain", "p/torch..p/torch", "s.a", option, name])
        assert f"argument {option}: found {name} (" in capsys.readouterr().err
    assert not (folder / ".harness").exists()
