"""One part after another, whatever happens to each."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gpu import command
from benchmarks.gpu.command import Part, Parts, main


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    results: dict[str, Any] = {
        "rehearsal": True,
        "date": "now",
        "command": "run",
        "commit": "abc",
        "machine": {},
        "parts": {},
    }
    return Parts(results, tmp_path / "results.json", 60.0, time.monotonic())


def fails() -> Mapping[str, Any]:
    raise RuntimeError("out of memory\nand more")


def test_one_that_fails_leaves_the_others(parts: Parts) -> None:
    assert parts.run(Part("first", "none", fails)) is None
    assert parts.run(Part("second", "none", lambda: {"figure": 1})) == {"figure": 1}
    kept = json.loads(parts.file.read_text())["parts"]
    assert (kept["first"]["status"], kept["second"]["status"]) == ("error", "passed")
    assert kept["first"]["why"] == "RuntimeError: out of memory\nand more"
    assert kept["first"]["traceback"][-1] == "and more"
    assert kept["second"]["data"] == {"figure": 1}
    assert not parts.well


@pytest.mark.parametrize("data", [{"passed": False}, {"errors": {"lmdeploy": "it ended"}}])
def test_a_check_that_failed_is_no_pass_and_keeps_its_data(parts: Parts, data: dict[str, Any]) -> None:
    assert parts.run(Part("checks", "none", lambda: data)) == data
    assert parts.results["parts"]["checks"]["status"] == "failed"
    assert not parts.well


def test_all_is_well(parts: Parts) -> None:
    parts.run(Part("checks", "none", lambda: {"passed": True, "errors": {}}))
    assert parts.well


def test_what_has_no_time_left_is_not_run_and_no_pass(parts: Parts) -> None:
    parts.began -= 61
    assert parts.run(Part("late", "none", fails)) is None
    entry = parts.results["parts"]["late"]
    assert (entry["status"], entry["why"]) == ("not run", "the 60 s of this run were over")
    assert not parts.well


def test_without_a_gpu_it_says_so_and_leaves_a_results_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: dict[str, Callable[..., Any]] = {
        "probe": lambda *_, **__: {"gpus": [], "packages": {}},
        "_output": lambda _: "None False",
        "_measurements": lambda *_, **__: [],
    }
    for name, stand_in in said.items():
        monkeypatch.setattr(command, name, stand_in)
    assert main(["--out", str(tmp_path / "out"), "--work", str(tmp_path / "work")]) == 1
    kept = json.loads((tmp_path / "out" / "results.json").read_text())
    assert kept["rehearsal"] is False
    assert kept["parts"]["machine"]["why"].startswith("RuntimeError: PyTorch sees no GPU")
    assert kept["parts"]["random model"]["status"] == "error"


def test_cases_that_cannot_be_prepared_are_an_error_and_nothing_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "_machine", lambda **_: {"gpus": []})
    monkeypatch.setattr(command, "_random_model", lambda *_: {})
    monkeypatch.setattr(command, "prepare", lambda *_, **__: fails())
    assert main(["--device", "cpu", "--out", str(tmp_path / "out"), "--work", str(tmp_path / "work")]) == 1
    kept = json.loads((tmp_path / "out" / "results.json").read_text())
    assert kept["rehearsal"] is True
    assert [entry["status"] for entry in kept["parts"].values()] == ["passed", "passed", "error"]
