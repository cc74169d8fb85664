"""A script of scenarios, run by a Python of its own: engines keep what they do to a process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[1]


def run_scenarios(
    script: Path,
    out: Path,
    *,
    python: str = sys.executable,
    seconds: float,
    without: Iterable[str] = (),
    tries: int = 1,
) -> None:
    """Run ``script OUT`` on the CPU, without the variables ``without`` around it; it must end well.

    One that takes longer than ``seconds`` is killed with all that it started, and up to ``tries`` are made.
    """
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = str(ROOT)  # for what it imports from beside it
    for name in without:
        environment.pop(name, None)
    said = ""
    for _ in range(tries):
        with subprocess.Popen(
            [python, str(script), str(out)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            start_new_session=True,
        ) as running:
            try:
                _, said = running.communicate(timeout=seconds)
            except subprocess.TimeoutExpired:
                os.killpg(running.pid, signal.SIGKILL)
                _, said = running.communicate()
                continue
        assert running.returncode == 0, said[-4000:]
        return
    raise AssertionError(f"{script.name} took more than {seconds:g} s, {tries} times:\n{said[-4000:]}")
