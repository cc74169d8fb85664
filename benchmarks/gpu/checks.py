"""Command lines of pytest: ``pytest -m gpu`` on a profile, and with a gate between two engines."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from benchmarks.gpu.prepared_cases import EMBEDDED_MODEL
from benchmarks.gpu.readers import JUNIT, REPORT

__all__ = ["checks_command", "gate_command"]

# There are no accepted outputs of a GPU yet, and random weights know no answers. In 16 bits rounding alone
# can turn the letter of a case that was made a near-tie, in either engine; its other checks stay.
_LEFT_OUT: Final = {EMBEDDED_MODEL: ("matches_snapshot", "(expected_letter and near-tie)")}
_LEFT_OUT_OF_OTHERS: Final = ("matches_snapshot", "expected_letter")


def checks_command(work: Path, profile: str, model: str) -> list[str]:
    """The command line of the checks; ``{folder}`` in it stands for the leg's own.

    Full rows are kept, since a gate that comes later compares them and would have to start engines.
    """
    left_out = _LEFT_OUT.get(model, _LEFT_OUT_OF_OTHERS)
    chosen = ("-k", " and ".join(f"not {name}" for name in left_out))
    return [*_pytest(work, "harness/suite"), "--profile", profile, "--keep-logits", *chosen]


def gate_command(work: Path, baseline: str, candidate: str, *, snapshots: Path) -> list[str]:
    """The command line of a gate alone, its report as data in the leg's folder."""
    gate = ("--gate", f"{baseline}..{candidate}", "--snapshots", str(snapshots), "--keep-logits")
    return [*_pytest(work, "harness/suite/test_gate.py"), *gate, "--report-json", f"{{folder}}/{REPORT}"]


def _pytest(work: Path, tests: str) -> list[str]:
    return [
        *(sys.executable, "-m", "pytest", tests, "-q", "-p", "no:cacheprovider", "-W", "default"),
        *("-m", "gpu", "--cases", str(work / "cases"), "--recordings", str(work / "recordings")),
        f"--junitxml={{folder}}/{JUNIT}",
    ]
