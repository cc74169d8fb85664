"""The profiles that are ready to use and to copy: valid, run by name only, and of a size that is known."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.cases.folder import load
from harness.cases.profiles import Profile
from harness.profile_check.model_shapes import read_shapes
from harness.profile_check.published import PUBLISHED

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
    assert {"internvl2-8b", "internvl-hf", "qwen-vl", "running-server"} <= ready


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
    assert trusting == {"internvl2-8b", "remote"}


def test_both_sides_of_internvl2_8b_are_asked_the_same() -> None:
    profile = PROFILES["internvl2-8b"]
    assert profile.system
    assert {engine.settings.max_tiles for engine in profile.engines} == {6}
    assert {engine.settings.dtype for engine in profile.engines} == {"bfloat16"}
