"""A spread that is planned for is the one that the test will see."""

from __future__ import annotations

import numpy as np

from benchmarks.calibration.effects import spread
from benchmarks.calibration.rates import random_of
from benchmarks.calibration.sample import sample_of
from benchmarks.calibration.worlds import World, worlds
from harness.verdicts.group_tests import group_tests, spread_at
from harness.verdicts.moves import moves_of

WORLD: World = next(world for world in worlds() if world.name == "normal, 1 run, float32")
CASES = 40


def test_the_planned_ratio_and_what_is_open_are_those_of_moves_that_wide() -> None:
    index = np.arange(CASES, dtype=np.int64)
    planned, seen = [], []
    for number in range(40):
        drawn = WORLD.drawn(random_of(1, WORLD.name, number), CASES)
        clean = sample_of(drawn)
        (usual, usual_open), (wide, wide_open) = (
            spread_at(moves_of(clean.looks, clean.noise), index, times) for times in (1.0, 2.0)
        )
        planted = sample_of(spread(drawn, 2.0))
        numbers = group_tests(moves_of(planted.looks, planted.noise), index)
        assert usual_open is not None
        assert wide_open is not None
        assert numbers.spread is not None
        assert numbers.spread_open is not None
        planned.append((np.log(wide / usual), wide_open.variance, usual_open.variance))
        seen.append((np.log(numbers.spread.value), numbers.spread_open.variance))
    (ratio, variance, usual_variance), (true_ratio, true_variance) = np.mean(planned, 0), np.mean(seen, 0)
    # The wide moves stand in the σ that they and the floor's runs are divided by.
    assert ratio < np.log(2.0)
    assert variance > usual_variance
    assert abs(ratio - true_ratio) < 0.05
    assert abs(variance / true_variance - 1) < 0.1 < abs(usual_variance / true_variance - 1)


def test_too_few_cases_tell_nothing() -> None:
    sample = sample_of(WORLD.drawn(random_of(1, "few", 0), 2))
    assert spread_at(moves_of(sample.looks, sample.noise), np.arange(2), 2.0)[1] is None
