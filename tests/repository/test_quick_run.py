"""What a plain ``pytest tests`` selects and how it is shared out, seen in a small folder of tests."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
CONFTEST = Path(__file__).parents[1] / "conftest.py"
TESTS = """
import os
import pytest

@pytest.fixture(scope="module")
def made():
    with open("made.txt", "a") as file:
        file.write("x")

@pytest.fixture
def browser():
    pass

@pytest.mark.parametrize("number", range(20))
def test_shares(made, number): ...

@pytest.mark.parametrize("number", range(20))
def test_who(number):
    with open("processes.txt", "a") as file:
        file.write(f"{os.getpid()}\\n")

@pytest.mark.slow
def test_slow(made): ...

def test_in_a_browser(browser): ...
"""


@pytest.fixture
def folder(pytester: pytest.Pytester) -> pytest.Pytester:
    tests = pytester.mkdir("tests")
    (tests / "conftest.py").write_text(CONFTEST.read_text())
    (tests / "test_some.py").write_text(TESTS)
    (tests / "test_others.py").write_text(TESTS)
    pytester.makeini("[pytest]\nmarkers =\n    slow: slow\n    browser: browser\n")
    return pytester


def run(folder: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return folder.runpytest_subprocess("-p", "no:cacheprovider", *arguments)


def test_what_is_left_out_is_counted(folder: pytest.Pytester) -> None:
    run(folder, "tests").assert_outcomes(passed=80, deselected=4)
    run(folder, "tests", "-n0").assert_outcomes(passed=80, deselected=4)


def test_processes_share_the_files_and_a_files_fixture_is_made_in_one(folder: pytest.Pytester) -> None:
    run(folder, "tests").assert_outcomes(passed=80, deselected=4)
    assert (folder.path / "made.txt").read_text() == "xx"
    assert len(set((folder.path / "processes.txt").read_text().split())) > 1


@pytest.mark.parametrize(("mark", "passed"), [("slow", 2), ("browser", 2), ("not slow", 82)])
def test_marks_that_are_given_win(folder: pytest.Pytester, mark: str, passed: int) -> None:
    run(folder, "tests", "-m", mark).assert_outcomes(passed=passed, deselected=84 - passed)


def test_what_is_named_by_its_file_runs(folder: pytest.Pytester) -> None:
    run(folder, "tests/test_some.py").assert_outcomes(passed=42)
    assert len(set((folder.path / "processes.txt").read_text().split())) == 1


def test_where_no_test_has_the_mark_it_is_no_success(folder: pytest.Pytester) -> None:
    assert run(folder, "tests", "-m", "slow and browser").ret == pytest.ExitCode.NO_TESTS_COLLECTED


def test_at_most_a_tenth_of_the_tests_is_slow() -> None:
    command = [sys.executable, "-m", "pytest", "tests", "--collect-only", "-q", "-m", "slow"]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    found = re.search(r"(\d+)/(\d+) tests collected", done.stdout)
    assert found is not None, done.stdout[-500:]
    slow, of_all = map(int, found.groups())
    assert 0 < slow <= of_all / 10
