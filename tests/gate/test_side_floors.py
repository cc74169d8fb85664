"""Which noise floor a side of a gate has."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.cases.profiles import EngineSpec, Profile
from harness.cases.suites import Location
from harness.engines.contract import EngineSettings
from harness.errors import GateError
from harness.gate.side import GateSide
from harness.gate.side_floors import SideFloors
from harness.noise.store import NoiseStore
from harness.verdicts.noise_floor import NoiseFloor, Repeats
from tests.verdicts.changes import floor_of

ENGINE: dict[str, Any] = {"settings": {"kind": "torch"}, "model": {"hash": "m"}, "installed": {"torch": "2"}}
SETTINGS = EngineSettings(
    kind="torch", model="/m", dtype="bfloat16", device="cpu", paths=(), top_k=20, batch_size=1
)
PROFILE = Profile(name="p", reference="torch", engines=(), suites=(), location=Location(Path("p.yaml"), 1, 1))


def _floor(engine: str, fingerprint: dict[str, Any], *, dtype: str = "bfloat16") -> NoiseFloor:
    return NoiseFloor(
        profile="p",
        engine=engine,
        dtype=dtype,
        device="a test",
        made="2026-11-25",
        fingerprint=fingerprint,
        cases={},
        full={},
    )


@pytest.fixture
def side() -> GateSide:
    return GateSide(
        label="p/lmdeploy",
        profile="p",
        engine="lmdeploy",
        live=True,
        made="2026-11-25",
        model="m",
        fingerprint={**ENGINE, "settings": {"kind": "lmdeploy"}, "loaded": {"dtype": "bfloat16"}},
        recordings={},
        errors={},
        asked={},
    )


def test_a_side_has_the_floor_of_its_own_engine(tmp_path: Path, side: GateSide) -> None:
    NoiseStore(tmp_path, "p", "torch").put_floor(_floor("torch", ENGINE))
    own = {name: value for name, value in side.fingerprint.items() if name != "loaded"}
    NoiseStore(tmp_path, "p", "lmdeploy").put_floor(_floor("lmdeploy", own))
    found = SideFloors(tmp_path, [PROFILE]).of(side)
    assert found is not None
    assert found.engine == "lmdeploy"


def test_another_version_has_the_native_engines(tmp_path: Path, side: GateSide) -> None:
    NoiseStore(tmp_path, "p", "torch").put_floor(_floor("torch", ENGINE))
    NoiseStore(tmp_path, "p", "lmdeploy").put_floor(_floor("lmdeploy", {**ENGINE, "installed": {}}))
    found = SideFloors(tmp_path, [PROFILE]).of(side)
    assert found is not None
    assert found.engine == "torch"


def test_where_the_reference_does_not_fit_another_engine_may(tmp_path: Path, side: GateSide) -> None:
    bfloat16 = EngineSpec(name="other", settings=SETTINGS, location=PROFILE.location)
    profile = replace(PROFILE, engines=(bfloat16,))
    NoiseStore(tmp_path, "p", "torch").put_floor(_floor("torch", ENGINE, dtype="float32"))
    NoiseStore(tmp_path, "p", "other").put_floor(_floor("other", ENGINE))
    found = SideFloors(tmp_path, [profile]).of(side)
    assert found is not None
    assert found.engine == "other"


@pytest.mark.parametrize("differs", ["dtype", "model", "profile"])
def test_the_native_floor_is_for_the_same_model_and_dtype_only(
    tmp_path: Path, side: GateSide, differs: str
) -> None:
    fingerprint = {**ENGINE, "model": {"hash": "other"}} if differs == "model" else ENGINE
    dtype = "float32" if differs == "dtype" else "bfloat16"
    NoiseStore(tmp_path, "p", "torch").put_floor(_floor("torch", fingerprint, dtype=dtype))
    profiles = [] if differs == "profile" else [PROFILE]
    assert SideFloors(tmp_path, profiles).of(side) is None
    assert SideFloors(tmp_path, [PROFILE]).of(replace(side, profile="gone")) is None


def test_a_profile_that_wants_the_table_has_no_floor(tmp_path: Path, side: GateSide) -> None:
    own = {name: value for name, value in side.fingerprint.items() if name != "loaded"}
    NoiseStore(tmp_path, "p", "lmdeploy").put_floor(_floor("lmdeploy", own))
    assert SideFloors(tmp_path, [PROFILE]).of(side) is not None
    assert SideFloors(tmp_path, [replace(PROFILE, tolerance="table")]).of(side) is None


def test_a_profile_that_wants_noise_is_refused_without(tmp_path: Path, side: GateSide) -> None:
    wanting = replace(PROFILE, tolerance="noise")
    with pytest.raises(GateError, match="harness noise p"):
        SideFloors(tmp_path, [wanting]).of(side)
    NoiseStore(tmp_path, "p", "torch").put_floor(_floor("torch", ENGINE))
    assert SideFloors(tmp_path, [wanting]).of(side) is not None


def _loud(engine: str, fingerprint: dict[str, Any], sigma: float, *, dtype: str = "bfloat16") -> NoiseFloor:
    """A floor of sixty cases whose noise has the standard deviation ``sigma``."""
    rng = np.random.default_rng(1)
    truth = rng.normal(0, 3, (60, 4))
    runs = [truth + sigma * rng.normal(0, 1, truth.shape) for _ in range(3)]
    return replace(_floor(engine, fingerprint, dtype=dtype), cases=floor_of(truth, runs).cases)


@pytest.mark.parametrize("own", [0.5, 2.0], ids=["quieter", "noisier"])
@pytest.mark.parametrize("other", ["baseline", "profile"])
def test_a_candidate_that_is_noisier_than_its_like_is_no_excuse_for_itself(
    tmp_path: Path, side: GateSide, own: float, other: str
) -> None:
    before = {name: value for name, value in side.fingerprint.items() if name != "loaded"}
    baseline = replace(
        side, label="p/torch", engine="torch", fingerprint={**ENGINE, "loaded": {"dtype": "bfloat16"}}
    )
    if other == "profile":  # the baseline computes in another dtype, and a third engine in the candidate's
        NoiseStore(tmp_path, "p", "torch").put_floor(_loud("torch", ENGINE, 1e-6, dtype="float32"))
        third = EngineSpec(name="third", settings=SETTINGS, location=PROFILE.location)
        profile = replace(PROFILE, engines=(third,))
        NoiseStore(tmp_path, "p", "third").put_floor(_loud("third", ENGINE, 0.02))
    else:
        profile = PROFILE
        NoiseStore(tmp_path, "p", "torch").put_floor(_loud("torch", ENGINE, 0.02))
    NoiseStore(tmp_path, "p", "lmdeploy").put_floor(_loud("lmdeploy", before, 0.02 * own))
    _, found, told = SideFloors(tmp_path, [profile]).of_pair(baseline, side)
    assert found is not None
    if own < 1:
        assert (found.engine, told) == ("lmdeploy", "")
    else:
        assert found.engine == ("torch" if other == "baseline" else "third")
        assert "p/lmdeploy by itself is 2 times as noisy as p/" in told


def test_a_floor_of_another_version_is_told_as_stale(tmp_path: Path, side: GateSide) -> None:
    assert SideFloors(tmp_path, [PROFILE]).stale(side) == ""
    own = {name: value for name, value in side.fingerprint.items() if name != "loaded"}
    NoiseStore(tmp_path, "p", "lmdeploy").put_floor(_floor("lmdeploy", {**own, "installed": {"torch": "1"}}))
    told = SideFloors(tmp_path, [PROFILE]).stale(side)
    assert "the noise floor of p/lmdeploy of 2026-11-25 is stale: installed.torch: '1' became '2'" in told
    assert told.endswith("harness noise p --engine lmdeploy")
    NoiseStore(tmp_path, "p", "lmdeploy").put_floor(_floor("lmdeploy", own))
    assert SideFloors(tmp_path, [PROFILE]).stale(side) == ""


@pytest.mark.parametrize(
    ("before", "now", "told"),
    [
        (
            {},
            {"OMP_NUM_THREADS": "1"},
            "stale by the thread setting alone: OMP_NUM_THREADS: (absent) became '1'",
        ),
        (
            {},
            {"OMP_NUM_THREADS": "1", "TORCH_X": "1"},
            "stale: installed.environment.OMP_NUM_THREADS: (absent) became '1' and 1 more",
        ),
    ],
)
def test_a_floor_that_is_stale_by_threads_alone_says_so(
    tmp_path: Path, side: GateSide, before: dict[str, Any], now: dict[str, Any], told: str
) -> None:
    own = {name: value for name, value in side.fingerprint.items() if name != "loaded"}
    then = {**own, "installed": {"environment": before}}
    NoiseStore(tmp_path, "p", "lmdeploy").put_floor(_floor("lmdeploy", then))
    today = replace(side, fingerprint={**own, "installed": {"environment": now}})
    assert f"of 2026-11-25 is {told}; measure" in SideFloors(tmp_path, [PROFILE]).stale(today)


def test_a_side_that_is_not_deterministic_says_so_and_has_the_noise_of_another(
    tmp_path: Path, side: GateSide
) -> None:
    own = {name: value for name, value in side.fingerprint.items() if name != "loaded"}
    repeats = Repeats(cases=3, differ=3, beyond=1, difference=0.7, allowed=0.1, case="s.c")
    NoiseStore(tmp_path, "p", "lmdeploy").put_floor(replace(_floor("lmdeploy", own), repeats=repeats))
    floors = SideFloors(tmp_path, [PROFILE])
    assert floors.of(side) is None
    assert floors.stale(side).startswith(
        "p/lmdeploy: not deterministic: the same question twice differs by 0.7 (s.c; allowed: 0.1"
    )
    NoiseStore(tmp_path, "p", "torch").put_floor(_floor("torch", ENGINE))
    found = floors.of(side)
    assert found is not None
    assert found.engine == "torch"
    spec = EngineSpec(name="lmdeploy", settings=SETTINGS, location=PROFILE.location, nondeterminism="allow")
    allowing = SideFloors(tmp_path, [replace(PROFILE, engines=(spec,))])
    assert allowing.stale(side) == ""
    allowed = allowing.of(side)
    assert allowed is not None
    assert allowed.engine == "lmdeploy"
