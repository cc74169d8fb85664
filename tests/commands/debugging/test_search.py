"""`harness search` on engines that are made up, in real workers: exit statuses, and what is written."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import pytest
import yaml

from harness.cli import main
from tests.noise.folder import PATCH, write_folder

FEW = ("--examples", "4", "--seed", "1")
DIES = "exec(open({patch!r}).read())\n" + "Jittering.score = lambda *_: os._exit(7)\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_folder(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_nothing_found_and_something_found(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["search", "p/torch..p/lmdeploy", *FEW]) == 0
    assert "p/torch..p/lmdeploy: nothing found in 4 examples, 0.0" in capsys.readouterr().out
    assert not (folder / "found").exists()
    assert main(["search", "p/torch..p/lmdeploy", *FEW, "--limit", "1e-6"]) == 1
    out = capsys.readouterr().out
    assert "p/torch..p/lmdeploy: FOUND in example 1, shrunk with " in out
    (suite,) = (folder / "found").glob("*.yaml")
    assert f"harness explain p/torch..p/lmdeploy {suite.stem}.case-1" in out
    shutil.copytree(folder / "found", folder / "cases", dirs_exist_ok=True)
    assert main(["check", "cases"]) == 0
    assert f"suite    {suite.stem}: 1 case\n" in capsys.readouterr().out


@pytest.mark.slow
def test_each_relation_has_a_verdict(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # These engines look at no picture, so that two pictures give one answer; all else holds within bfloat16.
    assert main(["search", "--metamorphic", "p/torch", *FEW]) == 1
    heads = [line for line in capsys.readouterr().out.splitlines() if line.startswith("p/torch, ")]
    verdicts = {line.split(", ")[1].split(":")[0]: "FOUND" in line for line in heads}
    assert verdicts == {
        "company and order in the batch": False,
        "behind one that ends at once": False,
        "one text with two images": True,
        "two images of one name": True,
        "lossless re-encoding": False,
        "permuted options": False,
    }


def test_an_engine_that_ends_is_told(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.reports.pulse._SECONDS", 0.0)
    profiles = folder / "cases" / "profiles.yaml"
    content = yaml.safe_load(profiles.read_text())
    (folder / "cases" / "dies.py").write_text(DIES.format(patch=str(PATCH)))
    content["profiles"]["p"]["engines"]["lmdeploy"]["patch"] = "dies.py"
    profiles.write_text(yaml.safe_dump(content, sort_keys=False))
    assert main(["search", "p/torch..p/lmdeploy", *FEW]) == 2
    said = capsys.readouterr().err
    assert "p/torch..p/lmdeploy: 1 batches asked\n" in said
    assert "the worker exited with code 7" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["p/torch..p/none"], "p/lmdeploy"),
        (["p/torch@previous..p/lmdeploy"], "only an engine that can be asked"),
        (["--metamorphic", "p/torch@previous"], "only an engine that can be asked"),
    ],
)
def test_names_that_are_wrong(
    folder: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert main(["search", *words]) == 2
    assert said in capsys.readouterr().err


def test_without_hypothesis_its_extra_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert main(["search", "p/torch..p/lmdeploy"]) == 2
    assert "[search]" in capsys.readouterr().err


@pytest.mark.parametrize("words", [("--minutes", "0"), ("--limit", "nan"), ("--limit", "-1")])
def test_numbers_with_which_nothing_could_be_said_are_refused(
    words: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["search", "p/torch..p/lmdeploy", *words])
    assert f"argument {words[0]}: found {words[1]}; allowed: a number above 0" in capsys.readouterr().err
