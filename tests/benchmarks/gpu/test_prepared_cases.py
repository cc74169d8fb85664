"""The folder of cases and the profiles of a GPU run."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.gpu.prepared_cases import DTYPES, GPU_PROFILE, REFERENCE, TURBOMIND, Prepared, prepare
from benchmarks.gpu.random_internvl import EMBEDDED
from harness.cases.folder import load


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
            eager = {one.name: one.settings for one in made.profiles[f"{profile.name}-eager"].engines}
            assert eager["torch"] == found["torch"]
            assert noise[f"lmdeploy_{dtype}_eager"] == eager["lmdeploy"]


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


def test_floors_are_of_the_repositorys_own_profile(tmp_path: Path) -> None:
    own = load(EMBEDDED.parents[1]).profile(GPU_PROFILE)
    made = prepared(tmp_path / "cases", "cuda").profiles[GPU_PROFILE]
    assert [one.settings for one in made.engines] == [one.settings for one in own.engines]
    rehearsed = prepared(tmp_path / "cases", "cpu").profiles[GPU_PROFILE]
    assert {one.settings.device for one in rehearsed.engines} == {"cpu"}


def test_turbomind_has_a_profile_on_a_gpu_only(tmp_path: Path) -> None:
    assert TURBOMIND not in prepared(tmp_path / "cases", "cpu").profiles
    engines = {
        one.name: one.settings for one in prepared(tmp_path / "cases", "cuda").profiles[TURBOMIND].engines
    }
    assert engines["turbomind"].options["backend"] == "turbomind"
    assert {each.dtype for each in engines.values()} == {"float16"}


def test_the_folder_is_made_anew(tmp_path: Path) -> None:
    folder = tmp_path / "cases"
    prepared(folder, "cpu")
    (folder / "left.yaml").write_text("no: suite\n")
    assert {case.suite for case in prepared(folder, "cpu").cases} >= {"shapes", "words"}
    assert not (folder / "left.yaml").exists()
