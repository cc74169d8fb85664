"""A folder of suites and profiles as a whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.cases.folder import load
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
