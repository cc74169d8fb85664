"""One factor between two sets of values is told from noise and from any other change."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.checks.temperature import find_scaling
from harness.distributions import log_softmax

ROW = np.random.default_rng(3).normal(0, 3, 40)


def by_id(values: np.ndarray) -> dict[int, float]:
    return dict(enumerate(values.tolist()))


@given(st.floats(0.1, 5.0).filter(lambda t: abs(1 / t - 1) > 0.03))
def test_any_temperature_is_recognised_by_its_factor(temperature: float) -> None:
    scaling = find_scaling(by_id(log_softmax(ROW)), by_id(log_softmax(ROW / temperature)), tolerance=2e-5)
    assert scaling is not None
    assert scaling.factor == pytest.approx(1 / temperature, rel=1e-6)


def test_words_name_both_possible_culprits() -> None:
    scaling = find_scaling(by_id(ROW), by_id(ROW / 0.8), tolerance=2e-5)
    assert scaling is not None
    text = scaling.describe("stage 2", "stage 1")
    assert "1.250 times as far apart in stage 2 as in stage 1" in text
    assert "stage 2 was divided by a temperature of 0.800, or stage 1 by one of 1.250" in text
    reverse = find_scaling(by_id(ROW / 0.8), by_id(ROW), tolerance=2e-5)
    assert reverse is not None
    assert reverse.describe("stage 1", "stage 2") == text


def test_noise_a_shift_and_other_changes_are_no_scaling() -> None:
    noise = np.random.default_rng(4).normal(0, 1e-3, ROW.size)
    for other in (ROW, ROW + noise, ROW + 3.0, ROW[::-1], -ROW):
        assert find_scaling(by_id(ROW), by_id(other), tolerance=2e-5) is None


def test_two_points_fit_any_line_and_so_prove_nothing() -> None:
    assert find_scaling({1: 0.0, 2: 1.0}, {1: 0.0, 2: 1.25}, tolerance=1e-5) is None
    assert find_scaling({1: 0.0, 2: 0.0, 3: 1.0}, {1: 0.0, 2: 0.0, 3: 2.0}, tolerance=1e-5) is None


def test_only_finite_common_tokens_count() -> None:
    reference = by_id(ROW) | {99: -np.inf, 98: 1.0}
    observed = by_id(ROW * 1.25) | {99: -np.inf, 97: 1.0}
    assert find_scaling(reference, observed, tolerance=1e-5) is not None
