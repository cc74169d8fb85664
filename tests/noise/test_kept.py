"""Noise floors kept for review: for the same model, versions and device only."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.cases.profiles import Profile
from harness.cases.suites import Location
from harness.errors import RecordingError
from harness.noise import kept
from harness.noise.choosing import fitting_floor
from harness.noise.kept import keep_floor, kept_floor
from harness.noise.limits import NoiseLimits
from harness.noise.store import NoiseStore, load_floor
from harness.recordings.fingerprint import digest
from harness.verdicts.noise_floor import NoiseFloor
from harness.verdicts.noise_model import Noise
from tests.verdicts.changes import floor_of

FINGERPRINT: dict[str, Any] = {
    "settings": {"kind": "torch", "dtype": "bfloat16"},
    "model": {"hash": "m", "files": {"config.json": "c"}},
    "installed": {"packages": {"torch": "2.1"}, "processor": "EPYC", "gpus": [], "cores": 2},
    "harness": "h",
}
PROFILE = Profile(name="p", reference="a", engines=(), suites=(), location=Location(Path("p.yaml"), 1, 1))


@pytest.fixture
def floor() -> NoiseFloor:
    base = floor_of(np.zeros((2, 2)), [np.ones((2, 2)), np.array([[0.5, math.nan], [0.0, 1e-9]])])
    return replace(
        base,
        profile="p",
        engine="a",
        device="cuda (NVIDIA H100), bfloat16",
        fingerprint=FINGERPRINT,
        full={"s.c0": {"kl": 1e-4, "js": math.inf}},
    )


@pytest.fixture
def file(tmp_path: Path, floor: NoiseFloor) -> Path:
    return keep_floor(tmp_path, floor, "Ann")


def other(path: str, value: object) -> dict[str, Any]:
    """The fingerprint with another value at a dotted path."""
    first, _, rest = path.partition(".")
    own: Mapping[str, Any] = FINGERPRINT.get(first, {})
    if not rest:
        return {**FINGERPRINT, first: value}
    name, _, last = rest.partition(".")
    return {**FINGERPRINT, first: {**own, name: {**own[name], last: value} if last else value}}


def test_it_comes_back_as_it_was_and_says_whose_it_is(tmp_path: Path, file: Path, floor: NoiseFloor) -> None:
    assert file == tmp_path / "p" / "a" / "cuda-NVIDIA-H100-bfloat16.floor.json"
    found = kept_floor(tmp_path, "p", "a", {**FINGERPRINT, "loaded": {"dtype": "bfloat16"}})
    assert found is not None
    assert found.kept.startswith("kept by Ann on 20")
    assert found.kept.endswith(f", {file}")
    held, meant = found.cases["s.c0"].runs["run-1"], floor.cases["s.c0"].runs["run-1"]
    np.testing.assert_equal(held, meant)  # NaN among them
    assert replace(found, kept="", cases={}) == replace(floor, cases={})
    assert found.cases["s.c1"] == floor.cases["s.c1"]
    assert kept_floor(tmp_path, "p", "b", FINGERPRINT) is None
    noise = Noise(found, found, dtypes=("bfloat16", "bfloat16"), table=1.0)
    assert found.kept in noise.words


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("installed.packages.torch", "2.2"),
        ("installed.processor", "Xeon"),
        ("installed.gpus", ["H100"]),
        ("model.hash", "n"),
        ("settings.dtype", "float16"),
        ("environment", {"lock": "other"}),
    ],
)
@pytest.mark.usefixtures("file")
def test_another_version_model_or_device_has_it_not(tmp_path: Path, path: str, value: object) -> None:
    assert kept_floor(tmp_path, "p", "a", FINGERPRINT) is not None
    assert kept_floor(tmp_path, "p", "a", other(path, value)) is None


@pytest.mark.parametrize(("path", "value"), [("harness", "other"), ("installed.cores", 64)])
@pytest.mark.usefixtures("file")
def test_what_moves_no_answer_may_differ(tmp_path: Path, path: str, value: object) -> None:
    assert kept_floor(tmp_path, "p", "a", other(path, value)) is not None


def test_one_that_was_measured_here_comes_first(tmp_path: Path, file: Path, floor: NoiseFloor) -> None:
    def found(snapshots: Path | None) -> NoiseFloor | None:
        return fitting_floor(
            tmp_path / "kept",
            PROFILE,
            "a",
            fingerprint=FINGERPRINT,
            dtype="bfloat16",
            snapshots=snapshots,
        )

    assert found(None) is None
    kept = found(tmp_path)
    assert kept is not None
    assert kept.kept
    NoiseStore(tmp_path / "kept", "p", "a").put_floor(floor)
    own = found(tmp_path)
    assert own is not None
    assert own.kept == ""


@pytest.mark.parametrize(
    ("now", "stale", "whose"),
    [
        (FINGERPRINT, False, "kept"),
        (FINGERPRINT, True, "kept"),
        (other("installed.processor", "x"), True, "own"),
    ],
)
@pytest.mark.usefixtures("file")
def test_limits_take_it_where_no_measured_one_holds(
    tmp_path: Path, floor: NoiseFloor, now: dict[str, Any], stale: bool, whose: str
) -> None:
    if stale:
        old = replace(floor, fingerprint=other("installed.packages.torch", "1.0"))
        NoiseStore(tmp_path / "kept", "p", "a").put_floor(old)

    class Scoring:
        class store:  # noqa: N801
            root = tmp_path / "kept"

        def fingerprint(self, _: object) -> dict[str, Any]:
            return now

    class Subject:
        engine_label = "p-a"
        profile = PROFILE

        class engine:  # noqa: N801
            name = "a"

    scoring: Any = Scoring()
    subject: Any = Subject()
    state = NoiseLimits(scoring, snapshots=tmp_path).state(subject)
    assert state.floor is not None
    if whose == "kept":
        assert state.fresh is state.floor
        assert state.floor.kept
    else:
        assert state.fresh is None
        assert state.floor.kept == ""
        assert load_floor(tmp_path / "kept", "p", "a") is not None


@pytest.mark.parametrize(
    ("old", "new"), [('"author": "Ann"', '"author": "Eve"'), ('"version": 1', '"version": 2'), ("{", "<<<<")]
)
def test_one_that_was_edited_is_refused(tmp_path: Path, file: Path, old: str, new: str) -> None:
    file.write_text(file.read_text().replace(old, new, 1))
    with pytest.raises(RecordingError, match=r"floor.json: found no noise floor(.|\n)*Restore the file"):
        kept_floor(tmp_path, "p", "a", FINGERPRINT)


@pytest.mark.parametrize(
    "change",
    [
        {"reference": []},
        {"runs": {"r": [0.1]}},
        {"coordinates": ["rest", "A", "B"]},
        {"reference": ["x", "y"]},
    ],
)
def test_one_of_another_form_is_refused_with_its_file(tmp_path: Path, file: Path, change: Any) -> None:
    data = json.loads(file.read_text())
    data["cases"] = {name: {**case, **change} for name, case in data["cases"].items()}
    del data["sum"]
    file.write_text(json.dumps({**data, "sum": digest(data)[:12]}))
    with pytest.raises(RecordingError, match=r"floor.json: found no noise floor(.|\n)*Restore the file"):
        kept_floor(tmp_path, "p", "a", FINGERPRINT)


def test_no_more_is_unpacked_than_is_allowed(
    tmp_path: Path, floor: NoiseFloor, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_floor(tmp_path, floor, "Ann", span="three kernels")
    monkeypatch.setattr(kept, "_LARGEST", 100)
    with pytest.raises(RecordingError, match=r"any-cpu\.floor\.json\.gz: found no noise floor"):
        kept_floor(tmp_path, "p", "a", FINGERPRINT)


def test_half_a_surrogate_pair_is_kept(tmp_path: Path, floor: NoiseFloor) -> None:
    keep_floor(tmp_path, replace(floor, dtype="\ud800"), "Ann")
    found = kept_floor(tmp_path, "p", "a", FINGERPRINT)
    assert found is not None
    assert found.dtype == "\ud800"


def test_somebody_keeps_it(tmp_path: Path, floor: NoiseFloor) -> None:
    with pytest.raises(RecordingError, match="--author: found nothing"):
        keep_floor(tmp_path, floor, " ")


def test_one_for_any_cpu_holds_for_the_same_versions_of_the_libraries_alone(
    tmp_path: Path, floor: NoiseFloor
) -> None:
    file = keep_floor(tmp_path, floor, "Ann", span="three kernels")
    assert file.name == "any-cpu.floor.json.gz"
    elsewhere: dict[str, Any] = {
        **FINGERPRINT,
        "installed": {
            "packages": {"torch": "2.1", "numpy": "3", "lmdeploy": "9"},
            "processor": "Xeon",
            "cores": 8,
            "sources": {"torch": "of another Python"},
            "environment": {"OMP_NUM_THREADS": "1", "ATEN_CPU_CAPABILITY": "default"},
        },
    }
    found = kept_floor(tmp_path, "p", "a", elsewhere)
    assert found is not None
    assert found.kept.endswith(", for any CPU (three kernels)")
    for path, value in (
        ("installed.packages.torch", "2.2"),
        ("installed.packages.transformers", "5"),
        ("model.hash", "n"),
        ("settings.dtype", "float16"),
        ("patch", {"p.py": "h"}),
    ):
        assert kept_floor(tmp_path, "p", "a", other(path, value)) is None, path
