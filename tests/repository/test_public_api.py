"""What ``import harness`` offers, and what it costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

import harness


def test_every_public_name_is_there() -> None:
    assert sorted(harness.__all__) == harness.__all__
    for name in harness.__all__:
        assert getattr(harness, name) is not None


def test_an_unknown_name_is_told_with_those_there_are() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'recordings_of'.*Recording"):
        harness.recordings_of  # noqa: B018


def test_importing_it_imports_nothing_that_a_worker_may_lack() -> None:
    names = {"numpy", "pydantic", "pytest", "rich", "yaml"}
    code = f"import sys, harness; print(sorted({names} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
