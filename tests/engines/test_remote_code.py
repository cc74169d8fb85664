"""What is said of a checkpoint's own code, and when it may not run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.engines import remote_code
from harness.engines.contract import EngineSettings
from harness.errors import EngineError, ErrorKind

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def checkpoint(folder: Path, *, reference: Any = "modeling.Model", where: str = "config.json") -> Path:
    folder.mkdir(parents=True)
    (folder / where).write_text(json.dumps({"auto_map": {"AutoModel": reference}}))
    (folder / "modeling.py").write_text("import torch\n\nx = 1\n")
    return folder


def settings(folder: Path, **options: Any) -> EngineSettings:
    return EngineSettings(
        kind="torch",
        model=str(folder),
        dtype="auto",
        device="cpu",
        paths=("forward",),
        top_k=5,
        batch_size=1,
        options=options,
    )


def test_code_that_is_off_is_described_with_the_lines_that_switch_it_on(tmp_path: Path) -> None:
    text = remote_code.switched_off(settings(checkpoint(tmp_path / "m")))
    assert "(modeling.py: 3 lines)" in text
    assert "with your rights" in text
    lines = text[text.index("    options:") :]
    assert yaml.safe_load(lines) == {"options": {"trust_remote_code": True}}


def test_the_commit_to_pin_is_named_where_the_folder_is_a_hubs(tmp_path: Path) -> None:
    text = remote_code.switched_off(settings(checkpoint(tmp_path / "snapshots" / COMMIT)))
    assert yaml.safe_load(text[text.index("    options:") :])["revision"] == COMMIT


@pytest.mark.parametrize("options", [{"trust_remote_code": True}, {}])
def test_nothing_is_said_where_nothing_is_off(tmp_path: Path, options: dict[str, Any]) -> None:
    folder = tmp_path / "m"
    if options:
        checkpoint(folder)
    else:
        folder.mkdir()
        (folder / "config.json").write_text("[broken")
    assert remote_code.switched_off(settings(folder, **options)) == ""


@pytest.mark.parametrize(
    ("reference", "where"),
    [
        ("org/other--modeling.Model", "config.json"),
        ([None, "org/other--tokenization.Fast"], "tokenizer_config.json"),
    ],
)
def test_code_of_another_repository_is_refused(tmp_path: Path, reference: Any, where: str) -> None:
    folder = checkpoint(tmp_path / "m", reference=reference, where=where)
    with pytest.raises(EngineError) as caught:
        remote_code.refuse_code_of_others(settings(folder, trust_remote_code=True))
    assert caught.value.kind is ErrorKind.LOAD
    assert f"{where}: auto_map" in caught.value.message
    assert "org/other at whatever its latest commit is" in caught.value.message
    remote_code.refuse_code_of_others(settings(folder))  # it does not run


def test_own_code_is_not_refused(tmp_path: Path) -> None:
    remote_code.refuse_code_of_others(settings(checkpoint(tmp_path / "m"), trust_remote_code=True))


@pytest.mark.parametrize("version", ["4.37.2", "4.46.3", "4.49.0", "4.49.0.dev0"])
def test_no_advice_where_such_code_runs(version: str) -> None:
    assert remote_code.environment_advice(version) == ""


@pytest.mark.parametrize("version", ["4.50.0", "4.56.1", "5.23.0"])
def test_a_newer_transformers_is_named_with_an_environment_that_works(version: str) -> None:
    text = remote_code.environment_advice(version)
    assert f"Transformers {version}" in text
    assert "up to 4.49" in text
    (line,) = [line for line in text.splitlines() if "requirements:" in line]
    assert yaml.safe_load(line) == {"requirements": list(remote_code.REQUIREMENTS)}
