"""``pytest -m gpu`` on a profile, and what it said."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any, Final

from benchmarks.gpu.prepared_cases import EMBEDDED_MODEL, Prepared

__all__ = ["command_for", "counts", "run_checks", "table"]

ROOT: Final = Path(__file__).resolve().parents[2]
# There are no accepted outputs of a GPU yet, and random weights know no answers. In 16 bits rounding alone
# can turn the letter of a case that was made a near-tie, in either engine; its other checks stay.
_LEFT_OUT: Final = {EMBEDDED_MODEL: ("matches_snapshot", "(expected_letter and near-tie)")}
_LEFT_OUT_OF_OTHERS: Final = ("matches_snapshot", "expected_letter")
_MOST_LINES: Final = 150


def run_checks(
    prepared: Prepared, model: str, dtype: str, *, root: Path, out: Path, seconds: float
) -> dict[str, Any]:
    """Run the suite on one model in one dtype, with recordings under ``root``; its log goes under ``out``.

    ``passed`` says whether all is well. Raises subprocess.TimeoutExpired after ``seconds``.
    """
    profile = prepared.compared(model, dtype).name
    log, report = out / f"pytest-{profile}.log", out / f"pytest-{profile}.xml"
    command = command_for(prepared.folder, profile, model, root=root, report=report)
    with log.open("wb") as file:
        status = subprocess.run(
            command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            timeout=seconds,
            check=False,
        ).returncode
    said = log.read_text(encoding="utf-8", errors="replace")
    return {
        "profile": profile,
        "command": " ".join(command[1:]),
        "status": status,
        "passed": status == 0,
        "counts": counts(report),
        "table": table(said),
    }


def command_for(folder: Path, profile: str, model: str, *, root: Path, report: Path) -> list[str]:
    """The command line of pytest."""
    left_out = _LEFT_OUT.get(model, _LEFT_OUT_OF_OTHERS)
    return [
        *(sys.executable, "-m", "pytest", "harness/suite", "-q", "-p", "no:cacheprovider"),
        *("-W", "default", "-m", "gpu", "--profile", profile, "--cases", str(folder)),
        *("--recordings", str(root), f"--junitxml={report}"),
        *("-k", " and ".join(f"not {name}" for name in left_out)),
    ]


def counts(report: Path) -> dict[str, int]:
    """How many tests passed, failed, met an error or were skipped; empty where pytest wrote nothing."""
    if not report.is_file():
        return {}
    suites = list(ET.parse(report).getroot().iter("testsuite"))  # noqa: S314 - our own pytest wrote it
    told = {
        name: sum(int(suite.get(name, 0)) for suite in suites)
        for name in ("tests", "failures", "errors", "skipped")
    }
    passed = told["tests"] - told["failures"] - told["errors"] - told["skipped"]
    return {
        "passed": passed,
        "failed": told["failures"],
        "errors": told["errors"],
        "skipped or known failures": told["skipped"],
    }


def table(said: str) -> list[str]:
    """The harness's table of cases and checks out of pytest's output; the last lines where there is none."""
    lines = [line.rstrip() for line in said.splitlines()]
    starts = [n for n, line in enumerate(lines) if line.strip("= ") == "engines" and line.startswith("=")]
    if not starts:
        return lines[-25:]
    body = lines[starts[-1] + 1 :]
    end = next((n for n, line in enumerate(body) if line.startswith("=")), len(body))
    body = body[:end]
    return (
        body if len(body) <= _MOST_LINES else [*body[: _MOST_LINES // 2], "...", *body[-_MOST_LINES // 2 :]]
    )
