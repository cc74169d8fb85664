"""`harness explain` where it cannot look, and `harness factors` where an engine errs in company only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.cli import main
from tests.gate_folder import Folder

EMBEDDED = Path(__file__).parents[3] / "cases" / "models" / "embedded"


def factors(*more: str) -> tuple[int, dict[str, Any]]:
    status = main(["factors", *more, "--json", "f.json"])
    return status, json.loads(Path("f.json").read_text(encoding="utf-8"))


def errors(found: dict[str, Any]) -> dict[str, str]:
    return {row["factors"][0]: row["error"] for row in found["seen"] if row["error"]}


@pytest.fixture
def folder(gate_folder: Folder) -> Folder:
    gate_folder.clean(4)
    gate_folder.patch("        for request in requests:\n", COMPANY)
    gate_folder.patch("        if settings.device ==", REFUSALS + "        if settings.device ==")
    return gate_folder


COMPANY = """        wrong = self.settings.kind == "lmdeploy" and len(requests) > 1
        for request in requests:
            if wrong:
                from dataclasses import replace
                request = replace(request, prompt=request.prompt + " wobble")
"""
REFUSALS = """        if "prefix_cache" in settings.options:
            raise EngineError(ErrorKind.UNSUPPORTED, "no prefix cache here")
        if "threads" in settings.options:
            raise EngineError(ErrorKind.LOAD, "no such threads")
"""


@pytest.mark.slow
def test_what_errs_in_company_only_is_the_batch_size_and_a_factor_that_fails_is_told(
    folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    status, found = factors("p/torch..p/lmdeploy", "s.c1")
    printed = capsys.readouterr()
    assert (status, found["found"]) == (0, [["batch size"]])
    assert found["sentence"] == "the smallest set that removes the difference: batch size (16 → 1)"
    assert printed.out.splitlines()[-1] == found["sentence"]
    assert errors(found) == {
        "prefix caching": "not of this engine: no prefix cache here",
        "threads": "ERROR: no such threads",
    }
    assert found["factors"]["eager mode"] == "CUDA graphs need device: cuda; B is lmdeploy (pytorch, cpu)"
    assert "11 loads more, the most there will be, take about" in printed.err
    again = main(["factors", "p/torch..p/lmdeploy", "s.c1", "--budget", "1"])
    assert (again, "recorded ◀" in capsys.readouterr().out) == (0, True)


def test_a_case_that_is_none_is_an_error(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["factors", "p/torch..p/lmdeploy", "s.none"]) == 2
    assert "found 's.none'" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.engines
def test_the_embedded_model_in_bfloat16_differs_by_its_dtype_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cases").mkdir()
    engines = {"torch": {}, "half": {"kind": "torch", "dtype": "bfloat16"}}
    profile = {"model": str(EMBEDDED), "dtype": "float32", "reference": "torch", "engines": engines}
    profiles = {"profiles": {"p": profile}}
    (tmp_path / "cases" / "profiles.yaml").write_text(yaml.safe_dump(profiles), encoding="utf-8")
    cases = [{"id": f"c{n}", "prompt": f"Which letter comes first? {n}", "expect": "A"} for n in range(3)]
    suite = {"defaults": {"letters": ["A", "B", "C"]}, "cases": cases}
    (tmp_path / "cases" / "s.yaml").write_text(yaml.safe_dump(suite), encoding="utf-8")
    status, found = factors("p/torch..p/half", "s.c1", "--budget", "2")
    assert (status, found["found"]) == (0, [["dtype"]])
    assert found["factors"]["dtype"] == ["bfloat16", "float32"]
    assert [row["factors"] for row in found["seen"]] == [[], ["dtype"], ["batch size"]]
    base, dtype, batch = (row["gap"] / row["limit"] for row in found["seen"])
    assert dtype < 1 < min(base, batch)
    assert found["seen"][1]["seconds"] == 0  # B so changed is A, which is recorded
    assert found["untried"] == 3


@pytest.fixture
def broken(gate_folder: Folder) -> Folder:
    """p/lmdeploy cannot be loaded, by its own patch."""
    (gate_folder.path / "cases" / "broken.py").write_text("raise RuntimeError('no such driver')\n")
    gate_folder.write_profiles(q={"engines": {"torch": {}, "lmdeploy": {"patch": "broken.py"}}})
    gate_folder.clean(3)
    return gate_folder


def test_of_an_engine_that_cannot_be_loaded_no_noise_is_measured(
    broken: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", "q/torch..q/lmdeploy", "s.c1"]) == 2
    said = capsys.readouterr().err
    assert f"behind its patch {broken.path / 'cases' / 'broken.py'}) could not be loaded" in said
    assert "each stage's own noise" not in said


def test_a_wrong_case_is_told_with_the_nearest_before_the_first_is_traced(
    broken: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", "q/torch..q/lmdeploy", "s.c1", "s.c22"]) == 2
    assert "case: found 's.c22'; allowed: one that both engines are asked: s.c2 (the nearest)" in (
        capsys.readouterr().err
    )
    assert not (broken.path / ".harness").exists()


@pytest.mark.parametrize("number", ["0", "-3"])
def test_noise_takes_a_case(number: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["explain", "p/torch..p/lmdeploy", "--noise-cases", number])
    assert f"--noise-cases: found {number}; allowed: a whole number from 1" in capsys.readouterr().err
