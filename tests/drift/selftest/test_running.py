"""A sample of the self-test, and that it runs what a user runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.cases.folder import load
from harness.drift.faults.catalogue import CATALOGUE
from harness.drift.selftest.running import Row, measure

pytestmark = [pytest.mark.slow, pytest.mark.engines]

ROOT = Path(__file__).parents[3]
SAMPLE = ("system_lost", "vision_activation", "rope_scaled", "kv_half", "tied_head", "top_k_renormalised")
CASES = (
    "shapes.blue-turning-green",
    "chinese.widest-yellow-circles-colour",
    "answer_line.system-text-colour",
)


def user(folder: Path, *words: str) -> int:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for name in ("PYTEST_CURRENT_TEST", "PYTEST_VERSION"):
        environment.pop(name, None)
    command = [sys.executable, "-m", *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False).returncode


def test_a_sample_is_found_and_by_the_commands_of_a_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    loaded = load(ROOT / "cases")
    rows: list[Row] = []
    for row in measure(
        tmp_path,
        loaded,
        loaded.profile("embedded"),
        [CATALOGUE[name] for name in SAMPLE],
        sizes=["gross"],
        names=CASES,
        dtype="float32",
        snapshots=ROOT / "snapshots",
        show=lambda _: None,
    ):
        rows.append(row)
        if row.fault is not None and row.fault.name in ("system_lost", "rope_scaled"):
            side = f"embedded/{row.side}"
            pytest_words = (
                "pytest",
                "-p",
                "no:cacheprovider",
                "--pyargs",
                "harness.suite",
                "--cases",
                "cases",
            )
            gate_words = ("harness.cli", "gate", "--baseline", f"{side}@previous", "--candidate", side)
            folder = tmp_path / "fault"
            assert (user(folder, *pytest_words), user(folder, *gate_words)) == (row.pytest, row.gate)
    assert [row.fault and row.fault.name for row in rows] == [None, None, *SAMPLE]
    assert all(row.as_expected for row in rows)
