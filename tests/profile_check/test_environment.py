"""The interpreter of an engine: there, with the engine's library, or not."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from harness.profile_check import environment
from harness.profile_check.findings import Mark
from tests.profile_check.conftest import Checked


def test_versions_are_told(checked: Checked) -> None:
    finding = checked.of("environment")
    assert finding.mark is Mark.RIGHT
    assert ", torch 2." in finding.text
    assert ", transformers " in finding.text


def test_an_interpreter_that_does_not_start(checked: Checked) -> None:
    python = checked.folder / "python"
    python.write_text("#!/bin/sh\nexit 3\n")
    python.chmod(0o755)
    checked.write(engine={"python": "./python"})
    finding = checked.of("environment")
    assert finding.mark is Mark.WRONG
    assert "exit code 3" in finding.text
    assert str(finding.place) == "profiles.yaml:9:17"
    assert finding.command.endswith("python --version")


def test_a_library_that_is_missing(checked: Checked, monkeypatch: pytest.MonkeyPatch) -> None:
    report = {"python": "3.12.1", "packages": {"torch": "2.12.1", "transformers": None}, "gpus": []}
    monkeypatch.setattr(environment, "probe", lambda python, sources: report)
    found = {finding.topic: finding for finding in checked.findings()}
    assert found["environment"].text == f"{sys.executable} (Python 3.12.1) without transformers"
    assert "-m pip install" in found["environment"].command
    assert "'transformers>=" in found["environment"].command
    assert found["letters"].mark is Mark.UNKNOWN


def test_each_interpreter_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def probe(python: str, sources: tuple[str, ...]) -> dict[str, object]:
        asked.append(python)
        return {"gpus": [f"GPU of {Path(python).name}"]}

    monkeypatch.setattr(environment, "probe", probe)
    surroundings = environment.Surroundings()
    for python in ("/a", "/b", "/a"):
        surroundings.of(python)
    assert asked == ["/a", "/b"]
    assert surroundings.gpus() == ("GPU of a", "GPU of b")
