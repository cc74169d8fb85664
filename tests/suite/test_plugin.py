"""The plugin as a user meets it: in another repository, with a stand-in in place of the engines."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from tests.accepted_lines import move_letters
from tests.reports.page.test_page import embedded
from tests.suite.conftest import Project


def text(result: pytest.RunResult) -> str:
    return result.stdout.str() + result.stderr.str()


def test_everything_passes_and_ends_in_a_table(project: Project) -> None:
    project.write_suite(one="say A", two={"prompt": "say B", "expect": "B"})
    result = project.run(accept=True)
    # 2 cases: letter and snapshot on 2 engines; question, agreement, top-k and stages on one; and no
    # snapshot unused.
    result.assert_outcomes(passed=2 * (2 + 2 + 1 + 1 + 1 + 1) + 1)
    result.stdout.fnmatch_lines(["*p: 2 cases × 2 engines, 16 checks: 16 passed*", "largest |Δp|: 0 *"])


def test_remarks_on_suites_are_told_and_fail_nothing(project: Project) -> None:
    project.write_suite(one="say A <image>")
    result = project.run("-W", "error", accept=True)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(
        ["cases/s.yaml:*: cases.0.prompt: remark: <image>, *better: the words alone*"]
    )
    result.stdout.no_fnmatch_line("*cases.0.prompt: found*")


def test_ids_name_suite_case_profile_and_engine(project: Project) -> None:
    project.write_suite("shapes", red_circle="say A")
    result = project.run("--collect-only", "-q")
    result.stdout.fnmatch_lines(
        [
            "*test_engines_agree.py::test_engines_agree[[]shapes.red-circle-p-lmdeploy[]]",
            "*test_expected_letter.py::test_expected_letter[[]shapes.red-circle-p-torch[]]",
        ]
    )
    assert not project.recorded()  # collecting makes nothing


def test_wrong_letter_fails_one_check_with_place_bars_and_command(project: Project) -> None:
    project.write_suite(right="say A", wrong="say B", parted="torch: say A lmdeploy: say B")
    result = project.run(accept=True)
    result.assert_outcomes(passed=21, failed=4)
    result.stdout.fnmatch_lines(
        [
            "cases/s.yaml:10:3: expected letter: 2 findings",
            "*found B (0.9*), expected A (*)*",
            "*B*0.9*█*",
            "run again: pytest --pyargs *",
        ]
    )
    begins = [line for line in result.outlines if line.startswith("where it begins: ")]
    assert len(begins) == 2, "of the letter and of the agreement; of s.wrong the engines say the same"
    for line in begins:
        assert line.startswith("where it begins: harness explain p/torch..p/lmdeploy s.parted")
    again = next(line for line in result.outlines if line.startswith("run again: "))
    words = shlex.split(again.removeprefix("run again: pytest "))
    project.pytester.runpytest_inprocess("-p", "no:cacheprovider", *words).assert_outcomes(failed=1)


def test_a_continuous_integration_reads_each_message_once(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", "true")  # where pytest's short summary has messages whole
    project.write_suite(wrong="say B", dies="die")
    result = project.run("-k", "expected_letter")
    result.assert_outcomes(failed=2, errors=2, deselected=13)
    (start,) = [number for number, line in enumerate(result.outlines) if "short test summary" in line]
    *told, _ = result.outlines[start + 1 :]
    assert len(told) == 4
    assert all(line.startswith(("FAILED ", "ERROR ")) for line in told)


def test_disagreement_names_metric_and_limit(project: Project) -> None:
    project.write_suite(off="say A lmdeploy: wobble")
    result = project.run(accept=True)
    result.assert_outcomes(passed=8, failed=1)
    result.stdout.fnmatch_lines(["*probability*letter A*1e-05*over*"])


@pytest.mark.slow
def test_explain_is_said_of_the_first_that_failed_and_decides_nothing(project: Project) -> None:
    project.write_suite(off="say A lmdeploy: wobble", more="say B lmdeploy: wobble", right="say A")
    result = project.run("-k", "engines_agree", "--explain=1", "--report=r.html")
    result.assert_outcomes(passed=1, failed=2)
    # These engines are stand-ins, with no model to look into: which is said, and is no end of the run.
    result.stdout.fnmatch_lines(["*where differences begin*", "s.off: cannot be explained: *", "*1 passed*"])
    result.stdout.no_fnmatch_line("s.more: cannot*")
    (told,) = embedded((project.folder / "r.html").read_text(encoding="utf-8"), "explanations")
    assert told["sides"] == ["p/torch", "p/lmdeploy"]
    assert told["sentences"][0].startswith("s.off: cannot be explained: ")


def test_another_question_is_told_in_full_by_its_own_test_and_in_short_by_the_agreement(
    project: Project,
) -> None:
    project.write_suite(asked="say A lmdeploy: newline")
    result = project.run("-k", "same_question or engines_agree")
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(
        ["cases/s.yaml:*: same question: 1 finding", "*- white space in the template:*"]
    )
    result.stdout.fnmatch_lines(
        ["*engines agree: 1 finding", "*- question: the engines were asked different questions: white space*"]
    )
    result.stdout.fnmatch_lines(["case *|Δp|*KL*question*agree", "s.asked*✗*✗"])


def test_case_tolerance_wins_over_profile_and_dtype(project: Project) -> None:
    loose = dict.fromkeys(("probability", "total_variation", "kl", "js"), 0.1)
    project.write_suite(off={"prompt": "say A lmdeploy: wobble", "tolerances": loose})
    project.run(accept=True).assert_outcomes(passed=9)


class TestKnownFailure:
    def test_is_expected(self, project: Project) -> None:
        project.write_suite(hard={"prompt": "say B", "known_failure": "mixes up A and B"})
        result = project.run(accept=True)
        result.assert_outcomes(passed=7, xfailed=2)
        result.stdout.fnmatch_lines(["*2 known failures*"])

    def test_fails_the_day_it_passes(self, project: Project) -> None:
        project.write_suite(hard={"prompt": "say A", "known_failure": "mixes up A and B"})
        result = project.run(accept=True)
        result.assert_outcomes(passed=7, failed=2)
        result.stdout.fnmatch_lines(["*XPASS(strict)*mixes up A and B*"])

    def test_does_not_excuse_an_engine_that_dies(self, project: Project) -> None:
        project.write_suite(hard={"prompt": "die", "known_failure": "mixes up A and B"})
        result = project.run("-k", "expected_letter")
        result.assert_outcomes(errors=2)


class TestErrors:
    def test_an_engine_that_dies_is_an_error_of_its_case_only(self, project: Project) -> None:
        project.write_suite(one="say A", two="lmdeploy: die", three="say A too")
        result = project.run()
        # The dead case's six checks on lmdeploy; without accepted snapshots the other five comparisons fail.
        outcomes = result.parseoutcomes()
        assert outcomes["errors"] == 6
        result.stdout.fnmatch_lines(
            [
                "crash: cases/s.yaml:10:3: s.two-p-lmdeploy: *signal 9*",
                "*run again: pytest --pyargs*",
                "log: *",
            ]
        )
        assert "s.two p-lmdeploy" not in project.recorded()
        assert {"s.one p-lmdeploy", "s.three p-lmdeploy", "s.two p-torch"} <= set(project.recorded())

    def test_the_next_run_tries_errors_again_and_nothing_else(self, project: Project) -> None:
        project.write_suite(one="say A", two="lmdeploy: die")
        project.run()
        before = project.recorded()
        result = project.run()
        assert project.recorded() == before
        result.stdout.fnmatch_lines(
            ["p-torch: 0 recorded, 2 unchanged", "p-lmdeploy: *0 recorded, 1 unchanged, 1 errors"]
        )

    def test_nan_is_an_error(self, project: Project) -> None:
        project.write_suite(one="torch: nan")
        result = project.run("-k", "expected_letter")
        result.assert_outcomes(passed=1, errors=1)
        result.stdout.fnmatch_lines(["*not-finite: cases/s.yaml:7:3*NaN*"])

    def test_a_hang_is_an_error_after_its_deadline(self, project: Project) -> None:
        project.write_profiles(deadlines={"load": 60, "case": 2})
        project.write_suite(one="say A", two="torch: hang")
        result = project.run("-k", "expected_letter")
        result.assert_outcomes(passed=3, errors=1)
        result.stdout.fnmatch_lines(["*timeout: cases/s.yaml:10:3*"])

    def test_a_failing_reference_is_an_error_of_the_comparison(self, project: Project) -> None:
        project.write_suite(one="torch: die")
        project.run("-k", "engines_agree").assert_outcomes(errors=1)
        # ...and of nothing that does not need it.
        project.run("-k", "top_k or stages").assert_outcomes(passed=2)

    def test_a_missing_image_is_told_before_anything_runs(self, project: Project) -> None:
        project.write_suite(one={"prompt": "say A", "image": "gone.png"})
        result = project.run()
        assert result.ret == pytest.ExitCode.INTERRUPTED
        result.stdout.fnmatch_lines(["*cases/s.yaml:*gone.png*"])
        assert not project.recorded()


class TestBadFiles:
    def test_all_problems_are_shown_once(self, project: Project) -> None:
        project.write_suite(one={"prompt": "say A", "expekt": "A"}, two={"prompt": "say A", "expect": "Q"})
        result = project.run()
        assert result.ret == pytest.ExitCode.INTERRUPTED
        assert text(result).count("in the case files") == 1
        result.stdout.fnmatch_lines(["*s.yaml:*expekt*expect*", "*s.yaml:*'Q'*"])
        result.assert_outcomes(errors=1)

    def test_unknown_profile(self, project: Project) -> None:
        project.write_suite(one="say A")
        result = project.run("--profile", "q")
        assert result.ret != 0
        assert "--profile: found 'q'; allowed: p (from cases/profiles.yaml)" in text(result)
        assert "_hooks.py" not in text(result)
        assert "hooks.py" not in text(result)


class TestGpu:
    def test_profiles_marked_gpu_wait_for_their_mark(self, project: Project) -> None:
        project.write_profiles({"marks": ["gpu"], "device": "cuda", "dtype": "float16"})
        project.write_suite(one="say A")
        result = project.run("-k", "expected_letter")
        result.assert_outcomes(passed=2, deselected=7)
        result.stdout.fnmatch_lines(["1 other profile not run: name them with --profile: p1"])

    def test_without_a_gpu_it_fails_and_does_not_skip(self, project: Project) -> None:
        project.write_profiles({"marks": ["gpu"], "device": "cuda", "dtype": "float16"})
        project.write_suite(one="say A")
        result = project.run("-m", "gpu")
        result.assert_outcomes(errors=8, deselected=9)
        result.stdout.fnmatch_lines(["load: this machine has no NVIDIA GPU", "  p1-torch: *"])


class TestByNameOnly:
    def test_runs_only_when_it_is_named(self, project: Project) -> None:
        project.write_profiles({"by_name_only": True})
        project.write_suite(one="say A")
        project.run("-k", "expected_letter").assert_outcomes(passed=2, deselected=7)
        assert all("p1-" not in line for line in project.recorded())
        project.run("-k", "expected_letter", "--profile", "p1").assert_outcomes(passed=2, deselected=7)

    def test_its_mark_does_not_choose_it(self, project: Project) -> None:
        project.write_profiles({"by_name_only": True, "marks": ["gpu"], "device": "cuda", "dtype": "float16"})
        project.write_suite(one="say A")
        project.run("-m", "gpu").assert_outcomes(deselected=9)
        project.run("-m", "gpu", "--profile", "p1").assert_outcomes(errors=8, deselected=1)

    def test_the_command_to_run_again_names_it(self, project: Project) -> None:
        project.write_profiles({"by_name_only": True})
        project.write_suite(one="say B")
        result = project.run("-k", "expected_letter", "--profile", "p1")
        result.assert_outcomes(failed=2, deselected=7)
        result.stdout.fnmatch_lines(["run again: *--profile=p1*"])


class TestSnapshots:
    def test_edited_by_a_hundredth_fails(self, project: Project) -> None:
        project.write_suite(one="say A")
        project.run(accept=True).assert_outcomes(passed=9)
        move_letters(project.folder / "snapshots", "p/torch", "s.one", A=-0.01)
        result = project.run("-k", "snapshot")
        result.assert_outcomes(passed=2, failed=1)
        result.stdout.fnmatch_lines(
            ["*letters.A: *moved by 0.01; allowed: 1e-05*", "cases/s.yaml:7:3", "run again: *"]
        )

    def test_of_a_removed_case_is_unused(self, project: Project) -> None:
        project.write_suite(one="say A", two="say A too")
        project.run(accept=True).assert_outcomes(passed=17)
        project.write_suite(one="say A")
        result = project.run()
        result.assert_outcomes(passed=8, failed=1)
        result.stdout.fnmatch_lines(["*2 snapshots of cases that are no more*"])

    def test_missing_fails(self, project: Project) -> None:
        project.write_suite(one="say A")
        result = project.run("-k", "matches_snapshot or expected_letter")
        result.assert_outcomes(failed=2, passed=3, deselected=4)
        said = text(result)
        assert said.count("no accepted answer yet in 2 of 2 tests of snapshots, which fail") == 1
        assert " --snapshot-update\n" in said
        assert said.count("test_matches_snapshot[") == 0
        assert "full logits" not in said  # which would be of no use

    def test_the_command_that_accepts_does(self, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
        project.write_suite(one="say A")
        (line,) = (line for line in project.run().outlines if "accept it: " in line)
        words = shlex.split(line.partition("accept it: ")[2])
        assert words[:3] == ["pytest", "--pyargs", "harness.suite"]
        project.pytester.runpytest_inprocess("-p", "no:cacheprovider", *words[1:]).assert_outcomes(passed=9)
        monkeypatch.setenv("TOX_ENV_NAME", "harness")
        (project.folder / "snapshots").rename(project.folder / "kept")
        result = project.run("-k", "snapshot and s.one")
        result.stdout.fnmatch_lines(["*accept it: tox run -e harness -- --pyargs harness.suite *"])


def test_marks_of_a_case_select_it(project: Project) -> None:
    project.write_suite(one={"prompt": "say A", "marks": ["slow"]}, two="say A too")
    project.run("-m", "slow", "-k", "expected_letter").assert_outcomes(passed=2, deselected=15)


def test_tags_of_a_case_select_it(project: Project) -> None:
    project.write_suite(one={"prompt": "say A", "tags": ["near-tie"]}, two="say A too")
    project.run("-k", "near-tie and expected_letter").assert_outcomes(passed=2, deselected=15)


def test_a_profile_of_one_engine_has_no_empty_skips(project: Project) -> None:
    project.write_profiles(engines={"torch": {"patch": str(project_patch())}})
    project.write_suite(one="say A")
    result = project.run("-k", "not snapshot")
    assert "skipped" not in result.parseoutcomes()
    assert result.parseoutcomes()["passed"] == 1


def project_patch() -> str:
    from tests.suite.conftest import HERE

    return str(HERE / "stand_in_engine.py")


def test_a_whole_run_leaves_the_process_free_of_engine_libraries(project: Project) -> None:
    project.write_suite(one="say A")
    (project.folder / "conftest.py").write_text(
        "import sys\n\n"
        "def pytest_sessionfinish(session):\n"
        "    engines = {'lmdeploy', 'torch', 'torchvision', 'transformers'}\n"
        "    print('\\nloaded:', sorted(engines & sys.modules.keys()), 'tests:', session.testscollected)\n"
    )
    arguments = project.command("-s", "-k", "not snapshot")
    result = project.pytester.runpytest_subprocess(*arguments)
    result.assert_outcomes(passed=6, deselected=3)
    result.stdout.fnmatch_lines(["loaded: [[][]] tests: 6"])


def test_cases_elsewhere_alone_mean_the_suite(
    project: Project, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.write_suite(one="say A")
    here = tmp_path_factory.mktemp("here")
    (here / "test_own.py").write_text("def test_own(): pass")
    (here / "pyproject.toml").write_text("[tool.pytest]\n")
    monkeypatch.chdir(here)
    result = project.pytester.runpytest_inprocess(
        "-p", "no:cacheprovider", f"--cases={project.cases}", "-k", "not snapshot"
    )
    result.assert_outcomes(passed=6, deselected=3)
    assert (here / ".harness").is_dir()
    # Tests that are named are run as named.
    own = project.pytester.runpytest_inprocess(
        "-p", "no:cacheprovider", f"--cases={project.cases}", "test_own.py"
    )
    own.assert_outcomes(passed=1)


@pytest.mark.parametrize("option", ["--cases", "--recordings", "--report", "--report-json"])
def test_a_path_behind_a_space_that_moves_the_root_is_refused(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    (here := tmp_path / "here").mkdir()
    (here / "pyproject.toml").write_text("[tool.pytest]\ntestpaths = ['own']\n")
    (elsewhere := tmp_path / "r.html").touch()
    monkeypatch.chdir(here)
    result = project.pytester.runpytest_inprocess("-p", "no:cacheprovider", option, str(elsewhere))

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    said = text(result)
    assert f"{option}: found {elsewhere} behind a space" in said
    assert f"did not find pyproject.toml; allowed: {option}={elsewhere}" in said


def test_pyproject_names_the_folders(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.write_suite(one="say A")
    monkeypatch.chdir(tmp_path)
    table = f"[tool.vlm-harness]\ncases = '{project.cases}'\nrecordings = 'kept'\n"
    (tmp_path / "pyproject.toml").write_text(table)
    words = ("-p", "no:cacheprovider", "--pyargs", "harness.suite", "-k", "not snapshot")
    project.pytester.runpytest_inprocess(*words).assert_outcomes(passed=6, deselected=3)
    assert (tmp_path / "kept").is_dir()
    (tmp_path / "pyproject.toml").write_text(table.replace("cases", "case", 1))
    result = project.pytester.runpytest_inprocess(*words)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "found 'case'; allowed: cases (the nearest)" in text(result)
