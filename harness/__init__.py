"""A consistency and regression harness for vision-language models.

Most of it is used through pytest: ``pytest --pyargs harness.suite --cases=DIR``. What a program may use is
named in ``__all__``: `load` reads a folder of cases, `score` asks engines, its `Scores` compare and judge;
the checks are pure functions on recordings. docs/python.md has a script.

Names are imported when they are first used, because workers import this package in environments that have an
engine's libraries and none of the harness's own.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.cases.folder import Loaded, load
    from harness.cases.profiles import EngineSpec, Profile
    from harness.cases.suites import Case, Suite
    from harness.checks.agreement import Agreement, check_agreement, compare
    from harness.checks.expected_letter import check_expected_letter
    from harness.checks.result import Finding, Metric, Result
    from harness.checks.stages import check_stages
    from harness.checks.tolerances import Tolerances
    from harness.checks.top_k import check_top_k
    from harness.engines.contract import Answer, Reading
    from harness.errors import (
        CaseFileError,
        CheckFailed,
        EngineError,
        ErrorKind,
        GateError,
        HarnessError,
        LettersError,
        Problem,
        RecordingError,
        UnknownName,
        UnknownProfile,
    )
    from harness.gate.comparison import Comparison
    from harness.gate.scores import Scores, score
    from harness.gate.side import GateSide
    from harness.recordings.store import Recording
    from harness.verdicts.verdict import ComparisonVerdict, ExitStatus, Verdict

__all__ = [
    "Agreement",
    "Answer",
    "Case",
    "CaseFileError",
    "CheckFailed",
    "Comparison",
    "ComparisonVerdict",
    "EngineError",
    "EngineSpec",
    "ErrorKind",
    "ExitStatus",
    "Finding",
    "GateError",
    "GateSide",
    "HarnessError",
    "LettersError",
    "Loaded",
    "Metric",
    "Problem",
    "Profile",
    "Reading",
    "Recording",
    "RecordingError",
    "Result",
    "Scores",
    "Suite",
    "Tolerances",
    "UnknownName",
    "UnknownProfile",
    "Verdict",
    "check_agreement",
    "check_expected_letter",
    "check_stages",
    "check_top_k",
    "compare",
    "load",
    "score",
]

_MODULES = {
    "cases.folder": ("Loaded", "load"),
    "cases.profiles": ("EngineSpec", "Profile"),
    "cases.suites": ("Case", "Suite"),
    "checks.agreement": ("Agreement", "check_agreement", "compare"),
    "checks.expected_letter": ("check_expected_letter",),
    "checks.result": ("Finding", "Metric", "Result"),
    "checks.stages": ("check_stages",),
    "checks.tolerances": ("Tolerances",),
    "checks.top_k": ("check_top_k",),
    "engines.contract": ("Answer", "Reading"),
    "errors": (
        "CaseFileError",
        "CheckFailed",
        "EngineError",
        "ErrorKind",
        "GateError",
        "HarnessError",
        "LettersError",
        "Problem",
        "RecordingError",
        "UnknownName",
        "UnknownProfile",
    ),
    "gate.comparison": ("Comparison",),
    "gate.scores": ("Scores", "score"),
    "gate.side": ("GateSide",),
    "recordings.store": ("Recording",),
    "verdicts.verdict": ("ComparisonVerdict", "ExitStatus", "Verdict"),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever the name stands for
    if name not in _HOME:
        raise AttributeError(
            f"module 'harness' has no attribute {name!r}; public names: {', '.join(__all__)}"
        )
    return getattr(import_module(f"harness.{_HOME[name]}"), name)
