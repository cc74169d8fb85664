"""A run of the suite in CI: the step summary, annotations, and JUnit properties."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from harness.reports.ci.junit import PROPERTIES
from tests.suite.conftest import Project


@pytest.fixture
def summary(project: Project, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The step summary of a workflow whose checkout is the folder above the project."""
    file = project.folder / "summary.md"
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(file))
    monkeypatch.setenv("GITHUB_WORKSPACE", str(project.folder.parent))
    return file


def test_failed_cases_are_in_the_summary_and_annotated(project: Project, summary: Path) -> None:
    project.write_suite(right="say A", wrong="say B")
    result = project.run("-k", "expected_letter")
    result.assert_outcomes(passed=2, failed=2)
    assert summary.read_text().startswith("## 2 of 4 answers did not pass\n")
    found = [line for line in result.outlines if line.startswith("::")]
    file = f"{project.folder.name}/cases/s.yaml"
    assert found == [
        f"::error file={file},line=10,col=3,title=s.wrong (p/{engine})::cases/s.yaml:10:3: failed: letter"
        for engine in ("lmdeploy", "torch")
    ]


def test_a_run_that_passes_is_summed_up_and_not_annotated(project: Project, summary: Path) -> None:
    project.write_suite(right="say A")
    result = project.run("-k", "expected_letter")
    result.assert_outcomes(passed=2)
    assert summary.read_text().startswith("## All checks of 2 answers passed")
    result.stdout.no_fnmatch_line("::*")


def test_an_engine_that_dies_is_annotated(project: Project, summary: Path) -> None:
    project.write_suite(one="lmdeploy: die")
    result = project.run("-k", "expected_letter")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["::error file=*s.one (p/lmdeploy)::*no answer from the engine*"])
    assert "no answer from the engine" in summary.read_text()


def test_outside_ci_nothing_is_written(
    project: Project, summary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GITHUB_ACTIONS")
    project.write_suite(wrong="say B")
    project.run("-k", "expected_letter").stdout.no_fnmatch_line("::*")
    assert not summary.exists()


def test_tests_of_others_are_not_told(project: Project, summary: Path) -> None:
    project.pytester.makepyfile("def test_it(): assert False")
    project.pytester.runpytest_inprocess("-p", "no:cacheprovider").assert_outcomes(failed=1)
    assert not summary.exists()


@pytest.mark.parametrize("processes", [(), ("-n", "2")], ids=["alone", "xdist"])
def test_junit_has_flat_properties(project: Project, processes: tuple[str, ...]) -> None:
    project.write_suite(one="say A", two="lmdeploy: die")
    result = project.run("-k", "expected_letter or engines_agree", "--junitxml=out.xml", *processes)
    result.assert_outcomes(passed=4, errors=2)
    cases = list(ET.parse(project.folder / "out.xml").iter("testcase"))
    assert len(cases) == 6
    found = {
        str(case.get("name")): {p.get("name"): p.get("value") for p in case.iter("property")}
        for case in cases
    }
    assert all(set(properties) <= set(PROPERTIES) for properties in found.values())
    letter = found["test_expected_letter[s.one-p-lmdeploy]"]
    assert letter["vlm.case"] == "s.one"
    assert letter["vlm.suite"] == "s"
    assert (letter["vlm.profile"], letter["vlm.engine"]) == ("p", "lmdeploy")
    assert letter["vlm.place"] == "cases/s.yaml:7:3"
    assert (letter["vlm.expected"], letter["vlm.top"]) == ("A", "A")
    assert 0.9 < float(str(letter["vlm.probability"])) < 1
    assert letter["vlm.device"]
    assert "vlm.kl" not in letter
    agrees = found["test_engines_agree[s.one-p-lmdeploy]"]
    assert float(str(agrees["vlm.worst_change"])) == 0
    assert float(str(agrees["vlm.kl"])) == 0
    died = found["test_expected_letter[s.two-p-lmdeploy]"]
    assert died["vlm.case"] == "s.two"
    assert "vlm.top" not in died


@pytest.mark.parametrize("processes", [(), ("-n", "2")], ids=["alone", "xdist"])
def test_a_gate_inside_pytest_is_told(project: Project, summary: Path, processes: tuple[str, ...]) -> None:
    cases = {f"c{n}": f"say A {n}" for n in range(23)}
    project.write_suite(**cases, lost="torch: say A lmdeploy: say B")
    options = ("--gate", "p/torch..p/lmdeploy", "-k", "test_gate", "--junitxml=out.xml", *processes)
    result = project.run(*options)
    assert result.ret == 1
    assert summary.read_text().startswith("## REGRESSION: p/lmdeploy against p/torch, 24 cases")
    if not processes:  # else the comparison is in the workers, and the log has its cases
        result.stdout.fnmatch_lines(["::error file=*/cases/s.yaml,line=*REGRESSION s.lost*"])
    properties = {p.get("name"): str(p.get("value")) for p in ET.parse("out.xml").iter("property")}
    assert properties["vlm.verdict"] == "REGRESSION"
    assert "REGRESSION" in properties["vlm.sentence"]
    assert set(properties) <= set(PROPERTIES)
