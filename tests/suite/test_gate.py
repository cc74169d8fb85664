"""`pytest --gate A..B` as a user meets it; exit statuses through a process of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.suite.conftest import Project

GATE = ("--gate", "p/torch..p/lmdeploy")
CASES = 24


def gate_in_process(project: Project, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", *project.command(*arguments)]
    return subprocess.run(command, cwd=project.folder, capture_output=True, text=True, check=False)


def suite(project: Project, *more: str, count: int = CASES, name: str = "s") -> None:
    """``count`` cases, the last of which are ``more``."""
    prompts = [*(f"say A {n}" for n in range(count - len(more))), *more]
    project.write_suite(name, **{f"c{n}": prompt for n, prompt in enumerate(prompts)})


def test_without_the_option_there_are_no_tests_of_a_gate(project: Project) -> None:
    suite(project, count=1)
    result = project.run("--collect-only", "-q")
    assert "test_gate" not in result.stdout.str()
    assert "deselected" not in result.stdout.str()


def test_a_test_per_suite_beside_the_others(project: Project) -> None:
    suite(project)
    suite(project, name="t")
    result = project.run("--collect-only", "-q", *GATE)
    ids = [line.rpartition("::")[2] for line in result.outlines if "test_gate" in line]
    assert ids == ["test_gate[s-p-torch..p-lmdeploy]", "test_gate[t-p-torch..p-lmdeploy]"]
    assert "test_expected_letter" in result.stdout.str()


class TestExitStatus:
    def test_the_same_is_0(self, project: Project) -> None:
        suite(project)
        done = gate_in_process(project, *GATE, "-k", "test_gate")
        assert done.returncode == 0, done.stdout
        assert "= gate =" in done.stdout
        assert "SAME: p/lmdeploy against p/torch, 24 cases: " in done.stdout
        assert "1 passed" in done.stdout
        assert not list((project.folder / ".harness" / "rows").glob("*.npy"))  # nobody wants them any more

    def test_drift_is_1_and_told_with_its_numbers(self, project: Project) -> None:
        suite(project, "say A lmdeploy: wobble")
        done = gate_in_process(project, *GATE, "-k", "test_gate")
        assert done.returncode == 1
        assert "DRIFT: p/lmdeploy against p/torch" in done.stdout
        assert "cases/s.yaml:76:3  DRIFT  s.c23" in done.stdout
        assert "harness gate --baseline p/torch --candidate p/lmdeploy --cases cases" in done.stdout
        assert "--case s.c23" in done.stdout
        assert "1 failed" in done.stdout
        # The rows of what moved stay, for a closer look.
        assert len(list((project.folder / ".harness" / "rows").glob("*.npy"))) == 1 + 2

    def test_an_error_is_2(self, project: Project) -> None:
        suite(project, "lmdeploy: nan")
        done = gate_in_process(project, *GATE, "-k", "test_gate")
        assert done.returncode == 2
        assert "1 error" in done.stdout
        assert "not-finite" in done.stdout

    def test_inconclusive_is_3(self, project: Project) -> None:
        suite(project, count=2)
        text = (project.cases / "s.yaml").read_text()
        (project.cases / "s.yaml").write_text(f"budgets: {{regression: {{accuracy: 0.02}}}}\n{text}")
        done = gate_in_process(project, *GATE, "-k", "test_gate")
        assert done.returncode == 3, done.stdout
        assert "INCONCLUSIVE: " in done.stdout
        assert "1 failed" in done.stdout

    def test_another_test_that_fails_makes_it_1(self, project: Project) -> None:
        suite(project)
        done = gate_in_process(project, *GATE, "-k", "test_gate or matches_snapshot")
        assert done.returncode == 1
        assert "SAME: p/lmdeploy" in done.stdout

    def test_what_cannot_be_compared_is_2(self, project: Project) -> None:
        suite(project, count=2)
        project.write_profiles({"system": "Be brief."})
        done = gate_in_process(project, "--gate", "p/torch..p1/torch", "-k", "test_gate")
        assert done.returncode == 2
        assert "s.c0: another system message" in done.stdout
        assert "the two sides could not be compared; nothing was judged" in done.stdout

    def test_a_side_that_is_not_there_is_2(self, project: Project) -> None:
        suite(project, count=1)
        done = gate_in_process(project, "--gate", "p/torch..p/lmdeply")
        assert done.returncode == 2
        assert "found 'p/lmdeply'; allowed: p/lmdeploy (the nearest), p/torch; or PROFILE/ENGINE" in (
            done.stdout
        )

    @pytest.mark.parametrize("selection", [("-k", "expected_letter"), ("-m", "gpu")])
    def test_a_gate_none_of_whose_tests_ran_has_not_passed(
        self, project: Project, selection: tuple[str, str]
    ) -> None:
        suite(project, count=1)
        done = gate_in_process(project, *GATE, *selection)
        assert done.returncode in (2, pytest.ExitCode.NO_TESTS_COLLECTED)
        assert "no test of the gate ran, so nothing was judged" in done.stdout


def test_marks_of_both_profiles_apply(project: Project) -> None:
    suite(project, count=1)
    project.write_profiles({"marks": ["gpu"]})
    result = project.run("--collect-only", "-q", "-m", "gpu", "--gate", "p/torch..p1/torch")
    assert "test_gate[s-p-torch..p1-torch]" in result.stdout.str()
    result = project.run("--collect-only", "-q", "-m", "gpu", *GATE)
    assert "test_gate" not in result.stdout.str()


def test_it_judges_the_selected_suites_only(project: Project) -> None:
    suite(project)
    suite(project, "torch: say A lmdeploy: say B", name="t")
    result = project.run(*GATE, "-k", "test_gate and s-p")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["SAME: p/lmdeploy against p/torch, 24 cases*"])
    assert not [line for line in project.recorded() if line.startswith("t.")]
    result = project.run(*GATE, "-k", "test_gate")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["REGRESSION: p/lmdeploy against p/torch, 48 cases*"])
    assert result.ret == 1


@pytest.mark.slow
def test_it_runs_under_xdist(project: Project) -> None:
    suite(project)
    suite(project, "say A lmdeploy: wobble", name="t")
    done = gate_in_process(project, *GATE, "-k", "test_gate", "-n", "2")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 failed, 1 passed" in done.stdout
    assert "DRIFT: p/lmdeploy against p/torch, 48 cases" in done.stdout
    recorded = project.recorded()
    # Equal questions of two suites share a recording.
    assert len(recorded) == len(set(recorded)) == 2 * (CASES + 1)


def test_an_accepted_baseline_and_a_stored_run_are_sides(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.cli import main

    suite(project)
    monkeypatch.chdir(project.folder)
    assert main(["accept", "p/torch", "--reason", "first", "--author", "Ann"]) == 0
    result = project.run("--gate", "accepted..p/torch", "-k", "test_gate")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["SAME: p/torch against accepted p/torch, 24 cases*"])
    for path in (Path("snapshots", "p", "torch"), Path("snapshots", "p", "torch", "s.jsonl")):
        project.run("--gate", f"./{path}..torch", "-k", "test_gate").assert_outcomes(passed=1)
    result = project.run("--gate", "p/torch@2999-01-01..p/lmdeploy", "-k", "test_gate")
    result.assert_outcomes(passed=1)
    # What is accepted for the gate is what the snapshots are.
    project.run("-k", "snapshot and torch or no_snapshot_unused").assert_outcomes(passed=25)
