"""Whether the same question twice gives the same: the dtype's own step, and what is said of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.cases.profiles import EngineSpec, Profile
from harness.cases.suites import Location
from harness.engines.contract import EngineSettings
from harness.noise.repeats import allowed_between, not_deterministic, repeats_words
from harness.verdicts.noise_floor import NoiseFloor, Repeats
from harness.verdicts.noise_model import dtype_step
from tests.verdicts.changes import floor_of

NOISY = Repeats(cases=88, differ=88, beyond=60, difference=0.0023, allowed=1.7e-5, case="s.c0")
SETTINGS = EngineSettings(
    kind="torch", model="m", dtype="float32", device="cpu", paths=(), top_k=0, batch_size=1
)


def floor(repeats: Repeats | None) -> NoiseFloor:
    return replace(floor_of(np.zeros((1, 2)), []), repeats=repeats)


def profile(**engine: str) -> Profile:
    place = Location(Path("p.yaml"), 1, 1)
    own = EngineSpec(name="a", settings=SETTINGS, location=place, **engine)  # type: ignore[arg-type]
    return Profile(name="p", reference="a", engines=(own,), suites=(), location=place)


@pytest.mark.parametrize(("dtype", "own"), [("float32", np.float32), ("float16", np.float16)])
@pytest.mark.parametrize("size", [1.0, 7.9, 8.0, 21.5])
def test_the_step_is_that_to_the_next_number(dtype: str, own: type[np.floating], size: float) -> None:
    assert dtype_step(dtype, size) == np.spacing(own(size))


def test_bfloat16_has_eight_digits_and_counts_among_several() -> None:
    assert dtype_step("bfloat16", 20.0) == dtype_step("float32+bfloat16", 20.0) == 0.125


def test_a_letter_rounded_up_while_all_others_are_rounded_down_is_allowed_and_two_steps_are_not() -> None:
    logits = np.array([8.0, 9.5, 10.0, 12.0])
    moves = np.array([1, -1, -1, -1]) * dtype_step("bfloat16", 12.0)
    allowed = allowed_between("bfloat16", float(logits.max()), letters=4)
    assert np.abs(moves - moves.mean()).max() <= allowed
    assert np.abs(2 * moves - 2 * moves.mean()).max() > allowed


def test_sums_of_a_wide_model_in_another_order_are_allowed() -> None:
    random = np.random.default_rng(0)
    terms = (random.normal(size=(500, 16, 1024)) * 10 / 128).astype(np.float32)  # a logit of about 10
    there, back = (terms[..., ::way].cumsum(-1)[..., -1].sum(-1).astype(np.float64) for way in (1, -1))
    apart = there - back
    assert np.sqrt(np.mean(apart**2)) == pytest.approx(9 * dtype_step("float32", 10.0), rel=0.1)
    assert 0 < np.abs(apart).max() < allowed_between("float32", 10.0, letters=2)


def test_noise_is_told_with_its_size() -> None:
    few = replace(NOISY, differ=14, beyond=0, difference=3.6e-6)
    told = "the same question twice, in 88 cases: 14 differ, by up to 3.6e-06 (s.c0; the dtype's own step"
    assert repeats_words(few).startswith(told)
    assert (
        repeats_words(replace(few, differ=0))
        == "the same question twice, in 88 cases: equal to the last digit"
    )
    assert not_deterministic(floor(few), profile()) == ""


def test_what_is_larger_is_a_finding_unless_it_is_allowed() -> None:
    told = not_deterministic(floor(NOISY), profile())
    assert told.startswith(
        "not deterministic: the same question twice differs by 0.0023 (s.c0; allowed: 1.7e-05,"
    )
    assert "in 60 of 88 cases" in told
    assert not_deterministic(floor(NOISY), profile(nondeterminism="allow")) == ""
    assert not_deterministic(floor(None), profile()) == ""
