"""What a leg left in its folder, as data for the results."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from benchmarks.gpu.turbomind import NOTE, handed_on

__all__ = [
    "DATA",
    "JUNIT",
    "REPORT",
    "checks",
    "counts",
    "data",
    "doctor",
    "floor",
    "gate",
    "table",
    "turbomind",
]

DATA: Final = "data.json"
JUNIT: Final = "junit.xml"
REPORT: Final = "report.json"
_LOG: Final = "log.txt"
_MOST_LINES: Final = 150


def data(folder: Path) -> Mapping[str, Any]:
    """What the leg wrote as data; nothing where it wrote none."""
    file = folder / DATA
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return found


def doctor(folder: Path) -> Mapping[str, Any]:
    """What `harness doctor` found, and its page."""
    return {**data(folder), "text": _shortened(_said(folder))}


def checks(folder: Path) -> Mapping[str, Any]:
    """How many tests of pytest's came out how, and the harness's table."""
    return {"counts": counts(folder / JUNIT), "table": table(_said(folder))}


def turbomind(folder: Path) -> Mapping[str, Any]:
    """As `checks`, with what must be said of the library beneath."""
    return {**checks(folder), **({"note": NOTE} if handed_on() else {})}


def gate(folder: Path) -> Mapping[str, Any]:
    """The verdict on each candidate with its suites' sentences; none where there is no report.

    ``inconclusive`` says that at least one is, and that none is worse.
    """
    file, found = folder / REPORT, []
    if file.is_file():
        for one in json.loads(file.read_text(encoding="utf-8"))["comparisons"]:
            kept = {name: one[name] for name in ("name", "verdict", "status", "sentence", "noise")}
            found.append({**kept, "suites": [suite["sentence"] for suite in one["suites"]]})
    statuses = {one["status"] for one in found}
    return {"verdicts": found, "inconclusive": statuses - {"PASSED"} == {"INCONCLUSIVE"}}


def floor(folder: Path, *, snapshots: Path, of: str) -> Mapping[str, Any]:
    """What `harness noise` said, and the files that it kept of one engine, relative to ``snapshots``."""
    kept = sorted(str(file.relative_to(snapshots)) for file in (snapshots / of).glob("*.floor.json"))
    return {"kept": kept, "text": _shortened(_said(folder))}


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


def table(lines: list[str]) -> list[str]:
    """The harness's table of cases and checks out of pytest's output; the last lines where there is none."""
    starts = [n for n, line in enumerate(lines) if line.strip("= ") == "engines" and line.startswith("=")]
    if not starts:
        return lines[-25:]
    body = lines[starts[-1] + 1 :]
    end = next((n for n, line in enumerate(body) if line.startswith("=")), len(body))
    return _shortened(body[:end])


def _said(folder: Path) -> list[str]:
    file = folder / _LOG
    if not file.is_file():
        return []
    return [line.rstrip() for line in file.read_text(encoding="utf-8", errors="replace").splitlines()]


def _shortened(lines: list[str]) -> list[str]:
    if len(lines) <= _MOST_LINES:
        return lines
    return [*lines[: _MOST_LINES // 2], "...", *lines[-_MOST_LINES // 2 :]]
