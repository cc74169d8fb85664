"""What is wrong with suites."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.cases.suites import load_suite, load_suites
from harness.errors import CaseFileError, Problem


def problems_of(path: Path) -> tuple[Problem, ...]:
    with pytest.raises(CaseFileError) as caught:
        load_suite(path) if path.is_file() else load_suites(path)
    return caught.value.problems
