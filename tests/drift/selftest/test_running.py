"""A sample of the self-test, and that it runs what a user runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.drift.selftest import sample


@pytest.mark.slow
@pytest.mark.engines
def test_a_sample_is_found_and_by_the_commands_of_a_user(tmp_path: Path) -> None:
    # As in a clone of a repository whose own tests are strict.
    (tmp_path / "pyproject.toml").write_text("[tool.pytest]\nfilterwarnings = ['error']\n")
    command = [sys.executable, "-m", "tests.drift.selftest.sample", str(tmp_path)]
    done = subprocess.run(command, cwd=sample.ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert [name for name, *_ in rows] == [None, None, *sample.SAMPLE]
    assert all(as_expected for _, as_expected, *_ in rows)
    assert all(ours == theirs for *_, ours, theirs in rows)
