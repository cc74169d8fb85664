"""`harness accept --convert`, on what an earlier version wrote."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from harness.cases.folder import load
from harness.cli import main
from harness.errors import GateError
from harness.gate.side import load_side
from harness.gate.sides import SideName
from harness.recordings.fingerprint import asked_today
from harness.snapshots.change import snapshot_change
from harness.snapshots.converting import convert
from harness.snapshots.files import read_engine, read_suite, require_converted
from harness.verdicts.verdict import Verdict
from tests.formats.folder import FROZEN, frozen_folder

CASES = ["few.green-cross-colour", "few.red-circle-colour", "few.stated-colour"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the folder, so that the frozen one stays as it is."""
    return frozen_folder(tmp_path)


@pytest.fixture
def snapshots(folder: Path) -> Path:
    """The folder of snapshots, converted."""
    options = ["--cases", str(folder / "cases"), "--snapshots", str(folder / "snapshots")]
    assert main(["accept", "--convert", *options]) == 0
    return folder / "snapshots"


def old(engine: str, case: str) -> Path:
    return Path("snapshots", "test_matches_snapshot", f"test_matches_snapshot[{case}-small-{engine}].json")


def test_all_of_it_is_one_file_for_each_engine_and_suite(snapshots: Path) -> None:
    files = sorted(path.relative_to(snapshots).as_posix() for path in snapshots.rglob("*") if path.is_file())
    assert files == ["small/lmdeploy/few.jsonl", "small/torch/few.jsonl"]
    assert list(read_suite(snapshots / "small" / "torch" / "few.jsonl").cases) == CASES
    require_converted(snapshots)


@pytest.mark.parametrize("engine", ["torch", "lmdeploy"])
@pytest.mark.parametrize("case", CASES)
def test_a_converted_line_is_compared_as_before(snapshots: Path, engine: str, case: str) -> None:
    held = json.loads((FROZEN / old(engine, case)).read_text())
    line = json.dumps(read_suite(snapshots / "small" / engine / "few.jsonl").cases[case].to_json())
    change = snapshot_change(line, held, expect="A", tolerance=1e-5)
    assert (change.verdict, change.differences) == (Verdict.SAME, ())
    held["letters"]["A"] = round(held["letters"]["A"] + 2e-5, 6)
    assert snapshot_change(line, held, expect="A", tolerance=1e-5).differences


def test_what_was_not_kept_is_not_invented(snapshots: Path) -> None:
    one = read_suite(snapshots / "small" / "torch" / "few.jsonl")
    assert (one.model, one.fingerprint, one.decisions) == ("", {}, ())
    case = one.cases[CASES[1]]
    assert (case.logprobs, case.asked, case.rendered) == (None, None, None)
    assert dict(case.letters) == {"A": 0.999363, "B": 0.000168, "C": 0.000121, "D": 0.00019}


def test_a_baseline_keeps_its_numbers_and_decisions(snapshots: Path) -> None:
    before = json.loads((FROZEN / "snapshots" / "baselines" / "small-lmdeploy.json").read_text())
    after = read_suite(snapshots / "small" / "lmdeploy" / "few.jsonl")
    assert after.fingerprint == before["fingerprint"]
    assert [(one.decision, one.author, one.reason) for one in after.decisions] == [
        ("2026-11-28", "Ann", "First")
    ]
    for name, case in after.cases.items():
        assert case.logprobs == before["cases"][name]["letters"]
        assert case.asked == asked_today(before["cases"][name]["asked"])
        assert case.token_ids == json.loads((FROZEN / old("lmdeploy", name)).read_text())["token_ids"]


def test_the_gate_takes_a_baseline_and_no_mere_probabilities(snapshots: Path) -> None:
    kept: Any = None  # of a path nothing else is asked
    side = load_side(SideName(text="", path=snapshots / "small" / "lmdeploy"), kept)
    assert (side.made, side.model, sorted(side.cases)) == ("2026-11-28", "model", CASES)
    with pytest.raises(GateError, match=r"found probabilities only(.|\n)*harness accept small/torch"):
        load_side(SideName(text="", path=snapshots / "small" / "torch"), kept)


def test_a_baseline_alone_has_no_token_ids(folder: Path) -> None:
    shutil.rmtree(folder / "snapshots" / "test_matches_snapshot")
    convert(folder / "snapshots", load(folder / "cases"))
    case = read_engine(folder / "snapshots" / "small" / "lmdeploy")[0].cases[CASES[1]]
    assert (case.token_ids, case.dtype) == (None, "float32")
    assert dict(case.letters) == json.loads((FROZEN / old("lmdeploy", CASES[1])).read_text())["letters"]


def test_until_then_reading_names_the_command(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    command = r"harness accept --convert --snapshots snapshots$"
    for path in (Path("snapshots/small/torch"), Path("snapshots/baselines/small-lmdeploy.json")):
        with pytest.raises(GateError, match=command):
            read_engine(path)


class TestRefused:
    def refused(self, folder: Path, said: str) -> None:
        load(folder / "cases")  # which keeps what it saw of the images
        before = sorted(folder.rglob("*"))
        with pytest.raises(GateError, match=said):
            convert(folder / "snapshots", load(folder / "cases"))
        assert sorted(folder.rglob("*")) == before

    def test_nothing_to_convert(self, folder: Path) -> None:
        shutil.rmtree(folder / "snapshots")
        self.refused(folder, "found nothing in the layout of an earlier version")

    def test_a_file_of_no_case(self, folder: Path) -> None:
        shutil.copy(folder / old("torch", CASES[0]), folder / old("torch", "few.gone"))
        self.refused(folder, r"1 snapshots of cases that are no more(.|\n)*rm '.*few.gone-small-torch.*'")

    def test_an_edited_baseline(self, folder: Path) -> None:
        file = folder / "snapshots" / "baselines" / "small-lmdeploy.json"
        file.write_text(file.read_text().replace("First", "Second"))
        self.refused(folder, "was edited")

    def test_a_damaged_snapshot(self, folder: Path) -> None:
        (folder / old("torch", CASES[0])).write_text("<<<<<<< ours")
        self.refused(folder, "cannot be read")

    def test_two_that_do_not_agree(self, folder: Path) -> None:
        file = folder / old("lmdeploy", CASES[1])
        file.write_text(file.read_text().replace("0.999363", "0.999360"))
        self.refused(folder, "remove the one of the two files that is out of date")

    def test_a_file_that_is_there(self, folder: Path) -> None:
        there = folder / "snapshots" / "small" / "torch" / "few.jsonl"
        there.parent.mkdir(parents=True)
        there.write_text("")
        self.refused(folder, "few.jsonl: is there already")
