"""Runs one after another, side by side and cut off: each recording is made once."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time

import pytest

from tests.suite.conftest import Project


class TestRecordings:
    def test_are_made_once(self, project: Project) -> None:
        project.write_suite(one="say A", two="say A again")
        project.run()
        before = project.recorded()
        result = project.run()
        assert len(before) == 4
        assert project.recorded() == before
        result.stdout.fnmatch_lines(["p-torch: 0 recorded, 2 unchanged"])

    def test_are_made_again_when_the_prompt_changes_or_on_request(self, project: Project) -> None:
        project.write_suite(one="say A", two="say A again")
        project.run()
        project.write_suite(one="say A!", two="say A again")
        project.run()
        assert len(project.recorded()) == 4 + 2
        project.run("--fresh")
        assert len(project.recorded()) == 4 + 2 + 4

    @pytest.mark.slow
    def test_are_made_once_by_xdist_workers(self, project: Project) -> None:
        project.write_suite(**{f"c{n}": f"say A slow {n}" for n in range(4)}, dead="lmdeploy: die")
        project.run("-n", "3", "-k", "not snapshot")
        made = project.recorded()
        assert len(made) == len(set(made)) == 9

    @pytest.mark.slow
    def test_xdist_ends_in_the_same_table(self, project: Project) -> None:
        project.write_suite(one="say A", two="say B")
        result = project.run("-n", "2", "-k", "not snapshot")
        result.assert_outcomes(passed=10, failed=2)
        result.stdout.fnmatch_lines(["p: 2 cases × 2 engines, 12 checks: 10 passed*, 2 failed*"])

    def test_equal_cases_share_one(self, project: Project) -> None:
        project.write_suite(one="say A", twin="say A")
        project.run("-k", "not snapshot").assert_outcomes(passed=12)
        assert len(project.recorded()) == 2

    def test_full_logits_stay_for_failures_only(self, project: Project) -> None:
        project.write_suite(one="say A", two="say B")
        result = project.run("-k", "not snapshot")
        rows = list((project.folder / ".harness" / "rows").glob("*.npy"))
        assert len(rows) == 3  # of case two: torch by one path, lmdeploy by two
        result.stdout.fnmatch_lines(["full logits of 2 recordings with failures: *rows"])
        project.run("-k", "not snapshot", "--fresh", "--keep-logits")
        assert len(list((project.folder / ".harness" / "rows").glob("*.npy"))) == 6

    def test_a_comparison_asked_for_later_gets_its_rows(self, project: Project) -> None:
        project.write_suite(one="say A")
        project.run("-k", "not snapshot").assert_outcomes(passed=6)
        (project.folder / ".harness" / "metrics.jsonl").unlink()
        project.run("-k", "engines_agree").assert_outcomes(passed=1)
        assert len(project.recorded()) == 4  # the rows were gone, so both were made again

    def test_a_run_that_is_not_known_any_more_is_told_beside_a_remark_too(self, project: Project) -> None:
        project.write_suite(one="say A <image>")
        project.run("-k", "expected_letter")
        file = project.folder / ".harness" / "runs.jsonl"
        first, second, *others = file.read_bytes().splitlines(keepends=True)
        file.write_bytes(b"".join([first, second.replace(b"{", b"(", 1), *others]))
        result = project.run("-k", "expected_letter")
        assert result.ret == 0
        result.stdout.fnmatch_lines(
            ["*remark*<image>*", "*runs.jsonl: 1 damaged lines left out, first 2: runs that are not known *"]
        )

    def test_a_damaged_row_is_made_again_where_it_is_wanted_and_used_nowhere(self, project: Project) -> None:
        project.write_suite(one="say A", two="say A again")
        project.run("-k", "not snapshot", "--keep-logits")
        for name in ("lmdeploy-*.two-stage", "torch-*.forward"):
            file = min((project.folder / ".harness" / "rows").glob(f"{name}.npy"))
            whole = bytearray(file.read_bytes())
            whole[-30] ^= 64  # another number, and not one of a letter
            file.write_bytes(whole)
        project.run("-k", "not snapshot", "--keep-logits").assert_outcomes(passed=12)
        assert len(project.recorded()) == 4  # what was compared is known
        (project.folder / ".harness" / "metrics.jsonl").unlink()
        project.run("-k", "not snapshot", "--keep-logits").assert_outcomes(passed=12)
        assert len(project.recorded()) == 6


class TestInterruption:
    def start(self, project: Project, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "pytest", *project.command(*arguments)],
            cwd=project.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # A shell that starts tests in the background has them ignore it, and children inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def wait_for_recordings(self, project: Project, count: int) -> None:
        for _ in range(600):
            if len(project.recorded()) >= count:
                return
            time.sleep(0.05)
        pytest.fail(f"found {len(project.recorded())} recordings after 30 s; expected {count}")

    def worker_of(self, process: subprocess.Popen[str]) -> int:
        found = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=True)
        return int(found.stdout.split()[0])

    def test_ctrl_c_keeps_what_was_made(self, project: Project) -> None:
        project.write_suite(**{f"c{n}": f"say A slow {n}" for n in range(8)})
        process = self.start(project, "-k", "not snapshot")
        self.wait_for_recordings(project, 2)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=120)
        assert process.returncode == pytest.ExitCode.INTERRUPTED
        assert "the same command goes on from there" in output
        before = project.recorded()
        assert 2 <= len(before) < 16
        project.run("-k", "not snapshot").assert_outcomes(passed=48)
        after = project.recorded()
        assert len(after) == len(set(after)) == 16
        assert set(before) <= set(after)

    def test_kill_9_of_a_worker_is_one_error_and_the_next_run_makes_what_is_missing(
        self, project: Project
    ) -> None:
        project.write_suite(**{f"c{n}": f"say A slow {n}" for n in range(6)})
        process = self.start(project, "-k", "expected_letter")
        self.wait_for_recordings(project, 2)
        worker = self.worker_of(process)
        subprocess.run(["kill", "-9", str(worker)], check=True)
        output, _ = process.communicate(timeout=240)
        assert process.returncode == pytest.ExitCode.TESTS_FAILED
        assert re.search(r"\b11 passed, .*\b1 error\b", output)
        made = project.recorded()
        assert len(made) == 11
        project.run("-k", "expected_letter").assert_outcomes(passed=12)
        assert len(project.recorded()) == 12
