"""`harness noise` on a folder of cases that a jittering engine answers, in real workers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from harness.cli import main
from harness.noise.kept import kept_floor
from harness.noise.store import load_floor
from tests.noise.folder import write_folder

THREE = "--variants=batch-1,reversed,shuffled"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_folder(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def noise(*arguments: str) -> int:
    return main(["noise", *arguments])


def test_floors_are_measured_once_and_shown(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert noise("p", THREE, "--json", "n.json") == 0
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert "p-torch: reference in float32: 4 questions ..." in printed.err
    assert "p-lmdeploy: shuffled (3 of 3): 4 questions ..." in printed.err
    assert lines[0].startswith("p/torch: noise floor of 20")
    assert lines[0].endswith(", 4 runs (measured in 5 runs)")
    assert lines[1].startswith("  stand-in, bfloat16")
    assert any(line.split()[:2] == ["s", "4"] for line in lines)
    assert any(line.startswith("  moves most: s.c") and "cases/s.yaml:" in line for line in lines)
    data = json.loads((folder / "n.json").read_text())
    torch, lmdeploy = data["engines"]
    assert {run["variant"] for run in torch["variants"]} == {"undisturbed", "batch-1", "reversed", "shuffled"}
    assert len(lmdeploy["variants"]) == 8
    assert 0.003 < torch["suites"][0]["sigma"] < 0.03
    assert torch["suites"][0]["chances"] == 16
    floor = load_floor(folder / ".harness", "p", "torch")
    assert floor is not None
    assert noise("p", THREE, "--json", "-") == 0
    again = capsys.readouterr()
    assert "questions ..." not in again.err
    assert [engine["made"] for engine in json.loads(again.out)["engines"]] == [0, 0]
    assert noise("p", THREE, "--engine", "torch", "--keep", "--author", "Ann") == 0
    kept = capsys.readouterr().out.splitlines()
    assert kept[0].endswith("(nothing changed, nothing measured)")
    assert kept[-1].startswith("kept; review and commit snapshots/p/torch/stand-in-bfloat16")
    found = kept_floor(folder / "snapshots", "p", "torch", floor.fingerprint)
    assert found is not None
    assert replace(found, kept="") == floor


@pytest.mark.usefixtures("folder")
def test_a_case_that_ends_the_worker_is_told_and_the_others_have_a_floor(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_folder(folder, prompts=("say A 0", "say B die", "say B 2"), engines=("torch",), dtype="float32")
    assert noise("p", THREE) == 0
    printed = capsys.readouterr().out
    assert "note: 1 case without a floor, ERROR undisturbed: s.c1: " in printed
    assert any(line.split()[:2] == ["s", "2"] for line in printed.splitlines())


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["nope"], 2, "profile: found 'nope'; allowed: p"),
        (["p", "--engine", "vllm"], 2, "--engine: found vllm; allowed: torch, lmdeploy"),
        (["p", "--variants", "upside-down"], 2, "--variants: found upside-down; allowed: repeat, batch-1, "),
        (["p", "--cases", "elsewhere"], 1, "elsewhere"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_what_is_not_there(
    arguments: list[str], status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert noise(*arguments) == status
    assert said in capsys.readouterr().err


@pytest.mark.usefixtures("folder")
def test_too_few_variants_are_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    assert noise("p", "--engine", "torch", "--variants", "batch-1") == 1
    printed = capsys.readouterr().out
    assert printed.startswith("p/torch: no noise floor: 1 of the variants repeat, batch-1, ")
    assert "allowed: 3 or more" in printed


def test_an_engine_that_is_not_deterministic_is_a_failure_and_its_floor_is_neither_kept_nor_used(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prompts = ("say A 0", "say B unsteady", "say C 2")
    runs = "--variants=repeat,batch-1,reversed"
    write_folder(folder, prompts=prompts)
    assert noise("p", runs, "--keep", "--author", "Ann") == 1
    torch, _, lmdeploy = capsys.readouterr().out.partition("p/lmdeploy: ")
    assert "  the same question twice, in 3 cases: equal to the last digit\n" in torch
    assert "  not deterministic: the same question twice differs by " in lmdeploy
    assert "(s.c1; allowed: 0." in lmdeploy  # a step at the size of logits that are drawn
    assert lmdeploy.splitlines()[-1].startswith("kept; review and commit snapshots/p/torch/stand-in")
    assert "lmdeploy" not in lmdeploy.splitlines()[-1].partition("commit")[2]

    write_folder(folder, prompts=prompts, nondeterminism="allow")
    assert noise("p", runs) == 0
    assert "by up to " in capsys.readouterr().out.partition("p/lmdeploy: ")[2]
