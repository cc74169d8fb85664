"""What is taken from what legs leave in their folders."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.gpu.readers import checks, counts, data, doctor, floor, gate, table

SAID = """\
....F
=========== FAILURES ===========
text
=========== engines ============
case   torch
s.a    A 0.9
================================
1 failed
"""


def test_counts(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    assert counts(report) == {}
    report.write_text(
        '<testsuites><testsuite tests="9" failures="2" errors="1" skipped="1"></testsuite></testsuites>'
    )
    assert counts(report) == {"passed": 5, "failed": 2, "errors": 1, "skipped or known failures": 1}


def test_the_table_or_the_last_lines() -> None:
    assert table(SAID.splitlines()) == ["case   torch", "s.a    A 0.9"]
    assert table(["it broke", "at once"]) == ["it broke", "at once"]
    long = SAID.replace("s.a    A 0.9\n", "".join(f"s.{n}\n" for n in range(500)))
    assert len(table(long.splitlines())) == 151
    assert table(long.splitlines())[-1] == "s.499"


def test_a_leg_that_left_nothing(tmp_path: Path) -> None:
    assert data(tmp_path) == {}
    assert doctor(tmp_path) == {"text": []}
    assert checks(tmp_path) == {"counts": {}, "table": []}
    assert gate(tmp_path) == {"verdicts": [], "inconclusive": False}
    assert floor(tmp_path, snapshots=tmp_path, of="p/e") == {"kept": [], "text": []}


def test_what_the_doctor_found_and_said(tmp_path: Path) -> None:
    (tmp_path / "data.json").write_text('{"version": 1, "findings": []}')
    (tmp_path / "log.txt").write_text("compiler: none\n1 wrong\n")
    assert doctor(tmp_path) == {"version": 1, "findings": [], "text": ["compiler: none", "1 wrong"]}


def test_verdicts_with_their_suites(tmp_path: Path) -> None:
    one = {
        "name": "p/b against p/a",
        "verdict": "SAME",
        "status": "PASSED",
        "sentence": "the same",
        "noise": "the table's",
        "suites": [{"sentence": "words: SAME", "cases": 9}],
        "cases": [],
    }
    (tmp_path / "report.json").write_text(json.dumps({"comparisons": [one]}))
    kept = {name: one[name] for name in ("name", "verdict", "status", "sentence", "noise")}
    assert gate(tmp_path) == {"verdicts": [{**kept, "suites": ["words: SAME"]}], "inconclusive": False}
    for statuses, inconclusive in (
        (("PASSED", "INCONCLUSIVE"), True),
        (("INCONCLUSIVE", "FAILED"), False),
        (("INCONCLUSIVE", "ERROR"), False),
    ):
        many = [{**one, "status": status} for status in statuses]
        (tmp_path / "report.json").write_text(json.dumps({"comparisons": many}))
        assert gate(tmp_path)["inconclusive"] is inconclusive


def test_files_of_kept_floors(tmp_path: Path) -> None:
    folder = tmp_path / "snapshots" / "p" / "e"
    folder.mkdir(parents=True)
    (folder / "cuda-Example.floor.json").write_text("{}")
    (folder / "words.jsonl").write_text("")
    (tmp_path / "log.txt").write_text("e: measured\n")
    found = floor(tmp_path, snapshots=tmp_path / "snapshots", of="p/e")
    assert found == {"kept": ["p/e/cuda-Example.floor.json"], "text": ["e: measured"]}
