"""`harness gate --report FILE.html --json FILE.json`."""

from __future__ import annotations

import json
from typing import Any

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


def test_folders_of_files_to_write_are_made(gate_folder: Folder) -> None:
    gate_folder.write_suite("say A")
    files = [gate_folder.path / name / "file" for name in ("a", "b", "c")]
    asked = zip(("--report", "--json", "--junit-xml"), map(str, files), strict=True)
    assert gate_folder.gate("p/torch", "p/lmdeploy", *(word for pair in asked for word in pair)) in (0, 3)
    assert all(file.is_file() for file in files)


def told(gate_folder: Folder, capsys: pytest.CaptureFixture[str], *more: str) -> dict[str, Any]:
    capsys.readouterr()
    gate_folder.gate("p/torch", "p/lmdeploy", "--json", "-", *more)
    return json.loads(capsys.readouterr().out)  # type: ignore[no-any-return]


def test_it_has_what_earlier_runs_answered_by_case_and_over_all(
    gate_folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    gate_folder.write_suite("say A lmdeploy: wobble", "say A")
    gate_folder.gate()
    gate_folder.patch("+= 0.05", "+= 0.5")
    gate_folder.gate()
    gate_folder.gate()
    gate_folder.gate("p/torch", "p/lmdeploy", "--case", "s.c1")  # of one case
    gate_folder.patch("+= 0.5", "+= 0.7")
    gate_folder.gate()
    document = told(gate_folder, capsys)
    (comparison,) = document["comparisons"]
    history = comparison["cases"][0]["history"]
    assert len(history) == 2  # a point where the recording is another, and none for today's
    assert history[0]["log_odds"] + 0.3 == pytest.approx(history[1]["log_odds"], abs=1e-4)
    assert [point["right"] for point in history] == [True, True]
    assert history[0]["fingerprint"] != history[1]["fingerprint"]
    lines = comparison["runs"]
    assert [(line["runs"], line["cases"], line["shown"]) for line in lines] == [
        (1, 2, False),
        (2, 2, False),
        (1, 1, False),
        (2, 2, True),
    ]
    assert [line["case"] for line in lines] == ["", "s.c0", "", "s.c0"]
    # 0.45 more of one letter of three, centred; then 0.2 more.
    assert [line["largest"] for line in lines] == pytest.approx([None, 0.3, 0, 0.2 * 2 / 3], abs=1e-4)
    assert lines[1]["spread"] == pytest.approx((0.45**2 / 3 / 2) ** 0.5, abs=1e-4)
    assert lines[0]["spread"] is None
    for line in lines:
        assert line["accuracy"]["value"] == 1.0
        assert line["accuracy"]["low"] < 1.0
        assert line["errors"] == 0


def test_a_speed_is_that_of_one_go_and_goes_where_runs_are_mixed(
    gate_folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    gate_folder.clean(2)
    for _ in range(2):  # made, and read again
        reference, engine = told(gate_folder, capsys)["engines"]
        assert (reference["label"], engine["label"]) == ("p/torch", "p/lmdeploy")
        for one in (reference, engine):
            assert one["pace"]["cases"] == 2
            assert one["pace"]["seconds"] > 0
            assert one["pace"]["tokens"] > 2
    gate_folder.clean(3)  # the third is asked in another session
    assert [one["pace"] for one in told(gate_folder, capsys)["engines"]] == [None, None]
    first = told(gate_folder, capsys, "--case", "s.c0")["engines"][1]["pace"]
    assert first is not None  # what one session made stands for itself
    gate_folder.write_suite("say A 0", "lmdeploy: die")
    document = told(gate_folder, capsys)
    assert document["engines"][1]["pace"] is None
    # What was asked of s.c1 before is another question, and so is no history of it.
    lines = document["comparisons"][0]["runs"]
    assert [(line["cases"], line["errors"]) for line in lines[:-1]] == [(1, 0)] * (len(lines) - 1) != []
    assert (lines[-1]["cases"], lines[-1]["errors"], lines[-1]["shown"]) == (1, 1, True)
