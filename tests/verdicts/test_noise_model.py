"""From noise floors to the noise between two sides."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from harness.verdicts.noise_floor import CaseNoise, NoiseFloor
from harness.verdicts.noise_model import Noise, Place
from tests.verdicts.changes import TABLE, Floats, floor_of, noise_of

SIGMA = 0.05


def _floor(
    seed: int, *, cases: int = 60, runs: int = 9, scale: float = 1.0, tail: float = math.inf
) -> NoiseFloor:
    rng = np.random.default_rng(seed)
    truth = rng.normal(0, 3, (cases, 4))

    def moved() -> Floats:
        raw = rng.normal(0, 1, truth.shape) if tail == math.inf else rng.standard_t(tail, truth.shape)
        moved: Floats = truth + SIGMA * scale * raw
        return moved

    return floor_of(truth, [moved() for _ in range(runs)])


def test_sigma_is_that_of_the_noise_of_both_sides() -> None:
    floor = _floor(1)
    sigmas = [noise_of(floor).of(case, "asked").sigma for case in floor.cases]
    assert np.mean(sigmas) == pytest.approx(SIGMA * math.sqrt(2), rel=0.05)
    quiet = Noise(floor, _floor(1, scale=1e-4), dtypes=("bfloat16", "bfloat16"), table=TABLE)
    assert np.mean([quiet.of(case, "asked").sigma for case in floor.cases]) == pytest.approx(SIGMA, rel=0.05)


def test_few_runs_give_no_tiny_sigma() -> None:
    floor = _floor(2)
    case = floor.cases["s.c0"]
    still = replace(case, runs=dict.fromkeys(case.runs, case.reference))
    floor = replace(floor, cases={**floor.cases, "s.c0": still})
    assert noise_of(floor).of("s.c0", "asked").sigma > 0.3 * SIGMA * math.sqrt(2)


def test_runs_that_disturb_nothing_do_not_make_noise_look_small() -> None:
    floor = _floor(3, runs=4)
    padded = {
        name: replace(case, runs={**case.runs, "repeat": case.reference, "same as run-0": case.runs["run-0"]})
        for name, case in floor.cases.items()
    }
    pair = noise_of(replace(floor, cases=padded))
    assert pair.of("s.c0", "asked") == noise_of(floor).of("s.c0", "asked")
    assert "4 telling runs of 6" in pair.words


def test_quiet_runs_say_nothing_of_how_loud_noise_is() -> None:
    rng = np.random.default_rng(12)
    truth = rng.normal(0, 3, (60, 4))
    loud = [truth + SIGMA * rng.normal(0, 1, truth.shape) for _ in range(3)]
    quiet = [truth + 0.3 * SIGMA * rng.normal(0, 1, truth.shape) for _ in range(6)]
    alone, padded = noise_of(floor_of(truth, loud)), noise_of(floor_of(truth, [*quiet, *loud]))
    assert padded.of("s.c0", "asked") == alone.of("s.c0", "asked")
    assert "3 telling runs of 9" in padded.words


def test_runs_that_share_their_rounding_count_once() -> None:
    rng = np.random.default_rng(13)
    truth = rng.normal(0, 3, (60, 4))
    kernels = [truth + SIGMA * rng.normal(0, 1, truth.shape) for _ in range(2)]
    alike = [kernels[0] + 0.1 * SIGMA * rng.normal(0, 1, truth.shape) for _ in range(6)]
    assert "2 telling runs of 8" in noise_of(floor_of(truth, [*kernels, *alike])).words


def test_a_case_that_was_edited_falls_back_to_the_table() -> None:
    pair = noise_of(_floor(4))
    found = pair.of("s.c0", "another question")
    assert not found.measured
    assert found.sigma == pytest.approx(TABLE / 4)
    assert 2 * found.seen == pytest.approx(TABLE)
    assert pair.of("s.unknown", "asked") == found


def test_without_floors_the_table_applies_and_says_so() -> None:
    pair = Noise(None, None, dtypes=("float32", "float32"), table=TABLE)
    assert pair.words == "the table's 1 on log-odds, no noise floor being there"
    assert not pair.measured
    assert pair.shape({"s.c0": Place("s.c0", 0)}).runs == math.inf


def test_a_side_without_a_floor_is_as_noisy_as_the_other_in_the_same_dtype_only() -> None:
    floor = _floor(5)
    lent = Noise(floor, None, dtypes=("bfloat16", "bfloat16"), table=TABLE)
    assert lent.of("s.c0", "asked") == noise_of(floor).of("s.c0", "asked")
    assert lent.words == "the noise floor of p/a, bfloat16, 2026-11-25, 9 telling runs of 9"
    other = Noise(floor, None, dtypes=("bfloat16", "float16"), table=TABLE)
    assert not other.of("s.c0", "asked").measured
    assert other.words.startswith("baseline: the noise floor of p/a, ")
    assert "; candidate: the table's" in other.words


def test_exact_repeats_leave_room_for_the_last_bit() -> None:
    floor = _floor(6, runs=2, scale=0.0)
    found = noise_of(floor).of("s.c0", "asked")
    assert found.sigma >= 2.0**-23
    assert math.isfinite(found.sigma)


def test_heavy_tails_are_seen() -> None:
    light, heavy = _floor(7, cases=200), _floor(7, cases=200, tail=3)
    freedoms = [noise_of(floor).of("s.c0", "asked").freedom for floor in (light, heavy)]
    assert freedoms[0] > 30
    assert freedoms[1] < 12


def test_the_shape_of_normal_noise() -> None:
    floor = _floor(8, cases=400)
    shape = noise_of(floor).shape({case: Place(case, 0) for case in floor.cases})
    assert shape.root == pytest.approx(0.92, abs=0.05)  # of three degrees of freedom: √(8 / 3π)
    assert shape.root_variance == pytest.approx(3 * math.pi / 8 - 1, rel=0.2)
    assert shape.root_between < 0.01
    assert shape.shift_variance == pytest.approx(0.75, rel=0.2)  # centring takes a quarter of it
    assert shape.runs == 9


def test_runs_that_differ_as_a_whole_are_seen() -> None:
    rng = np.random.default_rng(9)
    truth = rng.normal(0, 3, (100, 4))
    runs = [truth + SIGMA * scale * rng.normal(0, 1, truth.shape) for scale in (0.5, 0.7, 1.0, 1.5, 2.5)]
    floor = floor_of(truth, runs)
    assert noise_of(floor).shape({case: Place(case, 0) for case in floor.cases}).root_between > 0.05


def test_cases_of_one_cluster_count_once() -> None:
    floor = _floor(10, cases=400)
    alone = noise_of(floor).shape({case: Place(case, 0) for case in floor.cases})
    pairs = noise_of(floor).shape({c: Place(f"image {i // 2}", 0) for i, c in enumerate(floor.cases)})
    assert pairs.root_variance == pytest.approx(alone.root_variance / 2, rel=0.25)


def test_unseen_letters_are_left_out() -> None:
    case = CaseNoise(asked="asked", reference=(1.0, -1.0, math.nan), runs={"batch-1": (1.1, -1.1, math.nan)})
    floor = replace(_floor(11, cases=2), cases={"s.c0": case})
    assert noise_of(floor).of("s.c0", "asked").seen == pytest.approx(0.1 * math.sqrt(2))
