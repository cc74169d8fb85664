"""docs/ci.md, 'A red night in five steps': its commands, run as they stand there."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

from harness.cli import main
from tests.bundles.traces import keep_trace
from tests.gate_folder import Folder

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
SECTION = PAGE.partition("## A red night in five steps\n")[2].partition("\n## ")[0]
COMMANDS = re.findall(r"^    (.+)$", SECTION, re.MULTILINE)
SCRIPT = "python report/reproduce.py "  # run with both engines in tests/bundles/test_bug_report.py
BUNDLED = "harness bundle --out night.bundle.zip"


def test_each_step_has_its_command() -> None:
    assert re.findall(r"^\*\*(\d)\.", SECTION, re.MULTILINE) == ["1", "2", "3", "4", "5"]
    assert [" ".join(command.split()[:2]) for command in COMMANDS] == [
        "harness gate", "harness gate", "harness explain", "harness report-bug", "python report/reproduce.py",
    ]  # fmt: skip
    assert f"`{BUNDLED}`" in SECTION.replace("\n", " ")


def test_they_do_what_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On the bundle of a run whose model and cases are gone."""
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "there")
    folder = Folder(tmp_path / "there")
    engines = {name: {"kind": "lmdeploy"} for name in ("previous", "candidate")}
    engines["candidate"]["dtype"] = "bfloat16"
    folder.write_profiles(mine={"reference": "previous", "engines": engines})
    cases = [
        {"id": "red-circle", "prompt": "say A"},
        *({"id": f"c{n}", "prompt": f"say A {n}"} for n in range(9)),
    ]
    folder.write_suite(*cases, name="shapes")
    status = main(["gate", "mine"])
    sentence = capsys.readouterr().out.partition("\n")[0]
    keep_trace(tmp_path / "there" / ".harness", "mine/previous", "mine/candidate", "shapes.red-circle")
    assert main(shlex.split(BUNDLED)[1:]) == 0
    shutil.move("night.bundle.zip", tmp_path)
    monkeypatch.chdir(tmp_path)
    shutil.rmtree("there")
    capsys.readouterr()
    told = []
    for command in COMMANDS:
        if not command.startswith(SCRIPT):
            expected = {"explain": 1, "report-bug": 0}.get(command.split()[1], status)
            assert main(shlex.split(command)[1:]) == expected, command
            told.append(capsys.readouterr().out)
    verdict, case, stage, written = told
    assert verdict.startswith(sentence)
    assert ": shapes.red-circle\n" in case
    assert stage.startswith("shapes.red-circle: A = mine/previous, B = mine/candidate")
    assert "logits" in stage
    assert written.startswith("wrote report: ")
    (script,) = (command.split()[1] for command in COMMANDS if command.startswith("python "))
    assert (tmp_path / script).is_file()
