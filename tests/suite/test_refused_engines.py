"""An engine that is not there is loaded once and told once, whatever keeps it from loading."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from tests.suite.conftest import HERE, Project

TESTS = (
    8  # of a case on two engines: letter, snapshot for each; question, agreement, top-k and stages for one
)
MANY = 12


def engines(torch: dict[str, Any], lmdeploy: dict[str, Any] | None = None) -> dict[str, Any]:
    patch = str(HERE / "stand_in_engine.py")
    return {"engines": {"torch": torch, "lmdeploy": {"patch": patch, "top_k": 5, **(lmdeploy or {})}}}


def patch_that(folder: Path, code: str) -> dict[str, Any]:
    """A patch that counts how often it was loaded, and then runs ``code``."""
    patch = folder / "patch.py"
    patch.write_text(f"with open({str(folder / 'loads')!r}, 'a') as file:\n    file.write('x')\n{code}\n")
    return {"patch": str(patch)}


def loads(folder: Path) -> int:
    return len((folder / "loads").read_text())


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("raise RuntimeError('a library broke')", "load: RuntimeError: a library broke"),
        ("import os\nos._exit(3)", "load: the worker exited with code 3"),
        (
            "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)",
            "load: the worker was killed by signal 9",
        ),
        (
            "import not_installed",
            "load: ModuleNotFoundError: No module named 'not_installed'; install it with",
        ),
        ("raise MemoryError('all gone')", "load: MemoryError: all gone"),
        (
            "from harness.errors import EngineError, ErrorKind\n"
            "raise EngineError(ErrorKind.OUT_OF_MEMORY, 'lower batch_size')",
            "out-of-memory: lower batch_size",
        ),
        ("import time\ntime.sleep(60)", "within 6 s, the profile's `deadlines.load`"),
    ],
    ids=["exception", "exit", "killed", "module", "memory", "refused", "silent"],
)
def test_whatever_the_reason_it_is_tried_once_and_told_once(project: Project, code: str, told: str) -> None:
    project.write_profiles(
        deadlines={"load": 6 if "sleep" in code else 60, "case": 20},
        **engines(patch_that(project.folder, code)),
    )
    project.write_suite(**{f"c{number}": f"say A, {number}" for number in range(MANY)})
    result = project.run("-k", "not snapshot")
    # Of a case torch's letter, and the other engine's question and agreement with it; not what is its own.
    result.assert_outcomes(errors=3 * MANY, passed=3 * MANY)
    output = result.stdout.str()
    assert loads(project.folder) == 1
    assert output.count(told) == 1
    assert "engines that could not be loaded" in output
    patched = (
        f"the engine (kind: torch, behind its patch {project.folder / 'patch.py'}) could not be loaded in "
    )
    assert f"p-torch: {'' if 'sleep' in code else patched}" in output
    assert "= ERRORS =" not in output
    assert "ERROR " not in output


def test_engines_with_one_reason_share_its_telling(project: Project) -> None:
    project.write_profiles(device="cuda", dtype="float16")
    project.write_suite(**{f"c{number}": f"say A, {number}" for number in range(MANY)})
    result = project.run()
    result.assert_outcomes(errors=TESTS * MANY, passed=1)  # no snapshot is unused
    output = result.stdout.str()
    assert output.count("load: this machine has no NVIDIA GPU") == 1
    result.stdout.fnmatch_lines(["  p-lmdeploy: * tests without an answer; log: *", "  p-torch: * tests *"])
    assert len(result.outlines) < 40
    # It says all; where the harness raised it is nothing to the user.
    assert "Traceback" not in output
    assert output.count("run again: ") == 1
    assert output.count(" lack: harness profile check p") == 1


def test_other_engines_and_other_errors_are_told_as_ever(project: Project) -> None:
    project.write_profiles(**engines(patch_that(project.folder, "raise RuntimeError('a library broke')")))
    project.write_suite(one="say A", two="lmdeploy: die")
    result = project.run("-k", "expected_letter")
    result.assert_outcomes(passed=1, errors=3)
    result.stdout.fnmatch_lines(["crash: cases/s.yaml:10:3: s.two-p-lmdeploy: *signal 9*"])
    result.stdout.fnmatch_lines(["ERROR *test_expected_letter[[]s.two-p-lmdeploy[]]*"])
    assert result.stdout.str().count("a library broke") > 0
    # The other engine's letter of a case has its row.
    result.stdout.fnmatch_lines(["s.one*A 0.9*"])


def test_a_reference_that_is_not_there_is_an_error_of_the_comparison_alone(project: Project) -> None:
    project.write_profiles(**engines(patch_that(project.folder, "raise RuntimeError('a library broke')")))
    project.write_suite(one="say A")
    project.run("-k", "engines_agree").assert_outcomes(errors=1)
    project.run("-k", "top_k or stages").assert_outcomes(passed=2)


def test_an_error_is_headed_by_the_engine_that_had_it(project: Project) -> None:
    project.write_profiles(**engines({"patch": str(HERE / "stand_in_engine.py")}))
    project.write_suite(one="torch: die")
    result = project.run("-k", "engines_agree")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["crash: cases/s.yaml:*: s.one-p-torch: *signal 9*"])
    result.stdout.no_fnmatch_line("crash: *s.one-p-lmdeploy*")


def test_an_interpreter_that_does_not_start(project: Project) -> None:
    broken = project.folder / "python"
    broken.write_text("#!/nowhere/at/all\n")
    broken.chmod(0o755)
    project.write_profiles(**engines({"python": str(broken)}))
    project.write_suite(**{f"c{number}": f"say A, {number}" for number in range(MANY)})
    result = project.run("-k", "expected_letter")
    result.assert_outcomes(passed=MANY, errors=MANY)
    assert result.stdout.str().count("could not be started") == 1


def test_a_hub_model_that_is_not_there(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(project.folder / "hub"))
    project.write_profiles(model="nobody/nothing")
    project.write_suite(**{f"c{number}": f"say A, {number}" for number in range(MANY)})
    result = project.run("-k", "expected_letter")
    result.assert_outcomes(errors=2 * MANY)
    assert result.stdout.str().count("model 'nobody/nothing' is no folder") == 1


def test_each_test_still_says_why_where_it_is_read_alone(project: Project) -> None:
    project.write_profiles(device="cuda", dtype="float16")
    project.write_suite(one="say A", two="say A again")
    project.run("-k", "expected_letter", "--junit-xml=out.xml")
    written = (project.folder / "out.xml").read_text()
    assert (
        written.count("could not be loaded, which is told once for all its tests: this machine has no") == 8
    )
    assert "refusal" not in written  # what travels to the main process is not for JUnit


@pytest.mark.slow
def test_processes_of_one_run_tell_it_once(project: Project) -> None:
    project.write_profiles(**engines(patch_that(project.folder, "raise RuntimeError('a library broke')")))
    project.write_suite(**{f"c{number}": f"say A, {number}" for number in range(MANY)})
    command = [sys.executable, "-m", "pytest", *project.command("-n", "2", "-k", "expected_letter")]
    result = project.pytester.run(*command)
    result.assert_outcomes(passed=MANY, errors=MANY)
    assert result.stdout.str().count("load: RuntimeError: a library broke") == 1
    assert loads(project.folder) == 1
    result.stdout.fnmatch_lines([f"  p-torch: *; {MANY} tests without an answer; log: *"])


@pytest.mark.slow
def test_a_report_of_several_processes_says_why(project: Project) -> None:
    project.write_profiles(**engines(patch_that(project.folder, "raise RuntimeError('a library broke')")))
    project.write_suite(one="say A", two="say A again")
    command = project.command("-n", "2", "-k", "engines_agree", "--report-json=d.json")
    project.pytester.run(sys.executable, "-m", "pytest", *command).assert_outcomes(errors=2)
    written = (project.folder / "d.json").read_text()
    assert "a library broke" in written
    assert "was not scored" not in written
