"""How probable noise makes another letter the top one, case by case, and how many flips that comes to.

Where a floor was measured from a reference in float32, that is what both sides stray from, and a side's top
letter is j with the probability E_x Π_{k≠j} Φ((r_j - r_k)/σ + x), x standard normal: over all letters, as a
near-tie of three has two ways to flip. Without one, the midpoint of both sides, weighted by their variances,
says all that they tell of the truth; given it, their difference is normal whatever the truth is. So no
observed gap, which is too wide for a winner, stands for a true one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from harness.verdicts.scale import Floats

__all__ = ["NEAR", "NEVER", "Ladder", "at_least", "flip_chances"]

NEVER = -1e30
"""The log-odds of what cannot be on top: not infinite, so that differences stay numbers."""

NEAR = 7.0
"""Standard deviations of a pair, beyond which only a tail flips."""

_NODES = 16  # of the quadrature over x
_DRAWS, _AT_ONCE = 256, 1024  # draws for each case, and cases at once
_FEW = 40  # beyond which the number of flips is taken for normal, with its skewness
_SEED = 20240501


def flip_chances(
    before: Floats, after: Floats, reference: Floats, variances: Floats, freedom: Floats
) -> Floats:
    """The probability [n] that the top of ``before`` is another than that of ``after`` [n, C] by noise.

    All are centred log-odds, with `NEVER` for what cannot be on top. ``reference`` [n, C] is that in float32,
    NaN in the first place where there is none. ``variances`` [2, n] are the sides', ``freedom`` [n] that of
    one side's tail. Never less than what the tail gives for the two letters on top.
    """
    chances = np.zeros(len(before))
    known = ~np.isnan(reference[:, 0]) if reference.size else np.zeros(len(before), dtype=bool)
    total = variances.sum(0)
    shares = variances / total
    middle = shares[1][:, None] * before + shares[0][:, None] * after
    middle = np.where(known[:, None], reference, middle)
    two = np.sort(middle, 1)[:, -2:]
    gap = (two[:, 1] - two[:, 0]) / np.sqrt(total)
    tail = np.where(known, _t_above(gap, freedom), 2 * _t_above(math.sqrt(2) * gap, freedom))
    for own, chance in ((known, _by_reference), (~known, _by_midpoint)):
        near = np.flatnonzero(own & (gap < NEAR))
        if near.size:
            chances[near] = chance(middle[near], variances[:, near])
    return np.clip(np.maximum(chances, tail), 0.0, 1.0)


def _by_reference(reference: Floats, variances: Floats) -> Floats:
    from scipy import special

    nodes, weights = _quadrature()
    places = np.arange(reference.shape[1])

    def tops(sigma: Floats) -> Floats:
        ahead = (reference[:, :, None] - reference[:, None, :]) / sigma[:, None, None]
        beaten = special.ndtr(ahead[..., None] + nodes)
        beaten[:, places, places] = 1.0
        found: Floats = (beaten.prod(2) * weights).sum(-1)
        return np.where(reference > NEVER, found, 0.0)

    a, b = tops(np.sqrt(variances[0])), tops(np.sqrt(variances[1]))
    alike: Floats = 1 - (a * b).sum(1) / (a.sum(1) * b.sum(1))
    return alike


@cache
def _quadrature() -> tuple[Floats, Floats]:
    nodes, weights = np.polynomial.hermite_e.hermegauss(_NODES)
    return nodes, weights / weights.sum()


@cache
def _draws(width: int) -> Floats:
    """Normal numbers [256, C]: always the same and evenly spread, as a verdict is a function of its input."""
    from scipy import special
    from scipy.stats import qmc

    drawn: Floats = special.ndtri(qmc.Sobol(width, seed=_SEED).random(_DRAWS))
    return drawn


def _by_midpoint(middle: Floats, variances: Floats) -> Floats:
    drawn = _draws(middle.shape[1])
    chances = []
    for start in range(0, len(middle), _AT_ONCE):
        own, variance = middle[start : start + _AT_ONCE], variances[:, start : start + _AT_ONCE]
        total = variance.sum(0)
        moved = drawn[None] * np.sqrt(total)[:, None, None]
        share = (variance[0] / total)[:, None, None]
        before = (own[:, None] + share * moved).argmax(-1)
        after = (own[:, None] - (1 - share) * moved).argmax(-1)
        chances.append((before != after).mean(1))
    return np.concatenate(chances)


@dataclass(frozen=True, slots=True, eq=False)
class Ladder:
    """Chances of clusters as they depend on how loud noise is, which is not known for certain.

    ``rungs`` [3, m] are the chances of m clusters at a loudness of exp(-2 s), 1 and exp(2 s), of which a
    parabola stands between; s² is the ``variance`` of the logarithm of the loudness, known with so many
    degrees of ``freedom``.
    """

    rungs: Floats
    variance: float
    freedom: float

    @classmethod
    def of(cls, chances: Callable[[float], Floats], variance: float, freedom: float) -> Ladder:
        """That of ``chances``, which gives them [m] for a loudness."""
        deviation = math.sqrt(variance)
        rungs = np.stack([chances(math.exp(place * deviation)) for place in (-2.0, 0.0, 2.0)])
        return cls(rungs, variance, freedom)

    @property
    def middle(self) -> Floats:
        """The chances [m] where noise is as loud as it seems."""
        middle: Floats = self.rungs[1]
        return middle

    def like(self, count: int) -> Ladder:
        """That of ``count`` clusters whose chances are spread as these are."""
        order = np.argsort(self.middle, kind="stable")
        places = ((np.arange(count) + 0.5) * len(order) / count).astype(int)
        return replace(self, rungs=self.rungs[:, order[places]])

    def at_least(self, count: int) -> float:
        """How probable so many of the clusters flip, or more."""
        from scipy import stats

        if count <= 0:
            return 1.0
        if count > self.rungs.shape[1]:
            return 0.0
        places = np.linspace(-4.5, 4.5, 13)
        weights = stats.t.pdf(places, self.freedom if math.isfinite(self.freedom) else 1e6)
        low, middle, high = self.rungs
        slope, bend = (high - low) / 2, (high + low - 2 * middle) / 2
        total = 0.0
        for place, weight in zip(places / 2, weights / weights.sum(), strict=True):
            chances = np.clip(middle + place * slope + place**2 * bend, 0.0, 1 - 1e-12)
            total += float(weight) * at_least(count, chances)
        return min(1.0, total)


def at_least(count: int, chances: Floats) -> float:
    """How probable so many of independent events happen, or more: Poisson-binomial.

    Of more than 40 by the refined normal approximation (Volkova, 1996, doi:10.1137/1140093).
    """
    from scipy import special, stats

    if count <= 0:
        return 1.0
    chances = chances[chances > 0]
    if len(chances) < count:
        return 0.0
    if len(chances) <= _FEW:
        return float(stats.poisson_binom.sf(count - 1, chances))
    spread = chances * (1 - chances)
    deviation = math.sqrt(float(spread.sum()) + 1e-12)
    skewness = float((spread * (1 - 2 * chances)).sum()) / deviation**3
    x = (count - 0.5 - float(chances.sum())) / deviation
    refined = (
        float(special.ndtr(-x)) + skewness * (x * x - 1) * math.exp(-x * x / 2) / math.sqrt(2 * math.pi) / 6
    )
    return float(np.clip(refined, 0.0, 1.0))


def _t_above(values: Floats, freedom: Floats) -> Floats:
    from scipy import special

    found: Floats = np.where(
        np.isfinite(freedom),
        special.stdtr(np.where(np.isfinite(freedom), freedom, 1.0), -values),
        special.ndtr(-values),
    )
    return found
