"""A suite whose cases come from a table is in a bundle as YAML, with the pictures of its cases alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.tables import draw_mmbench
from harness.bundles.container import BundleError
from harness.bundles.making import _put_suites
from harness.bundles.privacy import Private
from harness.cases.folder import load
from harness.scoring.subjects import images_of

PROFILES = "profiles: {p: {model: a/b, reference: torch, engines: {torch: {}}}}\n"


def bundled(folder: Path, target: Path) -> None:
    _put_suites(load(folder), Private(models=[], folder=folder), target)
    (target / "profiles.yaml").write_text(PROFILES)


def test_a_table_is_bundled_as_its_cases(tmp_path: Path) -> None:
    folder, target = tmp_path / "cases", tmp_path / "there"
    folder.mkdir()
    draw_mmbench(tmp_path / "t.tsv", 20)
    (folder / "s.yaml").write_text("source: {file: ../t.tsv, first: 6}\n")
    (folder / "profiles.yaml").write_text(PROFILES)
    bundled(folder, target)
    assert sorted(path.name for path in target.iterdir()) == ["images", "profiles.yaml", "s.yaml"]
    before, after = load(folder).cases, load(target).cases
    assert [(c.name, c.prompt, c.expect, c.tags, images_of(c)) for c in after] == [
        (c.name, c.prompt, c.expect, c.tags, images_of(c)) for c in before
    ]
    assert len([*target.glob("images/s/*")]) == 3


def test_what_is_private_in_a_table_stays(tmp_path: Path) -> None:
    folder = tmp_path / "cases"
    folder.mkdir()
    row = {"index": "1", "question": f"Which of {tmp_path}/cases/x?", "A": "x", "B": "y", "answer": "A"}
    (tmp_path / "t.jsonl").write_text(json.dumps(row))
    (folder / "s.yaml").write_text("source: {file: ../t.jsonl}\n")
    (folder / "profiles.yaml").write_text(PROFILES)
    with pytest.raises(BundleError, match=r"s\.yaml:\d+: found a key, a password"):
        bundled(folder, tmp_path / "there")
