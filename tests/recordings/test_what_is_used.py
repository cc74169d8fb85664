"""Files and GPUs that count in an engine's fingerprint only where they are used."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from harness.engines.contract import EngineSettings, Json
from harness.errors import EngineError, ErrorKind
from harness.recordings.fingerprint import describe_differences, engine_fingerprint, engine_id

INSTALLED: dict[str, Json] = {"python": "3.11.8"}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    return folder


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def settings_for(model: Path) -> EngineSettings:
    return EngineSettings(
        kind="torch", model=str(model), dtype="auto", device="cpu", paths=(), top_k=0, batch_size=1
    )


def test_what_a_patch_imports_counts_and_what_lies_beside_does_not(
    model: Path, cache: Path, tmp_path: Path
) -> None:
    patch, helper, other = (tmp_path / name for name in ("patch.py", "helper.py", "other.py"))
    patch.write_text("import helper")
    helper.write_text("x = 1")
    other.write_text("x = 1")

    def patched() -> dict[str, Json]:
        return engine_fingerprint(settings_for(model), INSTALLED, patch=patch, cache=cache)

    before = patched()
    other.write_text("x = 2")
    assert patched() == before
    helper.write_text("x = 2")
    assert [d.path for d in describe_differences(before, patched())] == ["patch.helper.py"]


def test_a_file_that_an_option_names_counts_by_content(model: Path, cache: Path, tmp_path: Path) -> None:
    template = tmp_path / "template.json"
    template.write_text("{}")

    def key(place: Path) -> str:
        settings = dataclasses.replace(settings_for(model), options={"template": str(place)})
        return engine_id(engine_fingerprint(settings, INSTALLED, patch=None, cache=cache))

    before = key(template)
    (tmp_path / "moved").mkdir()
    moved = template.rename(tmp_path / "moved" / template.name)
    assert key(moved) == before
    moved.write_text("{ }")
    assert key(moved) != before


GPUS: dict[str, Json] = {**INSTALLED, "gpus": ["NVIDIA X1, 500.1"], "gpus_untold": ""}
OTHER_GPUS: dict[str, Json] = {**GPUS, "gpus": ["NVIDIA X2, 500.1"]}


@pytest.mark.parametrize(("device", "changes"), [("cuda", True), ("cpu", False)])
def test_a_gpu_counts_where_it_computes(model: Path, cache: Path, device: str, changes: bool) -> None:
    settings = dataclasses.replace(settings_for(model), device=device)
    ids = {
        engine_id(engine_fingerprint(settings, installed, patch=None, cache=cache))
        for installed in (GPUS, OTHER_GPUS)
    }
    assert (len(ids) == 2) == changes


def test_a_gpu_that_nothing_tells_is_an_error_where_it_would_compute(model: Path, cache: Path) -> None:
    untold: dict[str, Json] = {**INSTALLED, "gpus": [], "gpus_untold": "NVML: not there"}
    on_gpu = dataclasses.replace(settings_for(model), device="cuda")
    with pytest.raises(EngineError, match=r"device: found cuda(?s:.*)tried: NVML: not there") as caught:
        engine_fingerprint(on_gpu, untold, patch=None, cache=cache)
    assert caught.value.kind is ErrorKind.LOAD
    engine_fingerprint(settings_for(model), untold, patch=None, cache=cache)
    none_at_all: dict[str, Json] = {**untold, "gpus_untold": ""}
    # The engine says that there is none.
    assert engine_fingerprint(on_gpu, none_at_all, patch=None, cache=cache)["installed"]["gpus"] == []  # type: ignore[call-overload,index]
