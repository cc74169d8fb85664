"""A script of scenarios, run by a Python of its own: engines keep what they do to a process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[1]


def run_scenarios(
    script: Path, out: Path, *, python: str = sys.executable, seconds: float, without: Iterable[str] = ()
) -> None:
    """Run ``script OUT`` on the CPU, without the variables ``without`` around it; it must end well."""
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = str(ROOT)  # for what it imports from beside it
    for name in without:
        environment.pop(name, None)
    done = subprocess.run(
        [python, str(script), str(out)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
