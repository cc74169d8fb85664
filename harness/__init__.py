"""A consistency and regression harness for vision-language models.

Most of it is used through pytest: ``pytest --pyargs harness.suite --cases=DIR``. What a program may use is
named in ``__all__``: cases and profiles from YAML, stored recordings, and the checks, which are pure
functions on them.

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
    from harness.checks.agreement import Agreement, compare, judge
    from harness.checks.expected_letter import check_expected_letter
    from harness.checks.stages import check_stages
    from harness.checks.tolerances import Tolerances
    from harness.checks.top_k import check_top_k
    from harness.engines.contract import Answer, EngineSettings, Reading, Request
    from harness.errors import (
        CaseFileError,
        CheckFailed,
        EngineError,
        HarnessError,
        LettersError,
        RecordingError,
        UnknownProfile,
    )
    from harness.recordings.store import Recording, RecordingStore

__all__ = [
    "Agreement",
    "Answer",
    "Case",
    "CaseFileError",
    "CheckFailed",
    "EngineError",
    "EngineSettings",
    "EngineSpec",
    "HarnessError",
    "LettersError",
    "Loaded",
    "Profile",
    "Reading",
    "Recording",
    "RecordingError",
    "RecordingStore",
    "Request",
    "Suite",
    "Tolerances",
    "UnknownProfile",
    "check_expected_letter",
    "check_stages",
    "check_top_k",
    "compare",
    "judge",
    "load",
]

_MODULES = {
    "cases.folder": ("Loaded", "load"),
    "cases.suites": ("Case", "Suite"),
    "checks.agreement": ("Agreement", "compare", "judge"),
    "checks.expected_letter": ("check_expected_letter",),
    "checks.stages": ("check_stages",),
    "checks.top_k": ("check_top_k",),
    "engines.contract": ("Answer", "EngineSettings", "Reading", "Request"),
    "errors": (
        "CaseFileError",
        "CheckFailed",
        "EngineError",
        "HarnessError",
        "LettersError",
        "RecordingError",
        "UnknownProfile",
    ),
    "cases.profiles": ("EngineSpec", "Profile"),
    "recordings.store": ("Recording", "RecordingStore"),
    "checks.tolerances": ("Tolerances",),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever the name stands for
    if name not in _HOME:
        raise AttributeError(
            f"module 'harness' has no attribute {name!r}; public names: {', '.join(__all__)}"
        )
    return getattr(import_module(f"harness.{_HOME[name]}"), name)
