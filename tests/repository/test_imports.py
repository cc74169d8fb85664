"""The flow goes one way, and pytest's own process stays free of the engines' libraries."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("lint-imports")
    return subprocess.run(
        [str(program), "--config", "pyproject.toml", "--no-cache"],
        cwd=folder,
        env={"PYTHONPATH": str(folder), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )


def test_import_contracts_hold() -> None:
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("plugin/hooks.py", "import torch"),
        ("verdicts/judging.py", "import pytest"),
        ("engines/letters.py", "import yaml"),
        ("engines/torch_native/engine.py", "import harness.engines.lmdeploy_pipeline.engine"),
        ("engines/readings.py", "import harness.engines.torch_native.engine"),
        ("cases/yaml_source.py", "import harness.scoring.scoring"),
        ("checks/agreement.py", "import harness.verdicts.judging"),
        ("new_room.py", "x = 1"),
        ("engines/new_engine.py", "x = 1"),
    ],
)
def test_a_planted_import_breaks_a_contract(tmp_path: Path, module: str, line: str) -> None:
    shutil.copytree(ROOT / "harness", tmp_path / "harness", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    with (tmp_path / "harness" / module).open("a") as file:
        file.write(f"\n{line}\n")
    done = lint_imports(tmp_path)
    assert done.returncode != 0
    assert "BROKEN" in done.stdout
