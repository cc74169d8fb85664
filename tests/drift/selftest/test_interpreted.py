"""Faults of LMDeploy's kernels by the command: found where these are interpreted, silent with the plug-in."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.cli import main
from tests.drift.selftest.sample import ROOT

CASES = ("answer_line.yellow-circle-colour", "shapes.red-circle-colour")


@pytest.mark.slow
@pytest.mark.engines
def test_a_fault_of_prefill_and_one_of_decoding_are_found_named_and_told_apart(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    # None of pages or masks: what it reads there depends on which request came first.
    words = ["selftest", "--kernels", "--faults", "gqa_head_prefill", "gqa_head_decoding"]
    words += [word for case in CASES for word in ("--case", case)]
    words += ["--cases", "cases", "--recordings", str(tmp_path / "kept"), "--json", str(figures)]
    command = [sys.executable, "-m", "harness.cli", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found: Any = json.loads(figures.read_text())
    clean, prefill, decoding = found["rows"]
    assert (clean["fault"], clean["found"]) == (None, False)
    assert prefill["found"]
    assert decoding["found"]
    assert all(row["under_plugin"].endswith(", silent") for row in (prefill, decoding))
    assert {*prefill["named"].values(), *decoding["named"].values()} == {"layer.0.attention"}
    assert (prefill["in_decoding"], decoding["in_decoding"]) == ([], [CASES[0]])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--faults", "rope_base"], "found 'rope_base'; allowed: page_off_prefill, "),
        (["--dtype", "bfloat16"], "--kernels: found --size or --dtype; allowed: neither"),
    ],
)
def test_what_its_faults_are_not_is_refused(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["selftest", "--kernels", *words]) == 2
    assert told in capsys.readouterr().err
