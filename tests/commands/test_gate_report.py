"""`harness gate --report FILE.html --json FILE.json`."""

from __future__ import annotations

import json

import pytest

from tests.gate_folder import Folder


def test_a_gate_writes_its_report(gate_folder: Folder) -> None:
    gate_folder.write_suite("say A", "torch: say A lmdeploy: say B", "lmdeploy: die")
    page, data = gate_folder.path / "r.html", gate_folder.path / "r.json"
    assert gate_folder.gate("p/torch", "p/lmdeploy", "--report", str(page), "--json", str(data)) == 1
    (comparison,) = json.loads(data.read_text(encoding="utf-8"))["comparisons"]
    assert comparison["status"] == "FAILED"
    assert {case["case"]: case["verdict"] for case in comparison["cases"]} == {
        "s.c0": "SAME",
        "s.c1": "REGRESSION",
        "s.c2": "ERROR",
    }
    lost = comparison["cases"][1]
    assert lost["flip"] == {"kind": "right to wrong", "before": "A", "after": "B"}
    assert lost["command"].endswith("--case s.c1")
    assert "signal 9" in comparison["cases"][2]["errors"][0]
    assert [one["path"] for one in comparison["changed"]][:1] == ["settings.kind"]
    assert "<title>REGRESSION: p/lmdeploy against p/torch</title>" in page.read_text(encoding="utf-8")


def test_answers_that_do_not_fit_their_requests_are_errors_and_are_reported(gate_folder: Folder) -> None:
    gate_folder.write_suite("say A one", "say A two", "say A three, odd")
    gate_folder.patch(
        "letter_ids=letters.ids,",
        "letter_ids=letters.ids[: 2 if 'odd' in orders and self.settings.kind == 'lmdeploy' else 3],",
    )
    page, data = gate_folder.path / "r.html", gate_folder.path / "r.json"
    reports = ("--report", str(page), "--json", str(data))
    assert gate_folder.gate("p/torch", "p/lmdeploy", *reports) == 2
    (comparison,) = json.loads(data.read_text(encoding="utf-8"))["comparisons"]
    verdicts = {case["case"]: case["verdict"] for case in comparison["cases"]}
    assert verdicts == {"s.c0": "SAME", "s.c1": "SAME", "s.c2": "ERROR"}
    assert "letter_ids: found 2 entries; allowed: 3" in comparison["cases"][2]["errors"][0]
    gate_folder.patch(  # case i has the answer of case i + 1
        "self.answer(request))",
        "self.answer(requests[requests.index(request) - len(requests) + (self.settings.kind != 'torch')]))",
    )
    assert gate_folder.gate("p/torch", "p/lmdeploy", *reports) == 2
    (comparison,) = json.loads(data.read_text(encoding="utf-8"))["comparisons"]
    assert {case["verdict"] for case in comparison["cases"]} == {"ERROR"}
    assert "found the prompt of s.c1; allowed: this case's own" in comparison["cases"][0]["errors"][0]
    assert "<title>ERROR: p/lmdeploy against p/torch</title>" in page.read_text(encoding="utf-8")


def test_a_report_that_cannot_be_written_is_an_error(
    gate_folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    gate_folder.write_suite("say A")
    (gate_folder.path / "taken").mkdir()
    assert gate_folder.gate("p/torch", "p/lmdeploy", "--report", str(gate_folder.path / "taken")) == 2
    assert "cannot write" in capsys.readouterr().err
