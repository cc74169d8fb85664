"""Texts that are accepted on the real engines: equal within tolerance, and a planted fault in every check."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

pytestmark = [pytest.mark.engines, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
CHECKS = {
    "test_engines_agree",
    "test_expected_letter",
    "test_matches_snapshot",
    "test_same_question",
    "test_stages_consistent",
    "test_top_k_matches_full",
}
PROMPT = "What colour is it?\nA. red\nB. blue\nC. green\nD. yellow\nAnswer in the form 'Answer: X'."
# The image behind the question, and the second pass divided by a temperature.
FAULT = """
from harness.engines.lmdeploy_pipeline import stages
from harness.engines.lmdeploy_pipeline.steps.pytorch import PytorchSteps
messages, rows_behind = stages.messages, PytorchSteps.rows_behind
def turned(*args, **kwargs):
    found = messages(*args, **kwargs)
    found[-1]["content"].reverse()
    return found
async def scaled(*args, **kwargs):
    return await rows_behind(*args, **kwargs) / 1.05
stages.messages, PytorchSteps.rows_behind = turned, scaled
"""


def write(folder: Path, **engine: str) -> None:
    shutil.copy(ROOT / "cases/images/yellow-circle-top-left.png", folder)
    profile = {
        "model": str(ROOT / "cases/models/embedded"),
        "dtype": "float32",
        "device": "cpu",
        "reference": "torch",
        "engines": {"torch": {}, "lmdeploy": {"top_k": 20, "paths": ["two-stage", "captured"], **engine}},
    }
    shared = {"image": "yellow-circle-top-left.png", "prompt": PROMPT}
    cases = [
        {"id": "line", "expect_text": "Answer: D"},
        {"id": "wrong", "expect_text": "Answer: B", "known_failure": "it is D"},
        {"id": "long", "expect_text": "Answer: D. yellow", "known_failure": "it ends before"},
        {"id": "letter", "expect": "D", "letters": ["A", "B", "C", "D"], "answer_prefix": "Answer: "},
    ]
    (folder / "profiles.yaml").write_text(yaml.safe_dump({"profiles": {"p": profile}}))
    (folder / "s.yaml").write_text(yaml.safe_dump({"defaults": shared, "cases": cases}))


def suite(folder: Path, *more: str) -> tuple[dict[str, str], str]:
    """How each test of the suite ended, by ``function[id]``, and all that was said."""
    command = ["-m", "pytest", "-n", "0", "-p", "no:cacheprovider", "--pyargs", "harness.suite", "--cases=."]
    done = subprocess.run(
        [sys.executable, *command, "-rA", *more], cwd=folder, capture_output=True, text=True, check=False
    )
    lines = [
        line.split(" ", 1) for line in done.stdout.splitlines() if "::test_" in line and line[0].isupper()
    ]
    return {
        rest.split("::")[1].split(" - ")[0]: outcome for outcome, rest in lines
    }, done.stdout + done.stderr


def test_texts_pass_every_check_and_a_fault_fails_each(tmp_path: Path) -> None:
    write(
        tmp_path,
    )
    found, said = suite(tmp_path, "--snapshot-update", "--report-json=r.json")
    assert set(found.values()) == {"PASSED", "XFAIL"}, said
    assert {test for test, outcome in found.items() if outcome == "XFAIL"} == {
        f"test_expected_letter[s.{case}-p-{engine}]"
        for case in ("wrong", "long")
        for engine in ("torch", "lmdeploy")
    }
    (comparison,) = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))["comparisons"]
    for case in comparison["cases"]:
        baseline, candidate = case["baseline"], case["candidate"]
        assert candidate["least"] == pytest.approx(baseline["least"], abs=1e-6), case["case"]
        assert case["largest"] < 5e-5, case["case"]

    (tmp_path / "fault.py").write_text(FAULT)
    write(tmp_path, patch="fault.py")
    faulty, said = suite(tmp_path)
    red = {
        test.split("[")[0] for test, end in faulty.items() if "s.line-p-lmdeploy" in test and end == "FAILED"
    }
    assert red == CHECKS, said
    assert all(end != "FAILED" for test, end in faulty.items() if "-p-torch" in test), said
    gate = [sys.executable, "-m", "harness.cli", "gate", "p", "--cases", "."]
    done = subprocess.run(gate, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "REGRESSION" in done.stdout
    assert "s.line" in done.stdout
