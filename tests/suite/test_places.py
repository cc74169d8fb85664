"""Paths on pytest's command line, and folders, that cannot be what they are named for."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.suite.conftest import Project

_WRITTEN = (
    ["--recordings"],
    ["--environments"],
    ["--report"],
    ["--report-json"],
    ["--snapshot-update", "--snapshots"],
)


@pytest.fixture
def there(project: Project) -> Project:
    project.write_suite(one="say A", two="say A again")
    (project.folder / "file").write_text("mine")
    (project.folder / "folder").mkdir()
    return project


def refused(project: Project, options: Sequence[str], place: str, *more: str) -> str:
    """What is said of a path that is refused; nothing is asked, and pytest's exit status is that of usage."""
    *before, option = options
    ran = project.run(*before, f"{option}={place}", *more)
    assert ran.ret == pytest.ExitCode.USAGE_ERROR
    said = [line for line in (*ran.outlines, *ran.errlines) if line]
    assert len(said) == 1
    assert project.recorded() == []
    return said[0]


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "xdist"])
@pytest.mark.parametrize("place", ["file/more", "/proc/of-no-process/x"])
@pytest.mark.parametrize("options", _WRITTEN, ids=" ".join)
def test_a_place_that_cannot_be_written_to(
    there: Project, options: list[str], place: str, workers: tuple[str, ...]
) -> None:
    said = refused(there, options, place, *workers)
    assert said.startswith(f"ERROR: {options[-1]}: found {place} (")
    assert "that can be written to" in said
    assert "; see: ls -ld " in said


@pytest.mark.parametrize("options", [*_WRITTEN[:2], ["--snapshots"], ["--cases"]], ids=" ".join)
def test_a_file_for_a_folder(there: Project, options: list[str]) -> None:
    said = refused(there, options, "file")
    assert said.startswith(f"ERROR: {options[-1]}: found file (file: Not a directory); allowed: a folder ")


@pytest.mark.parametrize("options", _WRITTEN[2:4], ids=" ".join)
def test_a_folder_for_a_file(there: Project, options: list[str]) -> None:
    said = refused(there, options, "folder")
    assert said.startswith(f"ERROR: {options[-1]}: found folder (folder: Is a directory); allowed: a file ")


def test_a_folder_of_cases_that_is_not_there(there: Project) -> None:
    said = refused(there, ["--cases"], "nope")
    assert "found nope (" in said
    assert said.endswith(
        f"No such file or directory); allowed: a folder that can be read; see: ls -ld {there.folder}"
    )


@pytest.mark.parametrize("workers", [(), pytest.param(("-n", "2"), marks=pytest.mark.slow)])
def test_recordings_that_cannot_be_kept_end_the_run_with_one_message(
    there: Project, workers: tuple[str, ...]
) -> None:
    (there.folder / ".harness").write_text("mine")
    ran = there.run(*workers)
    told = "\n".join((*ran.outlines, *ran.errlines))
    assert ran.ret == pytest.ExitCode.TESTS_FAILED
    assert told.count("Not a directory") == 1
    assert f"  ls -la {there.folder}/.harness\n" in told
    assert "the run was broken off" in told
    assert "Exit" not in told
    assert "INTERNALERROR" not in told
