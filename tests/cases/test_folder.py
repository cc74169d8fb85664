"""A folder of suites and profiles as a whole."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.cases.folder import load
from harness.cases.folders import folder_named
from harness.cases.problems import nearest
from harness.errors import HarnessError, UnknownProfile

ENGINES = "{model: m, reference: torch, engines: {torch: {}}}"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    cases = tmp_path / "cases"
    (cases / "m").mkdir(parents=True)
    (cases / "m" / "config.json").write_text("{}")
    for name, case in (("s", "a"), ("t", "b")):
        (cases / f"{name}.yaml").write_text(
            f"defaults: {{prompt: x, letters: [A, B]}}\ncases: [{{id: {case}, expect: A}}]\n"
        )
    (cases / "profiles.yaml").write_text(f"profiles:\n  first: {ENGINES}\n  second: {ENGINES}\n")
    monkeypatch.chdir(tmp_path)
    return cases


def test_the_cases_of_all_suites(folder: Path) -> None:
    assert [case.name for case in load(folder).cases] == ["s.a", "t.b"]


def test_a_profile_by_its_name(folder: Path) -> None:
    assert load(folder).profile("second").location.line == 3


def test_an_unknown_profile_is_told_with_the_known_ones(folder: Path) -> None:
    with pytest.raises(UnknownProfile) as raised:
        load(folder).profile("secnd")
    assert isinstance(raised.value, HarnessError)
    assert str(raised.value) == (
        "profile: found 'secnd'; allowed: second (the nearest), first (from cases/profiles.yaml)"
    )


def test_of_many_names_the_first_are_told() -> None:
    told = nearest("c77", [f"c{n}" for n in range(90)])
    assert told.startswith("c77 (the nearest), c0, c1, ")
    assert told.endswith(", c19, and 69 more")
    assert nearest("x", ["a", "b"]) == "a, b"


def test_pyproject_names_folders_for_all_that_lies_below(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        "[tool.vlm-harness]\ncases = 'checks'\nrecordings = 'kept/here'\n"
    )
    (below := tmp_path / "a" / "b").mkdir(parents=True)
    (below / "pyproject.toml").write_text("[tool.other]\n")

    assert folder_named("cases", below) == tmp_path / "checks"
    assert folder_named("recordings", tmp_path) == tmp_path / "kept" / "here"
    assert folder_named("snapshots", below) is None
    assert folder_named("cases", tmp_path.parent) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[tool.vlm-harness]\ncase = 'x'\n", "found 'case'; allowed: cases (the nearest)"),
        ("[tool.vlm-harness]\ncases = 3\n", "cases: found 3; allowed: a folder's path"),
        ("[tool.vlm-harness]\ncases = ' '\n", "cases: found ' '; allowed"),
        ("[tool]\nvlm-harness = 1\n", "found 1; allowed: a table of cases"),
        ("[tool.vlm-harness\n", "cannot be read"),
    ],
)
def test_what_pyproject_may_not_say_of_folders(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    with pytest.raises(HarnessError, match=re.escape(words)):
        folder_named("cases", tmp_path)
