"""docs/python.md: its script and its test, run as they stand there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import harness
from harness.errors import GateError
from tests.gate_folder import Folder
from tests.reports.page.test_page import document_of

PAGE = (Path(__file__).parents[3] / "docs" / "python.md").read_text(encoding="utf-8")
SCRIPT, TESTS = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    monkeypatch.chdir(tmp_path)
    folder = Folder(tmp_path)
    folder.write_profiles(mine={})
    folder.write_suite(*(f"say A {n}" for n in range(8)), "lmdeploy: wobble, say A", "lmdeploy: nan")
    return folder


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)


def test_it_has_fifteen_lines_at_most() -> None:
    assert len(SCRIPT.splitlines()) <= 15


def test_the_script_and_the_test_do_what_the_page_says(folder: Folder) -> None:
    (folder.path / "script.py").write_text(SCRIPT)
    done = python("script.py")
    *cases, sentence = done.stdout.splitlines()
    names = [f"s.c{n}" for n in range(9)]  # of the tenth lmdeploy's logits are NaN
    assert [line.split()[0] for line in cases] == names, done.stderr
    assert [line.split(")")[-1].strip() for line in cases[:8]] == ["passed"] * 8  # KL and JS among it
    assert cases[8].endswith("findings")
    assert sentence.startswith("DRIFT: mine/lmdeploy against mine/torch, 10 cases")
    assert done.returncode == 1
    assert not list((folder.path / ".harness").rglob("*.npy"))  # they were wanted for KL and JS only
    (told,) = document_of(folder.path / "report.html")["comparisons"]
    assert "s.c8" in [case["case"] for case in told["cases"]]
    (folder.path / "tests").mkdir()
    fails = TESTS.replace("<= 4", "< 1").replace("test_short", "test_none")
    (folder.path / "tests" / "test_own.py").write_text(f"{TESTS}\n{fails}")
    done = python("-m", "pytest", "-q", "-k", "not c9", "--cases=cases", "--profile=mine", "tests/")
    assert "18 failed, 18 passed, 4 deselected" in done.stdout


def test_names_that_mean_nothing_are_told_before_an_engine_is_asked(folder: Folder) -> None:
    with pytest.raises(GateError, match=r"found 'mine/lmdeplyo'; allowed: mine/lmdeploy \(the nearest\)"):
        harness.score(harness.load("cases"), "mine/torch", "mine/lmdeplyo")
    assert not (folder.path / ".harness").exists()
