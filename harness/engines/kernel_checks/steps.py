"""How far numbers are from what they should be, in steps of their dtype. Needs numpy only.

A step is the distance between two neighbouring numbers of the dtype, at the largest magnitude that the
reference has in the same row, its last axis: one token of one head, say. So what is small beside its
neighbours, as sums with cancellation are, is not held to digits that its terms never had.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Numbers", "Outcome", "steps_apart", "steps_off"]

Numbers = NDArray[Any]


class Outcome(NamedTuple):
    """What a kernel left in one of its outputs, and what float64 says should be there, of the same shape.

    Of codes of quantised values ``expected`` is not rounded, and ``worth`` is what one code is worth.
    """

    found: Numbers
    expected: Numbers
    worth: Numbers | None = None


def steps_off(outcome: Outcome, dtype: str) -> float:
    """The largest difference from the reference; infinite where a number is not finite.

    In steps of the output's own dtype. A code counts from half a code on, by its worth in steps of ``dtype``.
    """
    apart = np.abs(outcome.found.astype(np.float64) - outcome.expected)
    if outcome.worth is None:
        return _largest(apart, outcome.expected, outcome.found.dtype.name)
    return _largest(np.maximum(apart - 0.5, 0.0) * outcome.worth, outcome.expected * outcome.worth, dtype)


def steps_apart(old: Numbers, new: Numbers) -> float:
    """The largest difference of one output between two versions; 0 only where all numbers are the same.

    Of codes in codes. Infinite where the shapes differ, or one is not finite and the other is not the same.
    """
    if old.shape != new.shape:
        return math.inf
    first, second = old.astype(np.float64), new.astype(np.float64)
    same = (first == second) | (np.isnan(first) & np.isnan(second))
    with np.errstate(invalid="ignore"):
        apart = np.where(same, 0.0, np.abs(first - second))
    if old.dtype.kind != "f":
        return float(apart.max(initial=0.0))
    return _largest(apart, np.nan_to_num(first, nan=0.0, posinf=0.0, neginf=0.0), old.dtype.name)


def _largest(apart: Numbers, expected: Numbers, dtype: str) -> float:
    if not np.isfinite(apart).all():
        return math.inf
    magnitude = np.abs(expected).max(axis=-1, keepdims=True, initial=0.0)
    return float((apart / np.spacing(magnitude.astype(dtype)).astype(np.float64)).max(initial=0.0))
