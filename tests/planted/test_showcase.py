"""What docs/gate.md shows, as it is typed: a faulty candidate is found though its own noise was measured."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml

from harness.cli import main
from tests.planted.conftest import ROOT

ENGINES = ("float32", "bfloat16", "disturbed_bfloat16")
CASES = 24  # of the largest suite: enough to find it, and few enough to be measured here


@pytest.fixture
def showcase(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The profile `dtypes` with three of its engines, on some cases of one suite."""
    cases = tmp_path / "cases"
    models = ROOT / "cases" / "models"
    shutil.copytree(models / "embedded", cases / "models" / "embedded")
    shutil.copy(models / "disturbed_weights.py", cases / "models")
    shutil.copytree(ROOT / "cases" / "images", cases / "images")
    content = yaml.safe_load((ROOT / "cases" / "profiles.yaml").read_text())["profiles"]["dtypes"]
    content["engines"] = {name: content["engines"][name] for name in ENGINES}
    (cases / "profiles.yaml").write_text(yaml.safe_dump({"profiles": {"dtypes": content}}))
    suite = yaml.safe_load((ROOT / "cases" / "chinese.yaml").read_text())
    suite["cases"] = suite["cases"][:CASES]
    (cases / "chinese.yaml").write_text(yaml.safe_dump(suite, allow_unicode=True))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_measuring_the_suspect_does_not_excuse_it(showcase: Path, capsys: pytest.CaptureFixture[str]) -> None:
    variants = "batch-1,attention-eager,threads-1"
    assert main(["noise", "dtypes", "--variants", variants]) == 0
    gate = ["gate", "--baseline", "dtypes/float32", "--candidate", "dtypes/disturbed_bfloat16"]
    capsys.readouterr()
    assert main([*gate, "--json", "found.json"]) == 0  # it is within the margin, which the first line says
    assert capsys.readouterr().out.startswith("DRIFT within the margin: dtypes/disturbed_bfloat16")
    assert main([*gate, "--strict"]) == 1
    (found,) = json.loads((showcase / "found.json").read_text())["comparisons"]
    assert "the noise floor of dtypes/bfloat16" in found["noise"]
    calm = ["gate", "--baseline", "dtypes/float32", "--candidate", "dtypes/bfloat16", "--strict"]
    assert main(calm) == 0
