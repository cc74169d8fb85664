"""The profiles that are ready to use and to copy: valid, run by name only, and of a size that is known."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from harness.cases.folder import load
from harness.cases.profiles import Profile
from harness.noise.variants import LEAST, variants_for
from harness.profile_check.model_shapes import read_shapes
from harness.profile_check.published import PUBLISHED

UPGRADE = "upgrade-internvl2-8b"
GATED = "upgrade-gpu"  # the embedded model once more, in two environments: for the gate in CI
CASES = Path(__file__).parents[2] / "cases"
PROFILES = {profile.name: profile for profile in load(CASES).profiles}
READY = [
    profile
    for profile in PROFILES.values()
    if profile.by_name_only
    and any(engine.settings.device == "cuda" for engine in profile.engines)
    and profile.name != GATED
]


def test_there_are_some_for_each_kind_of_model() -> None:
    ready = {profile.name for profile in READY}
    assert {UPGRADE, "deployment", "internvl-hf", "qwen-vl", "running-server"} <= ready


def test_a_plain_run_takes_the_embedded_model_in_the_environment_at_hand() -> None:
    plain = [profile for profile in PROFILES.values() if not profile.by_name_only]
    assert {profile.name for profile in plain} == {"embedded", "embedded-gpu"}
    assert all(engine.environment is None for profile in plain for engine in profile.engines)


def test_both_sides_of_the_gate_are_made_of_requirements() -> None:
    profile = PROFILES[GATED]
    assert "gpu" in profile.marks
    assert [engine.name for engine in profile.engines] == ["previous", "candidate"]
    assert all(engine.environment is not None for engine in profile.engines)


@pytest.mark.parametrize("profile", READY, ids=lambda profile: profile.name)
class TestReady:
    def test_it_is_marked_for_a_gpu(self, profile: Profile) -> None:
        assert "gpu" in profile.marks

    def test_its_models_are_pinned_to_a_commit(self, profile: Profile) -> None:
        named = [engine for engine in profile.engines if engine.settings.kind != "api"]
        assert all(re.fullmatch(r"[0-9a-f]{40}", engine.revision or "") for engine in named)

    def test_their_sizes_are_known_before_they_are_there(self, profile: Profile) -> None:
        models = {engine.settings.model for engine in profile.engines if engine.settings.kind != "api"}
        assert all(read_shapes(PUBLISHED[model]).parameters for model in models)

    def test_its_suites_have_no_failures_of_another_model(self, profile: Profile) -> None:
        suites = {suite.name: suite for suite in load(CASES).suites}
        cases = [case for name in profile.suites for case in suites[name].cases]
        assert cases
        assert all(case.known_failure is None for case in cases)


def test_remote_code_runs_for_the_model_that_needs_it_only() -> None:
    trusting = {
        profile.name
        for profile in PROFILES.values()
        for engine in profile.engines
        if engine.settings.options.get("trust_remote_code")
    }
    assert trusting == {UPGRADE, "deployment", "remote"}


@pytest.mark.parametrize(("name", "tiles"), [(UPGRADE, 6), ("deployment", None)])
def test_all_engines_of_internvl2_8b_are_asked_the_same(name: str, tiles: int | None) -> None:
    profile = PROFILES[name]
    assert profile.system
    assert {engine.settings.max_tiles for engine in profile.engines} == {tiles}
    assert {engine.settings.dtype for engine in profile.engines} == {"bfloat16"}


def test_the_upgrade_is_that_of_turbomind_with_the_other_engine_and_the_models_own_code_beside_it() -> None:
    profile = PROFILES[UPGRADE]
    assert profile.reference == "previous"
    told = {
        engine.name: (
            engine.settings.kind,
            engine.settings.options.get("backend", ""),
            engine.environment.requirements[0] if engine.environment else "",
        )
        for engine in profile.engines
    }
    assert told == {
        "previous": ("lmdeploy", "turbomind", "lmdeploy==0.15.0"),
        "candidate": ("lmdeploy", "turbomind", "lmdeploy==0.18.0"),
        "candidate_pytorch": ("lmdeploy", "", "lmdeploy==0.18.0"),
        "torch": ("torch", "", "transformers==4.49.0"),
    }


@pytest.mark.parametrize("name", [UPGRADE, "deployment"])
def test_noise_can_be_measured_on_every_engine(name: str) -> None:
    for engine in PROFILES[name].engines:
        names = [variant.name for variant in variants_for(engine.settings)]
        assert len(names) >= LEAST, engine.name
        if engine.settings.options.get("backend") == "turbomind":
            assert {"repeat", "reversed", "shuffled"} < set(names)


def test_a_deployment_differs_from_its_reference_by_one_thing_each() -> None:
    profile = PROFILES["deployment"]
    engines = {engine.name: engine.settings for engine in profile.engines}
    base = engines.pop(profile.reference)
    differing = {
        name: {
            (key, value)
            for key, value in {**own.options, "kind": own.kind, "batch_size": own.batch_size}.items()
            if {**base.options, "kind": base.kind, "batch_size": base.batch_size}.get(key) != value
        }
        for name, own in engines.items()
    }
    assert differing["batch_1"] == {("batch_size", 1)}
    assert differing["kv8"] == {("quant_policy", 8)}
    assert differing["kv4"] == {("quant_policy", 4)}
    assert differing["tp2"] == {("tp", 2)}
    assert differing["pytorch"] == set()
    assert "backend" not in engines["pytorch"].options
    assert differing["eager"] == {("eager_mode", True)}
    assert {("kind", "api"), ("serve", True)} < differing["api"]


def test_quantised_weights_are_taken_once_their_folders_are_there(tmp_path: Path) -> None:
    """The engines that stand in the profile as comments, since `harness check` asks for the folder."""
    text = (CASES / "profiles.yaml").read_text(encoding="utf-8")
    for name in ("awq", "w8a8"):
        block = re.search(rf"( {{6}}# {name}: .*\n(?: {{6}}#   \w.*\n)+)", text)
        assert block is not None
        text = text.replace(block[1], re.sub(r"^ {6}# ", " " * 6, block[1], flags=re.MULTILINE))
        text = text.replace(f"/models/InternVL2-8B-{name}\n", f"{tmp_path}/models/{name}\n")
        folder = tmp_path / "models" / name
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("{}")
    cases = tmp_path / "cases"
    shutil.copytree(CASES, cases)
    (cases / "profiles.yaml").write_text(text, encoding="utf-8")
    profile = load(cases).profile("deployment")
    models = {engine.name: engine.settings.model for engine in profile.engines}
    assert models["awq"] == str(tmp_path / "models" / "awq")
    assert models["w8a8"] == str(tmp_path / "models" / "w8a8")
