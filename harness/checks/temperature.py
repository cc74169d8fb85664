"""Recognise values that are off by one factor throughout: a temperature was applied to one side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

__all__ = ["Scaling", "find_scaling"]

# Three points are the least that two parameters can fail to fit.
LEAST_POINTS = 3
# Smaller factors are not told from rounding in bfloat16, and nobody sets such a temperature.
LEAST_FACTOR = 0.02


class Scaling(NamedTuple):
    """``observed = factor * reference + constant`` for every token, within ``residual``.

    The constant is the change of the normaliser and carries no meaning of its own.
    """

    factor: float
    residual: float

    def describe(self, observed: str, reference: str) -> str:
        """In words; the arguments name the sides. Values alone cannot tell which of them was scaled.

        The side whose tokens are further apart comes first: temperatures below 1 are the usual ones.
        """
        factor, sharp, flat = self.factor, observed, reference
        if factor < 1:
            factor, sharp, flat = 1 / factor, reference, observed
        return (
            f"tokens are {factor:.3f} times as far apart in {sharp} as in {flat}: {sharp} was divided by a "
            f"temperature of {1 / factor:.3f}, or {flat} by one of {factor:.3f}, before it was read"
        )


def find_scaling(
    reference: Mapping[int, float], observed: Mapping[int, float], *, tolerance: float
) -> Scaling | None:
    """The one factor between two sets of logits or log-probabilities (by token id), None if there is none.

    A least-squares line through the tokens that both have. It counts if at least three differ in value, the
    factor is not 1, and every point is within ``tolerance``, or 0.1% of the spread, of the line.
    """
    ids = [i for i in reference if i in observed and np.isfinite(reference[i]) and np.isfinite(observed[i])]
    if len({reference[i] for i in ids}) < LEAST_POINTS:
        return None
    x = np.array([reference[i] for i in ids])
    y = np.array([observed[i] for i in ids])
    factor, constant = np.polyfit(x - x.mean(), y, 1)
    residual = float(np.abs(factor * (x - x.mean()) + constant - y).max())
    if abs(factor - 1.0) < LEAST_FACTOR or factor <= 0 or residual > max(tolerance, 1e-3 * float(np.ptp(y))):
        return None
    return Scaling(float(factor), residual)
