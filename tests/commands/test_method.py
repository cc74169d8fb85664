"""`harness method` on a folder of cases that a stand-in engine answers, in real workers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.cli import main

PATCH = Path(__file__).parents[1] / "suite" / "stand_in_engine.py"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    cases = tmp_path / "cases"
    (cases / "m").mkdir(parents=True)
    (cases / "m" / "config.json").write_text("{}")
    suite: dict[str, Any] = {"defaults": {"letters": ["A", "B", "C"]}}
    suite["cases"] = [{"id": f"c{n}", "prompt": f"say A {n}", "expect": "A"} for n in range(3)]
    (cases / "s.yaml").write_text(yaml.safe_dump(suite))
    profile = {"model": "m", "dtype": "float32", "reference": "torch", "deadlines": {"load": 60, "case": 20}}
    patched = {"patch": str(PATCH), "top_k": 64}
    engines = {"torch": dict(patched), "lmdeploy": dict(patched)}
    profiles = {
        "p": {**profile, "engines": engines},
        "gpu": {**profile, "device": "cuda", "dtype": "float16"},
    }
    profiles["gpu"]["engines"] = {"torch": dict(patched)}
    profiles = json.loads(json.dumps(profiles))  # else YAML would write what they share as aliases
    (cases / "profiles.yaml").write_text(yaml.safe_dump({"profiles": profiles}, sort_keys=False))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def method(*arguments: str) -> int:
    return main(["method", *arguments])


@pytest.mark.engines
def test_figures_costs_and_advice(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert method("p", "--rounds", "1", "--cases-per-path", "2", "--json", "m.json") == 0
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert lines[0] == "p: 3 cases in 1 suite"
    assert lines[1].startswith("  torch: stand-in, float32, ")
    assert "99.9% of 3 cases, by nearest rank, leaves none out" in printed.out
    assert "What each path costs (2 cases, median of 1 round" in printed.out
    assert "timed on: lmdeploy: stand-in, float32" in printed.out
    assert "for the letters' probabilities, lmdeploy: top-k with k=" in printed.out
    assert "timing lmdeploy, path captured: round 1 of 1 ..." in printed.err
    data = json.loads((folder / "m.json").read_text())
    assert [engine["name"] for engine in data["engines"]] == ["torch", "lmdeploy"]
    lmdeploy = data["engines"][1]
    assert {cost["path"] for cost in lmdeploy["costs"]} >= {"two-stage", "captured"}
    assert all(len(cost["seconds"]) == 1 for cost in lmdeploy["costs"])
    assert set(lmdeploy["coverage"]) == {"s", "all"}
    # Three letters of 64 tokens, the first raised by 8: the others stand where chance put them.
    assert lmdeploy["coverage"]["all"]["all"]["k"] > 3
    assert lmdeploy["coverage"]["all"]["all"]["place"].startswith("cases/s.yaml:")
    assert [missed["k"] for missed in lmdeploy["missed"]] == [5, 10, 20]
    assert [advice["rule"] for advice in data["advice"]] == ["debug", "list"]
    assert "list" in data["rules"]


@pytest.mark.usefixtures("folder")
def test_without_timing_recordings_are_made_once(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("p", "--no-timing", "--k", "7", "--k", "2", "--json", "-")
    assert method(*arguments) == 0
    first = capsys.readouterr()
    assert "p-lmdeploy: 3 recorded, 0 unchanged" in first.err
    assert method(*arguments) == 0
    second = capsys.readouterr()
    assert "p-lmdeploy: 0 recorded, 3 unchanged" in second.err
    assert first.out == second.out
    data = json.loads(first.out)
    assert data["timed"] == 0
    assert data["engines"][1]["costs"] == []
    assert [missed["k"] for missed in data["engines"][1]["missed"]] == [2, 7]


@pytest.mark.usefixtures("folder")
def test_an_engine_that_cannot_answer_is_said_and_counted(capsys: pytest.CaptureFixture[str]) -> None:
    assert method("gpu", "--rounds", "1") == 1
    printed = capsys.readouterr().out
    assert "torch: 3 cases: ERROR, so left out of all figures: s.c0 and 2 more" in printed
    assert "this machine has no NVIDIA GPU" in printed
    assert "not timed: " in printed
    assert "Which method" not in printed


@pytest.mark.usefixtures("folder")
def test_one_case_that_fails_leaves_the_others(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    suite = yaml.safe_load((folder / "cases" / "s.yaml").read_text())
    suite["cases"].append({"id": "bad", "prompt": "say nan", "expect": "A"})
    (folder / "cases" / "s.yaml").write_text(yaml.safe_dump(suite))
    assert method("p", "--no-timing") == 1
    printed = capsys.readouterr().out
    assert "torch: 1 case: ERROR, so left out of all figures: s.bad: " in printed
    assert "all suites       3" in printed


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["nope"], 2, "profile: found 'nope'; allowed: p, gpu (from cases/profiles.yaml)"),
        (["p", "--cases", "elsewhere"], 1, "elsewhere"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_what_is_not_there(
    arguments: list[str], status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert method(*arguments) == status
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [["--rounds", "0"], ["--k", "0"], ["--allowed-width", "2"], ["--k", "x"]]
)
def test_a_wrong_option(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        method("p", *arguments)
    assert "usage: harness method" in capsys.readouterr().err
