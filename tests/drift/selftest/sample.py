"""Runs a sample of the self-test in a process without pytest in it, and some faults by a user's commands too.

Prints a JSON list: of each row the fault, whether it was as expected, and the statuses both ways.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from harness.cases.folder import load
from harness.drift.faults.catalogue import CATALOGUE
from harness.drift.selftest.running import measure

ROOT = Path(__file__).parents[3]
SAMPLE = ("system_lost", "vision_activation", "rope_scaled", "kv_half", "tied_head", "top_k_renormalised")
BY_A_USER = ("system_lost", "rope_scaled")
CASES = (
    "shapes.blue-turning-green",
    "chinese.widest-yellow-circles-colour",
    "answer_line.system-text-colour",
)


def status(folder: Path, *words: str) -> int:
    command = [sys.executable, "-m", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, check=False).returncode


def sample(folder: Path) -> list[list[object]]:
    loaded = load(ROOT / "cases")
    rows: list[list[object]] = []
    for row in measure(
        folder,
        loaded,
        loaded.profile("embedded"),
        [CATALOGUE[name] for name in SAMPLE],
        sizes=["gross"],
        names=CASES,
        dtype="float32",
        snapshots=ROOT / "snapshots",
        show=lambda _: None,
    ):
        name = None if row.fault is None else row.fault.name
        ours = theirs = [row.pytest, row.gate]
        if name in BY_A_USER:
            here, side = folder / "fault", f"embedded/{row.side}"
            tests = ("pytest", "-p", "no:cacheprovider", "--pyargs", "harness.suite", "--cases", "cases")
            gate = ("harness.cli", "gate", "--baseline", f"{side}@previous", "--candidate", side)
            theirs = [status(here, *tests), status(here, *gate)]
        rows.append([name, row.as_expected, ours, theirs])
    return rows


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    print(json.dumps(sample(Path(sys.argv[1]))))  # noqa: T201
