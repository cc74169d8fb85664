"""The report on a run of the suite: ``pytest --report FILE.html --report-json FILE.json``."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.reports.page.test_page import document_of
from tests.suite.conftest import Project


def document(project: Project, name: str = "r.json") -> dict[str, Any]:
    data: dict[str, Any] = json.loads((project.folder / name).read_text(encoding="utf-8"))
    return data


def test_a_run_is_told_as_a_page_and_as_data(project: Project) -> None:
    project.write_suite(one="Is it A?", two="Is it A again?")
    ran = project.run("--report=out/r.html", "--report-json=r.json")
    ran.stdout.fnmatch_lines(["report: out/r.html", "report: r.json"])
    (comparison,) = document(project)["comparisons"]
    assert comparison["name"] == "p/lmdeploy against p/torch"
    cases = {case["case"]: case for case in comparison["cases"]}
    assert sorted(cases) == ["s.one", "s.two"]
    one = cases["s.one"]
    assert one["prompt"] == "Is it A?"
    assert one["baseline"]["engine"] == "p-torch"
    assert {check["check"] for check in one["checks"]} >= {"letter", "agree"}
    assert {metric["name"] for metric in one["metrics"]} >= {
        "log-odds",
        "|Δp|",
        "total variation",
        "KL",
        "JS",
    }
    assert one["command"].startswith("harness gate --baseline p/torch --candidate p/lmdeploy")
    assert one["command"].endswith("--case s.one")
    page = (project.folder / "out" / "r.html").read_text(encoding="utf-8")
    # Nothing is accepted yet, so four tests fail, and the page says so first.
    assert f"<title>4 failed; {comparison['verdict']}: p/lmdeploy against p/torch</title>" in page
    assert "pytest: of 16 checks 12 passed, 4 failed (snapshot 4)." in page
    assert document_of(project.folder / "out" / "r.html")["comparisons"][0] == comparison


def test_the_gate_of_the_run_comes_first(project: Project) -> None:
    project.write_suite(one="say A", two="say A again")
    project.run("--report-json=r.json", "--gate=p/torch..p/lmdeploy", "-k", "test_gate")
    (comparison,) = document(project)["comparisons"]
    assert (comparison["status"], comparison["name"]) == ("PASSED", "p/lmdeploy against p/torch")
    assert [case["case"] for case in comparison["cases"]] == ["s.one", "s.two"]


def test_a_gate_against_the_reference_is_told_once(project: Project) -> None:
    project.write_suite(one="say A")
    project.run("--report-json=r.json", "--gate=p/torch..p/lmdeploy")
    assert len(document(project)["comparisons"]) == 1


def test_only_cases_that_were_tested_are_in_it(project: Project) -> None:
    project.write_suite(one="Is it A?", two="Is it A again?")
    project.run("--report-json=r.json", "-k", "one")
    (comparison,) = document(project)["comparisons"]
    assert [case["case"] for case in comparison["cases"]] == ["s.one"]
    assert comparison["cases"][0]["verdict"] != "ERROR"


def test_a_run_that_compares_nothing_says_so(project: Project) -> None:
    project.write_suite(one="Is it A?")
    ran = project.run("--report=r.html", "-k", "torch and expected_letter")
    ran.stdout.fnmatch_lines(["no report: this run compared no engine with another"])
    assert not (project.folder / "r.html").exists()
    assert ran.ret == pytest.ExitCode.OK


def test_a_report_that_cannot_be_written_is_told(project: Project) -> None:
    project.write_suite(one="Is it A?")
    conftest = "from pathlib import Path\n\ndef pytest_sessionstart():\n    Path('taken').mkdir()\n"
    project.pytester.makeconftest(conftest)  # it was not there when the command line was read
    ran = project.run("--report=taken", "-k", "engines_agree")
    ran.stdout.fnmatch_lines(["no report: cannot write *taken*"])
    ran.assert_outcomes(passed=1)
    assert ran.ret == pytest.ExitCode.TESTS_FAILED


def test_earlier_runs_are_its_history(project: Project) -> None:
    project.write_suite(one="Is it A?")
    project.run("-k", "engines_agree")
    project.write_profiles(dtype="float16")  # another fingerprint, so another recording
    project.run("--report-json=r.json", "-k", "engines_agree")
    (comparison,) = document(project)["comparisons"]
    (case,) = comparison["cases"]
    (before,) = case["history"]
    assert before["probability"] == pytest.approx(case["candidate"]["least"][0], abs=0.05)
    assert before["fingerprint"].startswith("lmdeploy-")
