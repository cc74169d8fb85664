"""The folder of cases and the profiles of a GPU run."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.gpu.prepared_cases import DTYPES, REFERENCE, Prepared, prepare
from benchmarks.gpu.random_internvl import EMBEDDED


def prepared(folder: Path, device: str) -> Prepared:
    models = {"embedded": EMBEDDED, "random": EMBEDDED}
    return prepare(
        folder, models, device=device, suites={"embedded": ["shapes", "words"], "random": ["words"]}
    )


@pytest.mark.parametrize("device", ["cuda", "cpu"])
def test_both_engines_in_both_dtypes_for_each_model(device: str, tmp_path: Path) -> None:
    made = prepared(tmp_path / "cases", device)
    for model, suites in (("embedded", ("shapes", "words")), ("random", ("words",))):
        for dtype in DTYPES:
            profile = made.compared(model, dtype)
            assert (profile.marks, profile.suites, profile.reference) == (("gpu",), suites, "torch")
            found = {engine.name: engine.settings for engine in profile.engines}
            assert {each.dtype for each in found.values()} == {dtype}
            assert {each.device for each in found.values()} == {device}
            # The same settings, so that recordings are shared.
            noise = {engine.name: engine.settings for engine in made.noise(model).engines}
            assert noise[f"torch_{dtype}"] == found["torch"]
            assert noise[f"lmdeploy_{dtype}"] == found["lmdeploy"]


def test_noise_is_measured_from_native_float32_alone(tmp_path: Path) -> None:
    made = prepared(tmp_path / "cases", "cuda")
    engines = {engine.name: engine.settings for engine in made.noise("embedded").engines}
    assert made.noise("embedded").reference == REFERENCE
    reference = engines[REFERENCE]
    assert (reference.kind, reference.dtype, reference.batch_size) == ("torch", "float32", 1)
    assert reference.options["attention"] == "sdpa"
    assert engines["float32_eager"].options["attention"] == "eager"
    assert engines["float32_batched"].batch_size == 8
    assert engines["lmdeploy_float16_alone"].batch_size == 1
    assert engines["lmdeploy_float16_eager"].options["eager_mode"] is True
    assert len({repr(settings) for settings in engines.values()}) == len(engines)


def test_the_folder_is_made_anew(tmp_path: Path) -> None:
    folder = tmp_path / "cases"
    prepared(folder, "cpu")
    (folder / "left.yaml").write_text("no: suite\n")
    assert {case.suite for case in prepared(folder, "cpu").cases} >= {"shapes", "words"}
    assert not (folder / "left.yaml").exists()
