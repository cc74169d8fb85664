"""`harness profile check`: what it prints, and its exit status."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.cases.profiles import EngineSpec
from harness.cli import main
from harness.machine.findings import Finding, right, unknown, wrong
from harness.profile_check import checking

PROFILES = """\
profiles:
  p:
    model: m
    reference: torch
    suites: [s]
    engines:
      torch: {}
      lmdeploy: {}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    cases = tmp_path / "cases"
    (cases / "m").mkdir(parents=True)
    (cases / "m" / "config.json").write_text("{}")
    (cases / "s.yaml").write_text(
        "defaults: {prompt: x, letters: [A, B]}\ncases:\n  - {id: a, expect: A}\n  - {id: b, expect: B}\n"
    )
    (cases / "profiles.yaml").write_text(PROFILES)
    monkeypatch.chdir(tmp_path)
    return cases


def stand_in(*found: str) -> object:
    def engine(check: checking.ProfileCheck, engine: EngineSpec) -> Iterator[Finding]:
        for kind in found:
            if kind == "wrong":
                place = engine.location
                yield wrong("model", "found 1", place, allowed="2", command="write 2")
            else:
                yield right("model", "all of it") if kind == "right" else unknown("model", "who knows")

    return engine


@pytest.mark.parametrize(
    ("found", "status", "last"),
    [
        (("right",), 0, "0 wrong, 0 not to be known from here"),
        (("right", "unknown"), 0, "0 wrong, 2 not to be known from here"),
        (("wrong", "unknown", "right"), 1, "2 wrong, 2 not to be known from here"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_only_what_is_wrong_fails(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    found: tuple[str, ...],
    status: int,
    last: str,
) -> None:
    monkeypatch.setattr(checking.ProfileCheck, "engine", stand_in(*found))
    assert main(["profile", "check", "p"]) == status
    assert capsys.readouterr().out.splitlines()[-1] == last


@pytest.mark.usefixtures("folder")
def test_every_line_has_its_place(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(checking.ProfileCheck, "engine", stand_in("wrong"))
    main(["profile", "check", "p"])
    assert capsys.readouterr().out.splitlines() == [
        "cases/profiles.yaml:2:3: profile p",
        "  ✓ files        valid; suites s with 2 cases and their images",
        "cases/profiles.yaml:7:7: engine torch",
        "  ✗ model        cases/profiles.yaml:7:7: found 1",
        "      allowed: 2",
        "      next: write 2",
        "cases/profiles.yaml:8:7: engine lmdeploy",
        "  ✗ model        cases/profiles.yaml:8:7: found 1",
        "      allowed: 2",
        "      next: write 2",
        "2 wrong, 0 not to be known from here",
    ]


@pytest.mark.usefixtures("folder")
def test_a_profile_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", "check", "q"]) == 2
    assert capsys.readouterr().err == "profile: found 'q'; allowed: p (from cases/profiles.yaml)\n"


def test_files_that_are_not_valid(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "profiles.yaml").write_text(PROFILES.replace("suites: [s]", "suites: [t]"))
    assert main(["profile", "check", "p"]) == 1
    assert "profiles.p.suites.0: found 't'; allowed: a suite in this folder" in capsys.readouterr().err
