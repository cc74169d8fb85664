"""Cases and a workload to measure with."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from benchmarks.workload import Workload

PROFILES = """\
profiles:
  marked: {model: model, dtype: float32, device: cpu, reference: torch, marks: [slow], engines: {torch: {}}}
  plain: {model: model, dtype: float32, device: cpu, reference: torch, suites: [small], engines: {torch: {}}}
"""
SUITE = """\
defaults: {letters: [A, B]}
cases:
  - {id: one, image: red.png, prompt: Which?, expect: A}
  - {id: two, prompt: Which?, expect: B}
"""


@pytest.fixture
def cases(tmp_path: Path) -> Path:
    folder = tmp_path / "cases"
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "config.json").write_text("{}")
    Image.new("RGB", (8, 8), "red").save(folder / "red.png")
    (folder / "profiles.yaml").write_text(PROFILES)
    (folder / "small.yaml").write_text(SUITE)
    (folder / "other.yaml").write_text(SUITE)
    return folder


@pytest.fixture
def workload(cases: Path, tmp_path: Path) -> Workload:
    return Workload.read(cases, profile=None, scratch=tmp_path, repeats=None)
