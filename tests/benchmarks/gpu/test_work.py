"""One leg's work as a command, as far as no engine is needed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gpu import work
from benchmarks.gpu.work import main


def run(folder: Path, what: str, *more: str, device: str = "cpu") -> tuple[int, dict[str, Any]]:
    file = folder / "data.json"
    status = main([what, "--work", str(folder), "--json", str(file), "--device", device, *more])
    data: dict[str, Any] = json.loads(file.read_text())
    return status, data


def test_the_cases_come_without_a_model_that_is_not_there_yet(tmp_path: Path) -> None:
    status, data = run(tmp_path, "cases")
    assert status == 0
    assert {"embedded-float16", "embedded-bfloat16-eager", "embedded-gpu"} <= set(data["profiles"])
    assert not any(name.startswith("random") for name in data["profiles"])


def test_the_random_model_brings_its_profiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def make_model(folder: Path, size: Any) -> int:
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        return int(size.layers)

    monkeypatch.setattr(work, "make_model", make_model)
    status, data = run(tmp_path, "random-model")
    assert (status, data["size"], data["parameters"]) == (0, "tiny", 2)
    assert {"embedded-float16", "random-float16", "random-noise"} <= set(data["profiles"])


def test_no_gpu_is_an_error_and_no_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "probe", lambda *_, **__: {"gpus": [], "packages": {}})
    monkeypatch.setattr(work, "_output", lambda _: "13.0 False")
    with pytest.raises(RuntimeError, match="PyTorch sees no GPU"):
        run(tmp_path, "machine", device="cuda")
    assert not (tmp_path / "data.json").exists()
    assert run(tmp_path, "machine")[0] == 0


@pytest.mark.parametrize("told", [True, False])
def test_a_gpu_is_enough_without_its_program(
    told: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "probe", lambda *_, **__: {"gpus": ["Example 9000"], "packages": {}})
    monkeypatch.setattr(work, "_output", lambda command: "13.0 True" if "-c" in command else "name\n9000")
    monkeypatch.setattr(shutil, "which", lambda name: name if told else None)
    status, data = run(tmp_path, "machine", device="cuda")
    assert (status, data["cuda"], data["gpus"]) == (0, "13.0", ["Example 9000"])
    assert data.get("nvidia-smi") == (["name", "9000"] if told else None)


def test_an_engine_that_left_cases_out_is_a_failure_that_keeps_its_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stand:
        def noise(self, model: str) -> dict[str, Any]:
            return {"floors": [], "errors": {"lmdeploy": f"{model}: it ended"}}

    monkeypatch.setattr(work, "_measuring", lambda _: Stand())
    status, data = run(tmp_path, "noise", "--model", "embedded")
    assert (status, data["errors"]) == (1, {"lmdeploy": "embedded: it ended"})
