"""Steps: what one is, what codes count, and what is not finite."""

from __future__ import annotations

import math

import numpy as np
import pytest

from harness.engines.kernel_checks.steps import Outcome, steps_apart, steps_off

ROWS = np.array([[1.0, 0.001, -3.0], [100.0, 50.0, 0.0]])


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("place", [(0, 1), (1, 2)])
def test_a_step_is_one_of_the_rows_largest_number(dtype: str, place: tuple[int, int]) -> None:
    exact = ROWS.astype(dtype)
    found = exact.copy()
    found[place] += 2 * np.spacing(np.abs(exact[place[0]]).max())
    off = steps_off(Outcome(found, exact.astype(np.float64)), dtype)
    assert off == pytest.approx(2, rel=0.01)
    assert steps_apart(exact, found) == pytest.approx(2, rel=0.01)


def test_what_is_exact_is_no_step_off() -> None:
    exact = ROWS.astype("float32")
    assert steps_off(Outcome(exact, exact.astype(np.float64)), "float32") == 0
    assert steps_apart(exact, exact.copy()) == 0


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_not_finite_is_infinitely_far(bad: float) -> None:
    broken = ROWS.astype("float32")
    broken[0, 0] = bad
    assert steps_off(Outcome(broken, ROWS), "float32") == math.inf
    assert steps_apart(ROWS.astype("float32"), broken) == math.inf
    assert steps_apart(broken, broken.copy()) == 0
    assert steps_apart(broken, broken[:1]) == math.inf


def test_a_code_counts_from_half_a_code_on_by_its_worth() -> None:
    unrounded, worth = np.array([[0.0, 126.5, 255.0]]), np.array([[1 / 128]])  # up to 1.99 in value
    right = np.array([[0, 127, 255]], dtype=np.uint8)
    assert steps_off(Outcome(right, unrounded, worth), "float16") == 0
    wrong = right + np.array([[0, 1, 0]], dtype=np.uint8)
    assert steps_off(Outcome(wrong, unrounded, worth), "float16") == (1 / 128) / 2**-10
    assert steps_apart(right, wrong) == 1
