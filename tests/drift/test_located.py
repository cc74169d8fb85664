"""Planted faults, located by the command: stage, proof, picture; and nothing where nothing is planted."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.cli import main

pytestmark = [pytest.mark.engines, pytest.mark.slow]
CASES = Path(__file__).parents[2] / "cases"
NAMES = (
    "chinese.widest-yellow-circles-colour",
    "answer_line.yellow-circle-colour",
    "answer_line.system-text-colour",
)
FAULTS = {
    "activation": ("vision_activation", "middle"),
    "everywhere": ("vision_half", "gross"),
    "company": ("neighbours_cache", "gross"),
    "ids": ("begin_of_text_doubled", "gross"),
}
Explain = Callable[..., tuple[int, Any, str]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some cases, and profiles of the torch engine beside LMDeploy's: clean, and with a fault each."""
    found = tmp_path_factory.mktemp("located")
    cases = found / "cases"
    shutil.copytree(CASES / "images", cases / "images")
    for suite in {name.partition(".")[0] for name in NAMES}:
        content = yaml.safe_load((CASES / f"{suite}.yaml").read_text(encoding="utf-8"))
        content["cases"] = [case for case in content["cases"] if f"{suite}.{case['id']}" in NAMES]
        (cases / f"{suite}.yaml").write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    lmdeploy: dict[str, Any] = {"kind": "lmdeploy", "paths": ["two-stage", "captured"], "top_k": 20}
    engines = {"torch": {}, "clean": lmdeploy}
    for name, (fault, size) in FAULTS.items():
        text = f"from harness.drift.faults import switch\nswitch.on({fault!r}, {size!r})\n"
        (cases / f"{name}.py").write_text(text, encoding="utf-8")
        engines[name] = {**lmdeploy, "patch": f"{name}.py"}
    profile = {
        "model": str(CASES / "models" / "embedded"), "dtype": "float32", "device": "cpu",
        "reference": "torch", "engines": engines,
    }  # fmt: skip
    (cases / "profiles.yaml").write_text(json.dumps({"profiles": {"p": profile}}), encoding="utf-8")
    return found


@pytest.fixture
def explain(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Explain:
    """Runs the command; its exit status, what it says of the case as data, and its text."""

    def explain(engine: str, case: str, *more: str) -> tuple[int, Any, str]:
        monkeypatch.chdir(folder)
        data = tmp_path / "found.json"
        status = main(["explain", f"p/torch..p/{engine}", case, f"--json={data}", "--noise-cases=3", *more])
        return status, json.loads(data.read_text())["cases"][0], capsys.readouterr().out

    return explain


def test_a_fault_in_one_stage_is_named_and_proven_and_drawn(explain: Explain, tmp_path: Path) -> None:
    picture = tmp_path / "drawn.svg"
    status, found, text = explain("activation", NAMES[0], f"--picture={picture}")
    assert status == 1
    assert (found["stage"], found["part"], found["born_there"]) == ("vision.0.mlp", "vision", True)
    assert found["proven"] is True
    outcomes = {(each["giver"], tuple(each["stages"])): each["outcome"] for each in found["grafts"]}
    assert outcomes == {
        ("A", ("vision.0.mlp",)): "follows",
        ("A", ("vision.0.attention",)): "stays",
        ("B", ("vision.0.mlp",)): "follows",
        ("B", ("vision.0.attention",)): "stays",
    }
    assert "the gap goes with that stage" in text
    assert "vision.0.mlp" in picture.read_text()


def test_a_fault_in_many_stages_is_named_at_the_first_and_not_proven_alone(explain: Explain) -> None:
    _, found, text = explain("everywhere", NAMES[0])
    assert found["stage"] == "vision.0.attention"
    assert "vision.1.mlp" in found["also"]
    assert found["proven"] is False
    assert "does not go with that stage alone" in text


def test_a_fault_of_company_is_found_in_the_passes_of_a_score(explain: Explain) -> None:
    _, found, _ = explain("company", NAMES[1])
    assert (found["stage"], found["born_there"]) == ("layer.1.attention", False)
    assert found["pass"] in ("B generation", "B stage two")


def test_a_question_that_is_another_is_named_before_all_numbers(explain: Explain) -> None:
    _, found, text = explain("ids", NAMES[2])
    assert (found["stage"], found["part"], found["proven"]) == ("ids", "question", True)
    assert "not asked the same" in text


def test_without_a_fault_all_is_within_noise_and_is_not_traced_twice(
    explain: Explain, capsys: pytest.CaptureFixture[str]
) -> None:
    status, found, text = explain("clean", NAMES[0])
    assert (status, found["stage"]) == (0, None)
    assert "Within noise everywhere" in text
    status, again, _ = explain("clean", NAMES[0])
    assert (status, again) == (0, found)
    assert "to be traced" not in capsys.readouterr().err
