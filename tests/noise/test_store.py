"""The store of runs and floors."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from harness.engines.contract import Json
from harness.errors import RecordingError
from harness.noise.store import NoiseStore, Sample, changed, load_floor
from harness.recordings.journal import Journal
from harness.verdicts.noise_floor import NoiseFloor, Repeats
from tests.verdicts.changes import floor_of


def floor(version: str = "2.1", made: str = "2026-11-25") -> NoiseFloor:
    rest = (np.array([-4.0, -5.0]), [np.array([-4.1, -5.0]), np.array([-4.0, -5.2])])
    base = floor_of(np.zeros((2, 2)), [np.ones((2, 2)), np.eye(2)], rest=rest)
    return NoiseFloor(
        profile="p",
        engine="a",
        dtype="bfloat16",
        device="a test",
        made=made,
        fingerprint={"settings": {"kind": "torch"}, "installed": {"packages": {"torch": version}}},
        cases=base.cases,
        full={"s.c0": {"kl": 1e-4, "js": math.inf}},
        repeats=Repeats(cases=2, differ=1, beyond=0, difference=1e-6, allowed=2e-5, case="s.c1"),
    )


def test_a_floor_comes_back_as_it_was(tmp_path: Path) -> None:
    assert load_floor(tmp_path, "p", "a") is None
    NoiseStore(tmp_path, "p", "a").put_floor(floor())
    assert load_floor(tmp_path, "p", "a") == floor()
    assert load_floor(tmp_path, "p", "b") is None


def test_the_newest_counts_and_an_older_one_is_found_by_its_fingerprint(tmp_path: Path) -> None:
    store = NoiseStore(tmp_path, "p", "a")
    old, new = floor("2.1", "2026-10-01"), floor("2.2")
    store.put_floor(old)
    store.put_floor(new)
    assert load_floor(tmp_path, "p", "a") == new
    loaded: dict[str, Json] = {**old.fingerprint, "loaded": {"dtype": "bfloat16"}}
    assert load_floor(tmp_path, "p", "a", fingerprint=loaded) == old
    assert load_floor(tmp_path, "p", "a", fingerprint={}) is None


def test_what_changed_is_named_and_what_is_known_once_loaded_does_not_count() -> None:
    own = floor()
    assert changed(own, {**own.fingerprint, "loaded": {"device": "x"}}) == ()
    (difference,) = changed(own, floor("2.2").fingerprint)
    assert str(difference) == "installed.packages.torch: '2.1' became '2.2'"


def test_samples_and_letters_that_were_not_seen(tmp_path: Path) -> None:
    store = NoiseStore(tmp_path, "p", "a")
    assert store.samples("m.0", "batch-1", "q") is None
    sample = Sample(path="chat", log_odds=(0.5, math.nan, -0.5), full={"kl": math.inf}, whole=False)
    store.put_samples("m.0", "batch-1", "q", [sample])
    store.put_samples("m.0", "batch-1", "mute", [])
    (found,) = NoiseStore(tmp_path, "p", "a").samples("m.0", "batch-1", "q") or ()
    assert repr(found) == repr(sample)
    assert store.samples("m.0", "batch-1", "mute") == ()
    assert store.samples("m.1", "batch-1", "q") is None


def test_failures_and_rounds(tmp_path: Path) -> None:
    store = NoiseStore(tmp_path, "p", "a")
    assert store.failure("m.0", "eager:") is None
    store.put_failure("m.0", "eager:", "it has none")
    assert store.failure("m.0", "eager:") == "it has none"
    assert store.round("m") == 0
    store.begin_again("m")
    assert store.round("m") == 1


def test_a_damaged_floor_says_what_to_type(tmp_path: Path) -> None:
    store = NoiseStore(tmp_path, "p", "a")
    store.put_floor(floor())
    (name,) = [key for key in _journal(tmp_path).keys() if key.startswith("floor:")]  # noqa: SIM118
    _journal(tmp_path).append(name, {"dtype": "bfloat16"})
    with pytest.raises(RecordingError, match="harness noise p --engine a --again"):
        load_floor(tmp_path, "p", "a")


def _journal(root: Path) -> Journal:
    return Journal(root / "noise" / "p-a.jsonl", format_name="vlm-harness noise", version=1)
