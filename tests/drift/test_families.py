"""Stage by stage through small random models of other families: where they are known to part, and no more."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Final

import pytest

from harness.cli import main

pytestmark = [pytest.mark.engines, pytest.mark.slow]
ROOT = Path(__file__).parents[2]
MAKER = ROOT / "tests" / "engines" / "torch_native" / "tiny_families.py"
IMAGES = ("red-circle-centre.png", "blue-circle-top-left.png", "two-green-cross-112x56.png")
QUESTIONS = ("colour? A red B blue C green", "what is it then? A red B blue C green", "how many? A 1 B 2 C 3")

EXPECTED: Final = {
    # A token sees itself and as many before it as the window says, which is one more: docs/findings.md.
    ("mistral", "0.18.0"): "layer.0.attention",
    # LMDeploy runs the vision MLP's quick_gelu as GELU: docs/findings.md.
    ("qwen2_vl", "0.18.0"): "vision.0.mlp",
}
"""By family and version of LMDeploy, the stage at which the two engines are known to part."""


WIDENED: Final = {"gemma2"}
"""Families to which Transformers is told a window of one token more, so that both see the same."""
TEXT_ONLY: Final = {"gemma2", "mistral", "qwen2"}


@pytest.mark.parametrize("family", ["gemma2", "mistral", "qwen2", "qwen2_vl", "qwen3_vl"])
def test_a_family_parts_where_it_is_known_to_and_nowhere_else(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subprocess.run([sys.executable, str(MAKER), str(tmp_path), family], check=True, capture_output=True)
    cases = tmp_path / "cases"
    cases.mkdir()
    asked = []
    for number, (image, question) in enumerate(zip(IMAGES, QUESTIONS, strict=True)):
        shutil.copy(ROOT / "cases" / "images" / image, cases)
        shown = None if family in TEXT_ONLY else image
        asked.append(
            {
                "id": f"c{number}",
                "image": shown,
                "prompt": question,
                "letters": ["A", "B", "C"],
                "expect": "A",
            }
        )
    (cases / "s.yaml").write_text(json.dumps({"cases": asked}), encoding="utf-8")
    torch: dict[str, object] = (
        {"options": {"attention": "eager"}} if family == "gemma2" else {}
    )  # it has no other for soft caps
    if family in WIDENED:
        torch["model"] = str(_widened(tmp_path / family))
    profile = {
        "model": str(tmp_path / family), "dtype": "float32", "device": "cpu", "reference": "torch",
        "engines": {"torch": torch, "lmdeploy": {}},
    }  # fmt: skip
    (cases / "profiles.yaml").write_text(json.dumps({"profiles": {"p": profile}}), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    expected = EXPECTED.get((family, version("lmdeploy")))
    status = main(["explain", "p/torch..p/lmdeploy", "s.c1", "--noise-cases=3", "--json=found.json"])
    (found,) = json.loads(Path("found.json").read_text())["cases"]
    assert (found["stage"], status) == (expected, 0 if expected is None else 1)
    assert not [note for note in found["notes"] if "by order and shape" in note]
    stages = {each["stage"] for each in found["stages"]}
    vision = {"pixels", "patch", "vision.0.attention", "vision.1.mlp", "projected"}
    assert {"ids", "layer.0.attention", "layer.1.mlp", "norm", "logits"} <= stages
    assert (vision <= stages) is (family not in TEXT_ONLY)


def _widened(model: Path) -> Path:
    """A copy of ``model`` whose sliding window is one token more."""
    folder = Path(shutil.copytree(model, model.with_name(f"{model.name}-widened")))
    config = json.loads((folder / "config.json").read_text())
    config["sliding_window"] += 1
    (folder / "config.json").write_text(json.dumps(config))
    return folder
