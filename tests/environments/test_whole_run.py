"""The suite on engines in environments that uv really makes, from the package index."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from harness.environments.store import Environments
from harness.recordings.store import RecordingStore
from tests.environments.conftest import StandInUv, engine, unseen
from tests.suite.conftest import HERE, Project


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("COLUMNS", "160")
    project = Project(pytester)
    project.write_suite(one="say A", two={"prompt": "say B", "expect": "B"})
    return project


def write_engines(project: Project, **changes: Any) -> None:
    patch = str(HERE / "stand_in_engine.py")
    project.write_profiles(engines={"torch": {"patch": patch}, "lmdeploy": {"patch": patch, **changes}})


def version(python: str, package: str) -> str:
    code = f"import importlib.metadata; print(importlib.metadata.version({package!r}))"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_environments_hold_what_was_asked_for(tmp_path: Path) -> None:
    environments = Environments(tmp_path / "environments")
    asked: list[tuple[str, dict[str, str]]] = [
        ("six==1.16.0", {}),
        ("six==1.17.0", {}),
        ("six", {"as_of": "2024-06-01"}),
    ]
    found = [environments.interpreter("p-e", engine(tmp_path, six, **f), unseen) for six, f in asked]
    assert [version(one.path, "six") for one in found] == ["1.16.0", "1.17.0", "1.16.0"]
    assert found[0].path == found[2].path, "as of that day it was the newest"
    assert found[0].fingerprint == found[2].fingerprint
    assert found[0].fingerprint != found[1].fingerprint
    environments.close()


def test_a_second_time_needs_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environments = Environments(tmp_path / "environments")
    first = environments.interpreter("p-e", engine(tmp_path, "six"), unseen)
    environments.close()
    monkeypatch.setenv("UV_OFFLINE", "1")
    assert environments.interpreter("p-e", engine(tmp_path, "six"), unseen) == first
    environments.close()
    assert environments.remove(Path(first.path).parent.parent.name)
    assert environments.interpreter("p-e", engine(tmp_path, "six"), unseen) == first, (
        "from lock and uv's cache"
    )
    environments.close()


def test_a_package_built_from_a_folder_follows_its_sources(tmp_path: Path) -> None:
    folder = tmp_path / "painted"
    folder.mkdir()
    (folder / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
        '[project]\nname = "painted"\nversion = "1.0"\n'
    )
    environments = Environments(tmp_path / "environments")
    seen = []
    for colour in ("red", "blue"):
        (folder / "painted.py").write_text(f"COLOUR = {colour!r}\n")
        python = environments.interpreter("p-e", engine(tmp_path, "painted @ ./painted"), unseen).path
        code = "import painted; print(painted.COLOUR)"
        seen.append(subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout)
    assert seen == ["red\n", "blue\n"]
    environments.close()


def test_a_run_makes_its_environment_and_the_next_one_does_not(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_engines(project, requirements=["numpy"])
    letters = ["-k", "expected_letter"]
    where = ["--environments", str(tmp_path / "environments")]
    collected = project.run("--collect-only", "-q", *where)
    assert collected.ret == 0
    assert not (tmp_path / "environments").exists(), "collecting makes nothing"
    result = project.run(*where, *letters)
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["*p-lmdeploy: making its environment: numpy*"])
    store = RecordingStore(project.folder / ".harness")
    (file,) = (store.root / "recordings").glob("lmdeploy-*.jsonl")
    recording = store.get(store.answers(file.stem)[0])
    assert recording is not None
    environment: Any = recording.fingerprint["environment"]
    assert environment["lock"]
    assert "numpy" in environment["packages"]
    # From now on neither uv nor a network is there.
    monkeypatch.setattr("uv.find_uv_bin", lambda: "/nowhere/uv")
    made = len(project.recorded())
    project.run(*where, *letters).assert_outcomes(passed=4)
    assert len(project.recorded()) == made
    project.run("--fresh", *where, *letters).assert_outcomes(passed=4)
    assert len(project.recorded()) == 2 * made


def test_an_environment_that_cannot_be_made_is_an_error_of_its_engine_only(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uv = StandInUv.in_place_of_uv(tmp_path / "uv", monkeypatch)
    uv.order(compile={"exit": 1, "say": "error: No solution found: there is no lmdeploy==99"})
    write_engines(project, requirements=["lmdeploy==99"])
    result = project.run("--environments", str(tmp_path / "environments"), "-k", "expected_letter or agree")
    # Two cases: the reference is right, and all that is about the other engine is an error.
    result.assert_outcomes(passed=2, errors=4)
    result.stdout.fnmatch_lines(
        [
            "load: engine p-lmdeploy (cases/profiles.yaml:*: "
            "lmdeploy==99): its requirements could not be resolved",
            "*change `requirements`*",
            "*then: harness env make p-lmdeploy --environments *",
            "*there is no lmdeploy==99*",
        ]
    )
    assert uv.commands == ["compile"], "it is tried once, not for every case"


def test_a_module_missing_in_a_made_environment_is_not_to_be_installed_by_hand(
    project: Project, tmp_path: Path
) -> None:
    project.write_profiles(engines={"torch": {"requirements": ["numpy"]}})
    result = project.run("--environments", str(tmp_path / "environments"), "-k", "expected_letter")
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(["*No module named *; add to the engine's `requirements` *torch>=*"])
    assert "pip install" not in result.stdout.str()
