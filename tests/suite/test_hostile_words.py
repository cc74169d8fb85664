"""An engine whose words are a terminal's codes, commands to GitHub and markup: a run shows them as text."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.suite.conftest import HERE, Project

WORDS = "\x1b]0;owned\x07\x1b[2J<script>alert(1)</script>\r\n::error::owned\n##[group]\u202e\x9b31m\ud800=1+1"
PATCH = f"""
import runpy, sys
from dataclasses import replace
made = runpy.run_path({str(HERE / "stand_in_engine.py")!r})
from harness.engines.contract import Failure, Outcome
from harness.errors import ErrorKind
WORDS = {WORDS!r}
class Hostile(made["StandIn"]):
    def fingerprint(self):
        return {{**super().fingerprint(), "device": WORDS, WORDS: WORDS}}
    def score(self, requests):
        print(WORDS.replace("\\ud800", ""), flush=True)
        for one in super().score(requests):
            if one.case == "s.fails" and self.settings.kind == "lmdeploy":
                yield Outcome(one.case, Failure(kind=ErrorKind.FAILED, message=WORDS))
            else:
                yield Outcome(one.case, replace(one.result, text=WORDS + one.result.text))
for name in ("torch_native", "lmdeploy_pipeline"):
    sys.modules[f"harness.engines.{{name}}.engine"].load = Hostile
"""
# A terminal's codes and another direction; what GitHub takes for a command, which of its own have a place.
CODES = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e]")
COMMANDS = re.compile(r"^\s*::(?!error (?:title|file)=)|##\[", re.MULTILINE)


def test_nothing_of_it_acts(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    (project.folder / "hostile.py").write_text(PATCH)
    engines = {name: {"patch": "../hostile.py"} for name in ("torch", "lmdeploy")}
    project.write_profiles(engines=engines)
    project.write_suite(right="say A", wrong="lmdeploy: say B", fails="say A, fails")
    summary = project.folder / "summary.md"
    for name, value in {
        "ACTIONS": "true",
        "STEP_SUMMARY": str(summary),
        "WORKSPACE": str(project.folder),
    }.items():
        monkeypatch.setenv(f"GITHUB_{name}", value)
    result = project.run("-vv", "--junit-xml=j.xml", "--report=r.html")
    shown = {"terminal": result.stdout.str(), "summary": summary.read_text(encoding="utf-8")}
    for case in ET.parse(project.folder / "j.xml").iter():
        shown[f"junit {len(shown)}"] = " ".join([case.text or "", *case.attrib.values()])
    shown["page"] = re.sub(
        r"<script.*?</script>", "", (project.folder / "r.html").read_text("utf-8"), flags=re.DOTALL
    )
    assert {place: found[0] for place, text in shown.items() if (found := CODES.search(text))} == {}
    assert COMMANDS.search(shown["terminal"]) is None
    assert "owned" in shown["terminal"]
    assert "alert(1)" not in shown["page"]
    assert (project.folder / "r.html").read_text("utf-8").count("<script>alert") == 0
    result.stdout.fnmatch_lines(["*failed: *s.fails-p-lmdeploy: *owned*"])


def test_what_it_wrote_is_accepted_and_found_again(project: Project) -> None:
    (project.folder / "hostile.py").write_text(PATCH)
    project.write_profiles(engines={name: {"patch": "../hostile.py"} for name in ("torch", "lmdeploy")})
    project.write_suite(right="say A")
    project.run(accept=True).assert_outcomes(passed=9)
    (file,) = Path(project.folder, "snapshots", "p", "torch").glob("*.jsonl")
    assert "\\ud800" in file.read_text(encoding="utf-8")
