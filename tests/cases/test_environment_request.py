"""What a profile may ask of an environment: every rule with its place, and what a request becomes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from harness.cases.environment_request import EnvironmentRequest, without_credentials
from harness.cases.profiles import EngineSpec
from harness.cases.suites import Case, Location, Suite
from harness.errors import CaseFileError, Problem
from tests.cases.writing import load_profiles

PLACE = Location(Path("/x.yaml"), 1, 1)
CASE = Case(id="c", suite="s", prompt="x", letters=("A", "B"), expect="A", location=PLACE)
SUITES = (Suite(name="s", path=Path("/s.yaml"), cases=(CASE,)),)
TOMORROW = (datetime.now(UTC) + timedelta(days=1)).date()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "config.json").write_text("{}")
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo-1.0-py3-none-any.whl").write_bytes(b"wheel")
    (tmp_path / "note.txt").write_text("")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def load(folder: Path, engine: str) -> EngineSpec:
    text = f"profiles:\n  p:\n    model: m\n    reference: torch\n    engines:\n      torch: {engine}\n"
    (folder / "profiles.yaml").write_text(text)
    return load_profiles(folder / "profiles.yaml", SUITES)[0].engines[0]


def problems(folder: Path, engine: str) -> list[Problem]:
    with pytest.raises(CaseFileError) as caught:
        load(folder, engine)
    return list(caught.value.problems)


def test_a_request_with_everything(folder: Path) -> None:
    spec = load(
        folder,
        "{requirements: ['transformers[torch]==4.49.0', 'demo @ ./demo', demo-1.0-py3-none-any.whl, "
        "'git+https://host/x@abc', 'x @ https://host/x.whl', ' six ', six], as_of: 2026-06-01, "
        "python_version: '3.12'}",
    )
    assert spec.python is None
    assert spec.environment == EnvironmentRequest(
        requirements=(
            "transformers[torch]==4.49.0",
            f"demo @ {(folder / 'demo').as_uri()}",
            str(folder / "demo-1.0-py3-none-any.whl"),
            "git+https://host/x@abc",
            "x @ https://host/x.whl",
            "six",
        ),
        folder=folder,
        as_of="2026-06-01",
        python_version="3.12",
    )
    assert str(spec.environment).endswith("x @ https://host/x.whl, six as of 2026-06-01")


def test_without_requirements_there_is_no_request(folder: Path) -> None:
    spec = load(folder, "{}")
    assert spec.environment is None
    assert spec.python is not None


@pytest.mark.parametrize(
    ("engine", "place", "found", "allowed"),
    [
        ("{requirements: []}", "6:29", "a list of 0", "at least 1"),
        ("{requirements: six}", "6:29", "'six'", "a list"),
        ("{requirements: [3]}", "6:30", "the number 3", "text; put it in quotes"),
        (
            "{requirements: ['lmdeploy=0.12']}",
            "6:30",
            "'lmdeploy=0.12' (Expected",
            "such as lmdeploy==0.12.3",
        ),
        ("{requirements: [six, '-r x.txt']}", "6:35", "'-r x.txt', an option", "uv.toml"),
        ('{requirements: ["six\\n--index-url x"]}', "6:30", "an option", "uv.toml"),
        ("{requirements: [./demo]}", "6:30", "'./demo', a folder", "NAME @ ./demo"),
        ("{requirements: ['x @ ./gone']}", "6:30", "'./gone', which does not exist", "looked for gone"),
        ("{requirements: [../gone.whl]}", "6:30", "which does not exist", "looked for"),
        ("{requirements: [gone-1.0.whl]}", "6:30", "which does not exist", "looked for gone-1.0.whl"),
        ("{requirements: [./note.txt]}", "6:30", "'./note.txt', a file", "ends in .whl"),
        ("{requirements: [six], as_of: 2026-02-30}", "6:43", "'2026-02-30'", "a day of the calendar"),
        ("{requirements: [six], as_of: June}", "6:43", "'June'", "a day such as 2026-06-01"),
        (f"{{requirements: [six], as_of: {TOMORROW}}}", "6:43", "which is to come", "a day up to today"),
        ("{requirements: [six], python_version: 3.12}", "6:52", "the number 3.12", "in quotes"),
        ("{requirements: [six], python_version: '3.10'}", "6:52", "'3.10'", "3.11 or newer"),
        ("{requirements: [six], python_version: pypy}", "6:52", "'pypy'", "such as '3.11'"),
        ("{as_of: 2026-06-01}", "6:15", "as_of without requirements", "beside `requirements` only"),
        ("{python_version: '3.12'}", "6:15", "python_version without requirements", "beside"),
        ("{requirements: [six], python: python3}", "6:36", "an interpreter beside requirements", "either: "),
    ],
)
def test_a_mistake_has_its_place(folder: Path, engine: str, place: str, found: str, allowed: str) -> None:
    (problem,) = problems(folder, engine)
    assert problem.place == f"profiles.yaml:{place}"
    assert found in problem.found
    assert allowed in problem.allowed


def test_a_profile_has_no_environment_of_its_own(folder: Path) -> None:
    (folder / "profiles.yaml").write_text(
        "profiles: {p: {model: m, reference: torch, requirements: [six], engines: {torch: {}}}}\n"
    )
    with pytest.raises(CaseFileError, match="the unknown key 'requirements'"):
        load_profiles(folder / "profiles.yaml", SUITES)


def test_local_content_is_hashed(folder: Path) -> None:
    spec = load(folder, "{requirements: ['demo @ demo', demo-1.0-py3-none-any.whl, six]}")
    assert spec.environment is not None
    before = spec.environment.local()
    assert len(before) == 2
    assert spec.environment.folders() == ["demo"]
    (folder / "demo" / "x.py").write_text("")
    (folder / "demo-1.0-py3-none-any.whl").write_bytes(b"another")
    after = spec.environment.local()
    assert all(before[name] != after[name] for name in before)


def test_credentials_are_taken_out_of_urls() -> None:
    assert without_credentials("x @ https://me:word@host/a@b and git+ssh://git@host/y") == (
        "x @ https://host/a@b and git+ssh://host/y"
    )
