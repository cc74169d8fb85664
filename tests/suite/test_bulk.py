"""Suites in bulk: what the tests of single cases find, found without them."""

from __future__ import annotations

import json
import shlex

import pytest

from harness.errors import EngineError, ErrorKind
from harness.plugin import bulk
from harness.plugin.run import SUITE
from harness.plugin.suite_checks import CHECKS
from harness.scoring.scoring import Scoring
from harness.scoring.stored_runs import StoredRuns
from harness.scoring.subjects import Subject
from tests.accepted_lines import move_letters
from tests.suite.conftest import Project


def table(result: pytest.RunResult) -> list[str]:
    """The section on engines, without how to accept and how failures are told together."""
    lines = result.outlines
    start = next(number for number, line in enumerate(lines) if line.strip(" =") == "engines")
    end = next(n for n, line in enumerate(lines) if n > start and line.startswith(("===", "---")))
    told = [line.partition(" accept it: ")[0] for line in lines[start + 1 : end]]
    return [line for line in told if line and "tests for one reason" not in line]


def test_every_test_of_the_suite_has_its_place_in_bulk() -> None:
    files = {file.stem: file.read_text(encoding="utf-8") for file in SUITE.glob("test_*.py")}
    own = {name for name, source in files.items() if "@pytest.mark.subjects(" in source}
    assert own == CHECKS.keys()
    for name, check in CHECKS.items():
        assert f'@pytest.mark.subjects("{check.selection}")\ndef {name}(' in files[name]


@pytest.mark.parametrize("at_once", [bulk.AT_ONCE, 3])
def test_bulk_finds_what_the_tests_find(
    project: Project, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(bulk, "AT_ONCE", at_once)
    moved = {"right": "say A", "moved": "say A once more"}
    project.write_suite("shapes", **moved)
    project.run("-q", "-k", "matches_snapshot", "--snapshot-update")
    move_letters(project.folder / "snapshots", "p/torch", "shapes.moved", A=-0.3, B=0.3)
    project.write_suite(
        "shapes",
        **moved,
        wrong="say B",
        apart="lmdeploy: wobble say A",
        without="lmdeploy: nan",
        known={"prompt": "say C", "known_failure": "a known one"},
        mended={"prompt": "say A!", "known_failure": "no more"},
    )
    project.write_suite("other", dies="lmdeploy: die", marked={"prompt": "say A?", "marks": ["gpu"]})
    single = project.run()
    assert single.ret == pytest.ExitCode.TESTS_FAILED
    recorded = project.recorded()
    rows = sorted(file.name for file in (project.folder / ".harness" / "rows").glob("*.npy"))
    whole = project.run("--bulk")
    assert whole.ret == single.ret
    assert table(whole) == table(single)
    whole.assert_outcomes(failed=2, passed=1)
    assert project.recorded() == recorded, "something was asked again"
    assert sorted(f.name for f in (project.folder / ".harness" / "rows").glob("*.npy")) == rows
    last = StoredRuns(project.folder / ".harness").all()[-2:]
    assert {run.engine: (len(run.keys), len(run.errors)) for run in last} == {
        "torch": (8, 0),
        "lmdeploy": (6, 2),
    }


def test_one_reason_is_one_whatever_case_it_names(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def changed(_: Scoring, subject: Subject) -> EngineError:
        return EngineError(ErrorKind.FAILED, f"an image of {subject.case.name} changed")

    monkeypatch.setattr(Scoring, "_image_changed", changed)
    project.write_suite(**{f"c{number}": "say A" + "!" * number for number in range(12)})
    lines = project.run("--bulk", "-k", "expected_letter").outlines
    told = [line for line in lines if "for one reason" in line]
    assert told == ["    24 for one reason: failed: an image of a case changed"]


def test_a_failure_counts_and_names_the_worst_and_how_to_see_it(project: Project) -> None:
    project.write_suite(**{f"c{number}": "say B" for number in range(12)})
    result = project.run("--bulk", "-k", "expected_letter")
    result.assert_outcomes(failed=1, deselected=1)
    lines = result.outlines
    start = lines.index("s: 24 of 24 checks failed")
    assert len({line.split(": ")[0] for line in lines[start + 1 : start + 11]}) == 5  # two engines each
    assert lines[start + 1].startswith("  - cases/s.yaml:7:3: letter: s.c0, p-torch: top letter: found B (")
    assert lines[start + 11] == "  and 14 more"
    command = lines[start + 12].partition("alone: ")[2]
    words = shlex.split(command)
    assert words[0] == "pytest"
    alone = project.pytester.runpytest_inprocess("-p", "no:cacheprovider", *words[1:])
    alone.assert_outcomes(failed=1)
    alone.stdout.fnmatch_lines(["cases/s.yaml:7:3: expected letter: 2 findings"])


def test_of_many_without_an_answer_for_one_reason_one_line_tells(project: Project) -> None:
    (project.folder / "broken.py").write_text("raise RuntimeError('it cannot be loaded')")
    engine = {"patch": str(project.folder / "broken.py")}
    project.write_profiles(engines={"torch": engine, "lmdeploy": engine})
    project.write_suite(one="say A", two="say B")
    result = project.run("--bulk", "-k", "torch and expected")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(errors=1, deselected=1)
    said = result.stdout.str()
    assert "s: 2 of 2 without an answer" in said
    assert "    2 for one reason: load: " in said
    assert said.count("engines that could not be loaded") == 1
    assert said.count(" lack: harness profile check p") == 1
    assert "2 tests without an answer" in said


def test_accepted_answers_that_cannot_be_read_are_told_once(project: Project) -> None:
    project.write_suite(**{f"c{n}": f"say A {n}" for n in range(5)})
    project.run("--snapshot-update")
    file = project.folder / "snapshots" / "p" / "torch" / "s.jsonl"
    *others, before, last = file.read_text().splitlines()
    edited = [line.replace('"top": "A"', '"top": "B"') for line in (before, last)]
    file.write_text("\n".join((*others, *edited)))
    result = project.run("--bulk")
    result.stdout.fnmatch_lines(
        ["s: 2 of 40 checks failed", "*s.jsonl:*: s.c3: found a line that was edited*"]
    )
    result.stdout.fnmatch_lines(
        ["    2 for one reason: *s.c3: found a line that was edited*s.c4: found a line*"]
    )


def test_what_is_selected_is_decided_case_by_case(project: Project) -> None:
    project.write_suite(
        "shapes",
        red={"prompt": "say A", "tags": ["warm"], "marks": ["few"]},
        blue={"prompt": "say A, too", "tags": ["cold"]},
        gpu={"prompt": "say A, fast", "marks": ["gpu"]},
    )
    project.write_suite("other", one="say A!", known={"prompt": "say C", "known_failure": "a known one"})
    for selected, checks, suites in (
        (["-k", "warm"], 8, 1),
        (["-k", "not warm and same_question"], 3, 2),
        (["-m", "few"], 8, 1),
        (["-m", "not few"], 24, 2),
        (["-m", "xfail"], 2, 1),
        (["-m", "not xfail"], 30, 2),
        (["-k", "suite and red"], 8, 1),
        (["-m", "gpu"], 8, 1),
        (["--suite=other"], 16, 1),
        (["--profile=p"], 40, 2),  # a profile's name asks for its cases on a GPU
        ([], 32, 2),
    ):
        whole = project.run("--bulk", *selected)
        assert f"{checks} checks: " in whole.stdout.str(), selected
        assert sum(line.count("test_all_cases[") for line in whole.outlines if "FAILED" in line) <= suites
        assert table(whole) == table(project.run(*selected)), selected


@pytest.mark.parametrize("selected", [["-k", "no-such-case"], ["-m", "no_such_mark"]])
def test_nothing_selected_is_no_pass(project: Project, selected: list[str]) -> None:
    project.write_suite(one="say A")
    assert project.run("--bulk", *selected).ret == pytest.ExitCode.NO_TESTS_COLLECTED


@pytest.mark.parametrize("how", [[], ["--bulk"]])
def test_only_cases_for_a_gpu_that_nobody_asked_for_are_no_pass(project: Project, how: list[str]) -> None:
    project.write_suite(one={"prompt": "say A", "marks": ["gpu"]})
    assert project.run(*how).ret == pytest.ExitCode.NO_TESTS_COLLECTED


@pytest.mark.parametrize("wrong", [["-k", "red and("], ["-m", "few(1)"]])
def test_what_is_no_expression_is_a_wrong_command_line(project: Project, wrong: list[str]) -> None:
    project.write_suite(one="say A")
    result = project.run("--bulk", *wrong)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {wrong[0]}: found '{wrong[1]}': *; allowed: *"])


def test_a_suite_that_is_not_there_is_told_with_those_that_are(project: Project) -> None:
    project.write_suite("shapes", one="say A")
    for more in ((), ("--bulk",)):
        result = project.run("--suite=shape", *more)
        assert result.ret == pytest.ExitCode.INTERRUPTED
        result.stdout.fnmatch_lines(["--suite: found 'shape'; allowed: shapes (the nearest), of cases"])


def test_snapshots_are_not_written_in_bulk(project: Project) -> None:
    project.write_suite(one="say A")
    result = project.run("--bulk", "--snapshot-update")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*found --bulk beside it; allowed: without --bulk, or, *"])
    assert not (project.folder / "snapshots").exists()


def test_bulk_has_full_rows_only_of_failures(project: Project) -> None:
    project.write_suite(one="say A", two="lmdeploy: wobble say A")
    project.run("--bulk", "-k", "not snapshot")
    rows = project.folder / ".harness" / "rows"
    assert len({file.name.split(".")[0] for file in rows.glob("*.npy")}) == 2
    project.run("--bulk", "-k", "not snapshot", "--fresh", "--keep-logits")
    assert len({file.name.split(".")[0] for file in rows.glob("*.npy")}) == 4


def test_the_report_in_bulk_is_that_of_the_tests(project: Project) -> None:
    project.write_suite(one="say A", two="say B", three="lmdeploy: wobble say A")
    said = []
    for more in ((), ("--bulk",)):
        project.run("-k", "not snapshot", "--report-json=report.json", "--report=report.html", *more)
        document = json.loads((project.folder / "report.json").read_text(encoding="utf-8"))
        (comparison,) = document["comparisons"]
        said.append([comparison["words"], [(case["case"], case["verdict"]) for case in comparison["cases"]]])
    assert said[0] == said[1]


def test_shards_in_bulk_are_those_of_the_tests(project: Project) -> None:
    project.write_suite(**{f"c{number}": f"say A {number}" for number in range(7)})
    project.write_profiles(batch_size=2)
    found = []
    for shard in ("1/2", "2/2"):
        whole = project.run("--bulk", f"--shard={shard}", "-k", "not snapshot")
        assert table(whole) == table(project.run(f"--shard={shard}", "-k", "not snapshot"))
        found.append(next(line for line in whole.outlines if line.startswith("p: ")))
    assert [line.split()[1] for line in found] == ["4", "3"]
