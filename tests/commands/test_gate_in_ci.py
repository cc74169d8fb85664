"""`harness gate` in CI: versions that are set, the step summary, annotations, and JUnit XML."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.gate_folder import Folder

PAIR = ("p/torch", "p/lmdeploy")


@pytest.fixture
def summary(gate_folder: Folder, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = gate_folder.path / "summary.md"
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(file))
    monkeypatch.setenv("GITHUB_WORKSPACE", str(gate_folder.path))
    return file


def test_a_lost_answer_is_told_everywhere(
    gate_folder: Folder, summary: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gate_folder.write_suite(*(f"say A {n}" for n in range(23)), "torch: say A lmdeploy: say B")
    assert gate_folder.gate(*PAIR, "--json", "-", "--junit-xml", "g.xml") == 1
    printed = capsys.readouterr()
    told = [line for line in printed.err.splitlines() if line.startswith("::")]
    assert [line.split("::")[1].split(",col")[0] for line in told] == ["error file=cases/s.yaml,line=76"]
    assert "::" not in printed.out.partition("\n")[0]  # nothing but JSON
    text = summary.read_text()
    assert text.startswith("## REGRESSION: p/lmdeploy against p/torch, 24 cases")
    assert "### What changed\n\n- setting kind: torch → lmdeploy" in text
    failed = [
        case.get("name") for case in ET.parse("g.xml").iter("testcase") if case.find("failure") is not None
    ]
    assert failed == ["the comparison as a whole", "the suite as a whole", "s.c23"]


def test_a_refusal_is_told(gate_folder: Folder, summary: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gate_folder.clean(2)
    assert gate_folder.gate("p/torch", "p/gone") == 2
    assert "::error title=Nothing was judged::" in capsys.readouterr().err
    assert summary.read_text().startswith("## Nothing was judged\n")


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("p/lmdeploy", "allowed: PROFILE/ENGINE=REQUIREMENT"),
        ("p/gone=lmdeploy==1", "found the engine 'gone'"),
        ("p/lmdeploy=lmdeploy==1", "one with `requirements`"),
    ],
)
def test_a_version_that_cannot_be_set_is_2_and_asks_no_engine(
    gate_folder: Folder, capsys: pytest.CaptureFixture[str], setting: str, told: str
) -> None:
    gate_folder.clean(2)
    assert gate_folder.gate(*PAIR, "--set", setting) == 2
    assert told in capsys.readouterr().err
    assert not (gate_folder.path / ".harness" / "recordings").exists()
