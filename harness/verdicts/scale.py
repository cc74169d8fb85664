"""How loud one floor's noise is, case by case, in one kind of coordinate: arrays over cases and runs.

For case c and run k let D be the run's distance from the reference, with d free coordinates (the letters
seen less one, since centring takes one; 1 of a scalar), and S = |D|²/d. Then

    s²  = mean of S over runs        the case's own variance, with K d degrees of freedom
    d0  the prior's weight, from how much log s² varies between cases beyond what χ² does (Smyth, 2004,
        doi:10.2202/1544-6115.1027), drawn towards `PRIOR_RUNS` runs where cases are few
    s0² = median of s² over that of F(K d, d0)               what is typical of the suite
    σ²  = (K d s² + d0 s0²) / (K d + d0), and never under ``least``

Where there is no reference but the undisturbed run, D is the distance of two runs: it is divided by √2, and
as all share one run, whose squares correlate by 1/4, K runs count as K / (1 + (K - 1)/4).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.verdicts.rules import MOST_PRIOR, PRIOR_CASES, PRIOR_RUNS, TAIL_KURTOSIS, TAIL_VALUES

__all__ = ["Floats", "Scale", "scale_of"]

Floats = npt.NDArray[np.float64]

_STEPS, _EXACT = 30, 1e-12  # of Newton's method
_LEAST_PRIOR = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """The noise of n cases in K runs. A run that a case lacks has 0 in ``free`` and in ``squares``.

    ``variance`` [n] is σ², ``lifted`` [n] what ``least`` added to it, ``known`` [n] the degrees of freedom
    with which it is known, ``typical`` and ``prior`` are s0² and d0. ``squares`` [K, n] are |D|², ``free``
    [K, n] their degrees of freedom, ``moves`` [K, n, C] the D, ``without`` [K, n] σ² made without the run
    itself. ``kurtosis`` is the excess kurtosis of all moves in units of that σ, drawn to `TAIL_KURTOSIS`
    where they are few. ``runs`` names the K runs.
    """

    runs: tuple[str, ...]
    moves: Floats
    squares: Floats
    free: Floats
    variance: Floats
    lifted: Floats
    known: Floats
    without: Floats
    typical: float
    prior: float
    kurtosis: float


def scale_of(
    runs: tuple[str, ...], moves: Floats, *, centred: bool, least: Floats, shared: npt.NDArray[np.bool_]
) -> Scale:
    """The scale of ``moves`` [K, n, C], NaN where a run did not see a coordinate.

    ``centred`` coordinates have one degree of freedom less than there are. ``least`` [n] is the least that
    σ² can be. ``shared`` [n] is whether the moves are distances from a run and not from a reference.
    """
    moves = moves / np.where(shared, math.sqrt(2), 1.0)[:, None]
    seen = ~np.isnan(moves)
    free = np.maximum(seen.sum(-1).astype(float) - centred, 0.0)
    squares = np.where(free > 0, (np.where(seen, moves, 0.0) ** 2).sum(-1), 0.0)
    count = len(runs)
    alike = np.where(shared, 1 / (1 + (count - 1) / 4), 1.0)
    every = free.sum(0)
    freedom = alike * every
    told = every > 0
    own = np.divide(squares.sum(0), every, out=np.zeros_like(every), where=told)
    each = float(np.median(free[free > 0])) if (free > 0).any() else 1.0
    prior = _prior(np.maximum(own, least)[told], freedom[told], each)
    typical = _typical(own[told], freedom[told], prior)
    plain = (freedom * own + prior * typical) / (freedom + prior)
    variance = np.maximum(plain, least)
    left = every[None] - free + prior
    without = np.maximum((squares.sum(0)[None] - squares + prior * typical) / left, least)
    return Scale(
        runs=runs,
        moves=moves,
        squares=squares,
        free=free,
        variance=variance,
        lifted=variance - plain,
        known=freedom + prior,
        without=without,
        typical=typical,
        prior=prior,
        kurtosis=_kurtosis(moves / np.sqrt(without)[..., None]),
    )


def _prior(squares: Floats, freedom: Floats, each: float) -> float:
    """d0, from the squares s² [n] of cases with so many degrees of ``freedom`` [n], ``each`` in one run."""
    from scipy import special

    usual = float(special.polygamma(1, PRIOR_RUNS * each / 2))
    count, beyond = len(squares), 0.0
    if count > 1:
        # What a χ² of these degrees of freedom has in the mean, and varies by.
        logs = np.log(squares) - special.digamma(freedom / 2) + np.log(freedom / 2)
        varied = float(logs.var(ddof=1))
        # A standard error more: what is in doubt counts as cases that are unlike.
        beyond = varied * (1 + math.sqrt(2 / count)) - float(special.polygamma(1, freedom / 2).mean())
    towards = (count * max(0.0, beyond) + PRIOR_CASES * usual) / (count + PRIOR_CASES)
    return float(np.clip(2 * _trigamma_inverse(towards), _LEAST_PRIOR, MOST_PRIOR))


def _trigamma_inverse(value: float) -> float:
    from scipy import special

    found = 0.5 + 1 / value
    for _ in range(_STEPS):
        at = float(special.polygamma(1, found))
        step = at * (1 - at / value) / float(special.polygamma(2, found))
        found += step
        if abs(step) < _EXACT * found:
            break
    return found


def _typical(squares: Floats, freedom: Floats, prior: float) -> float:
    from scipy import special

    if not len(squares):
        return 0.0
    unlike, place = np.unique(freedom, return_inverse=True)
    middle = np.asarray(special.fdtri(unlike, prior, 0.5), dtype=float)[place]
    return float(np.median(squares / middle))


def _kurtosis(values: Floats) -> float:
    known = values[np.isfinite(values)]
    total = float((known**2).sum())
    excess = len(known) * float((known**4).sum()) / total**2 - 3 if total else 0.0
    return (len(known) * max(0.0, excess) + TAIL_VALUES * TAIL_KURTOSIS) / (len(known) + TAIL_VALUES)
