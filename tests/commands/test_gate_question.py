"""`harness gate` on sides that were not asked the same, and on engines that contradict themselves."""

from __future__ import annotations

import datetime
import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from harness.snapshots.files import put_cases, read_suite
from tests.gate_folder import Folder
from tests.reports.page.test_page import document_of

TODAY = datetime.datetime.now().astimezone().date()
IN_ALL = "asked different questions in 3 of 3 cases"
KEPT = "the prompt was rendered differently than when this was accepted"
FILE = Path("snapshots/p/torch/s.jsonl")


def write_date(folder: Folder, day: str) -> None:
    """From now on the template writes ``day`` in front, of which a token is made."""
    source = folder.stand_in.read_text(encoding="utf-8")
    old = source.partition("question=Question(text=")[2].partition(" +")[0]
    folder.patch(f"Question(text={old} +", f'Question(text="{day}. " + request.prompt +')
    folder.patch("prompt_ids=(", f"prompt_ids=({day.split()[0]}, ")


@pytest.fixture
def dated(gate_folder: Folder, capsys: pytest.CaptureFixture[str]) -> Folder:
    """A run of three cases, which is accepted, too; its prompts had another date than they have now."""
    gate_folder.clean(3)
    write_date(gate_folder, "30 Jan")
    assert gate_folder.accept() == 0
    write_date(gate_folder, "31 Jan")
    capsys.readouterr()
    return gate_folder


def head(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The first two lines on standard output."""
    return capsys.readouterr().out.splitlines()[:2]


def test_a_stored_run_of_another_date(
    dated: Folder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary.md")
    files = ["--junit-xml", "j.xml", "--json", "r.json", "--report", "r.html"]
    assert dated.gate(f"p/torch@{TODAY}", "p/torch", *files) == 3
    printed = capsys.readouterr().out
    first, second = printed.splitlines()[:2]
    assert first.startswith(f"{IN_ALL}: another question text: '30 Jan. say A 0' in p-torch@{TODAY}, '31 Jan")
    assert "(first s.c0; cases/s.yaml:7:3); allowed: the same question on both sides, or --allow" in first
    assert second == (
        f"INCONCLUSIVE: p/torch against p/torch@{TODAY}, 3 cases: the numbers alone say SAME, which these "
        "findings do not let stand: question (3 cases)"
    )
    assert "what changed:\n  the question: another question text (3 of 3 cases)\n" in printed
    failure = ET.parse("j.xml").getroot().find(".//failure")
    assert failure is not None
    assert failure.get("message") == first
    assert Path("summary.md").read_text().startswith(f"**{IN_ALL}: ")
    (comparison,) = json.loads(Path("r.json").read_text())["comparisons"]
    cases = ["s.c0", "s.c1", "s.c2"]
    assert comparison["findings"] == [{"name": "question", "text": first, "cases": cases, "blocks": True}]
    assert IN_ALL in json.dumps(document_of(Path("r.html")), ensure_ascii=False)
    assert dated.gate("accepted", "p/torch", "--allow", "question") == 0
    first, second = head(capsys)
    assert first.startswith(f"{IN_ALL}: ")
    assert first.endswith("let pass: --allow question")
    assert second.startswith("SAME: ")
    dated.patch('        if "wobble" in orders:', "        if True:")
    assert dated.gate("accepted", "p/torch") == 1
    first, second = head(capsys)
    assert first.startswith(f"{IN_ALL}: ")
    assert second.startswith("DRIFT: ")


def test_accepted_outputs_of_another_date(dated: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    assert dated.gate("accepted", "p/torch") == 3
    first, second = head(capsys)
    assert first.startswith(f"{IN_ALL}: {KEPT}: text differs; token ids differ (first s.c0; cases/s.yaml:")
    assert second.startswith("INCONCLUSIVE: ")
    # Accepting keeps the numbers, which are the same, and takes over what is rendered now.
    before = read_suite(FILE)
    assert dated.accept(reason="a new day") == 0
    after = read_suite(FILE)
    assert [case.letters for case in after.cases.values()] == [case.letters for case in before.cases.values()]
    assert [case.rendered for case in after.cases.values()] != [
        case.rendered for case in before.cases.values()
    ]
    capsys.readouterr()
    assert dated.gate("accepted", "p/torch") == 0
    assert capsys.readouterr().out.startswith("SAME: ")
    for name, case in before.cases.items():  # as an earlier version wrote it
        put_cases(Path("snapshots"), before, {name: replace(case, rendered=None)})
    assert dated.gate("accepted", "p/torch") == 0
    assert capsys.readouterr().out.startswith("SAME: ")


def test_a_fault_of_the_candidates_own_report(
    gate_folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    gate_folder.clean(3)
    entry = "Entry(int(i), float(logprobs[i])"
    gate_folder.patch(entry, f"{entry} - 0.1 * ('1' in orders)")
    assert gate_folder.gate("p/torch", "p/lmdeploy") == 3
    first, second = head(capsys)
    assert first.startswith(
        "top-k against the full row: fails on p/lmdeploy and not on p/torch in 1 of 3 cases: logprob, "
        "'two-stage': 5 of 5 values differ, the most by 0.1 at "
    )
    assert first.endswith("(first s.c1; cases/s.yaml:10:3)")
    assert second.startswith("INCONCLUSIVE: ")
    # On both sides alike, it is told and keeps nothing from passing.
    assert gate_folder.gate("p/lmdeploy", "p/lmdeploy") == 0
    first, second = head(capsys)
    assert first.startswith("top-k against the full row: fails on both sides in 1 of 3 cases: ")
    assert second.startswith("SAME: ")


def test_stages_that_do_not_agree(gate_folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    gate_folder.clean(2)
    gate_folder.patch("(float(logprobs[generated[0]]),)", "(float(logprobs[generated[0]]) - 1,)")
    assert gate_folder.gate("p/torch", "p/lmdeploy") == 3
    first, _ = head(capsys)
    assert first.startswith("stages consistent: fails on p/lmdeploy and not on p/torch in 2 of 2 cases: ")
