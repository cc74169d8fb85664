"""Faults that a search finds, and shrinks, in real engines; without them it finds nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from harness.cases.suites import load_suite
from harness.cli import main

pytestmark = [pytest.mark.slow, pytest.mark.engines]

EMBEDDED = Path(__file__).parents[3] / "cases" / "models" / "embedded"
PLANT = "from harness.drift.faults import switch\nswitch.on({fault!r}, 'gross')\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    cases = tmp_path / "cases"
    cases.mkdir()
    case = {"id": "one", "prompt": "What is it?", "letters": ["A", "B"], "expect": "A"}
    (cases / "s.yaml").write_text(yaml.safe_dump({"cases": [case]}))
    lmdeploy = {"kind": "lmdeploy", "paths": ["captured"], "options": {"threads": 1}}
    engines: dict[str, object] = {"torch": {"options": {"threads": 1}}, "clean": lmdeploy}
    for fault in ("thumbnail_lost", "neighbours_cache"):
        (cases / f"{fault}.py").write_text(PLANT.format(fault=fault))
        engines[fault] = {**lmdeploy, "patch": f"{fault}.py"}
    profile = {
        "model": str(EMBEDDED),
        "dtype": "float32",
        "device": "cpu",
        "reference": "torch",
        "deadlines": {"load": 240, "case": 60},
        "engines": engines,
    }
    (cases / "profiles.yaml").write_text(json.dumps({"profiles": {"p": profile}}))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_fault_of_several_tiles_is_found_and_shrunk(folder: Path) -> None:
    budget = ("--examples", "8", "--seed", "1")
    assert main(["search", "p/torch..p/clean", *budget]) == 0
    assert main(["search", "p/torch..p/thumbnail_lost", *budget]) == 1
    (suite,) = (folder / "found").glob("*.yaml")
    (case,) = load_suite(suite).cases
    assert case.prompt.startswith("What is it?\nA. red\nB. blue\n")
    # The smallest picture that is cut into more than one tile.
    assert case.images[0].read_bytes()[16:24] == (28).to_bytes(4) + (38).to_bytes(4)


def test_a_relation_is_broken_by_a_fault_of_company(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    budget = ("--examples", "8", "--seed", "1")
    assert main(["search", "--metamorphic", "p/clean", *budget]) == 0
    capsys.readouterr()
    assert main(["search", "--metamorphic", "p/neighbours_cache", *budget]) == 1
    out = capsys.readouterr().out
    assert "p/neighbours_cache, company and order in the batch: FOUND" in out
    assert "p/neighbours_cache, lossless re-encoding: nothing found" in out
