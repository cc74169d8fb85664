"""The committed checkpoint with its own code is the embedded model, as the recipe converts it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

MODELS = Path(__file__).resolve().parents[2] / "cases" / "models"
COMMITTED = MODELS / "remote"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sys.path.insert(0, str(MODELS))
    try:
        from recipe.remote import write_remote
    finally:
        sys.path.remove(str(MODELS))
    folder = tmp_path_factory.mktemp("made")
    write_remote(MODELS / "embedded", folder)
    return folder


def test_the_recipe_makes_the_committed_files(made: Path) -> None:
    committed = {path.name for path in COMMITTED.iterdir() if path.is_file()} - {"README.md"}
    assert {path.name for path in made.iterdir()} == committed
    for name in committed - {"model.safetensors"}:
        assert (made / name).read_bytes() == (COMMITTED / name).read_bytes(), name


def test_the_recipe_makes_the_committed_weights(made: Path) -> None:
    from safetensors.numpy import load_file

    ours, theirs = load_file(made / "model.safetensors"), load_file(COMMITTED / "model.safetensors")
    assert ours.keys() == theirs.keys()
    for name in ours:
        assert ours[name].dtype == theirs[name].dtype == np.float32
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-6, atol=1e-7, err_msg=name)


def test_its_code_needs_pytorch_and_transformers_only() -> None:
    words = {
        line.split()[1].partition(".")[0]
        for file in COMMITTED.glob("*.py")
        for line in file.read_text().splitlines()
        if line.startswith(("import ", "from ")) and not line.startswith("from .")
    }
    assert words <= {"copy", "dataclasses", "torch", "transformers"}


def test_its_configuration_names_code_of_its_own_folder_only() -> None:
    config: dict[str, Any] = json.loads((COMMITTED / "config.json").read_text())
    assert config["architectures"] == ["InternVLChatModel"]
    for reference in config["auto_map"].values():
        assert (COMMITTED / f"{reference.partition('.')[0]}.py").is_file()
