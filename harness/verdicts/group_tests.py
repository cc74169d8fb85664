"""The tests on a group of cases: all of a comparison, a suite, a tag."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from harness.verdicts.evidence import (
    Open,
    accuracy_test,
    evidence,
    mean_test,
    spread_of,
    spread_test,
    untested,
)
from harness.verdicts.flips import Ladder
from harness.verdicts.moves import Index, Moves
from harness.verdicts.noise_model import KindNoise
from harness.verdicts.rules import TABLE_LOUDNESS, TABLE_SHIFT, TAU_LOUDNESS, TAU_RUNS, TAU_SHIFT
from harness.verdicts.scale import Floats
from harness.verdicts.verdict import Estimate, Evidence

__all__ = ["FEWEST", "GroupTests", "group_tests", "open_mean", "open_spread", "spread_at"]

_SEED = 20240501
FEWEST = 3  # clusters: a mean of one or two says nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupTests:
    """The ``tests`` before Holm's correction, and what they rest on.

    ``clusters`` is the number of independent groups of cases. ``spread`` is that of the moves in units of
    noise, with what is open about it; None where there is too little, and so ``shift_open`` and
    ``mass_open``, of means in units of σ. ``lost`` and ``gained`` count clusters, ``ladder`` has the chances
    of a flip in each; ``flips`` counts cases, of which noise gives the ``expected`` number.
    """

    tests: tuple[Evidence, ...]
    clusters: int
    spread: Estimate | None
    spread_open: Open | None
    shift_open: Open | None
    mass_open: Open | None
    lost: int
    gained: int
    ladder: Ladder
    flips: int
    expected: float


class _Counts(NamedTuple):
    lost: int
    gained: int
    ladder: Ladder
    flips: int
    expected: float


def group_tests(moves: Moves, index: Index, *, budgets: Floats | None = None) -> GroupTests:
    """The tests on the cases at ``index``; ``budgets`` [n]: how many times its noise a case may be spread."""
    own = index[(moves.judged | moves.broken)[index]]
    judged = index[moves.judged[index]]
    every, cluster = _clusters(moves, own)
    spread, left_open = _spread(moves, judged, budgets)
    flips, accuracy, numbers = _counts(moves, own, cluster, every, left_open)
    most = 1.0 if budgets is None or not len(judged) else float(budgets[judged].min())
    shift, shift_open = _mean(
        "shift", moves.noise, moves.expected, moves.unit, moves.place, moves, judged, "the expected letters"
    )
    known = judged[~np.isnan(moves.rest[judged])]
    ones = np.ones(len(moves.looks))
    mass, mass_open = _mean(
        "mass",
        moves.rest_noise,
        moves.rest,
        ones,
        np.zeros(len(ones), dtype=np.int64),
        moves,
        known,
        "the log-odds of the probability outside the letters",
    )
    estimate = None if left_open is None else spread_of(spread, left_open)
    tests = (
        _cases(moves, own),
        untested("spread", "too few independent cases to judge their spread")
        if left_open is None
        else spread_test(spread, left_open, clusters=_count(moves, judged), budget=most),
        shift,
        mass,
        flips,
        accuracy,
    )
    return GroupTests(
        tests=tests,
        clusters=every,
        spread=estimate,
        spread_open=left_open,
        shift_open=shift_open,
        mass_open=mass_open,
        lost=numbers.lost,
        gained=numbers.gained,
        ladder=numbers.ladder,
        flips=numbers.flips,
        expected=numbers.expected,
    )


def open_spread(varied: float, clusters: int, tau: float, tau_freedom: float, runs: float) -> Open:
    """What is open about a ratio of spreads over so many ``clusters``, from so many ``runs``.

    Roots vary by ``varied`` between clusters, relative to their mean, and whole runs by ``tau`` (a variance)
    beyond it: of the runs' mean a half is known, as the pair's own runs are two.
    """
    shared = 1 / runs if runs else 0.0
    between = tau * (0.5 + shared) if runs else tau
    return Open(varied / clusters * (1 + shared), between, clusters=clusters, runs=tau_freedom)


def spread_at(moves: Moves, index: Index, times: float) -> tuple[float, Open | None]:
    """The ratio of spreads that `group_tests` sees where moves are spread ``times`` as wide as noise.

    It is a little less than ``times`` and more is open about it than about noise alone, as the moves stand in
    the σ that they are divided by.
    """
    from scipy import special

    judged = index[moves.judged[index]]
    half = moves.free[judged] / 2
    # χ² evenly spread, in an order that has nothing to do with the cases.
    shares = (np.random.default_rng(_SEED).permutation(len(judged)) + 0.5) / max(1, len(judged))
    square = moves.square.copy()
    square[judged] = times**2 * moves.noise.variance[judged] * special.gammaincinv(half, shares) / half
    return _spread(replace(moves, square=square), judged, None)


def open_mean(varied: float, clusters: int, tau: float, tau_freedom: float) -> Open:
    """The same of a mean of moves in units of σ, which is 0 under noise."""
    return Open(varied / clusters, tau, clusters=clusters, runs=tau_freedom)


def _cases(moves: Moves, own: Index) -> Evidence:
    """Whether any case is beyond its own noise: the smallest p, Bonferroni over their number."""
    if not own.size:
        return untested("cases", "no case to judge")
    place = int(own[np.argmin(moves.p[own])])
    smallest = float(moves.p[place])
    p = min(1.0, len(own) * smallest)
    told = (
        f"the farthest is {_words(moves, place)}; probability {smallest:.2g}, times {len(own)} cases {p:.2g}"
    )
    return evidence("cases", smallest, p, told)


def _words(moves: Moves, place: int) -> str:
    look = moves.looks[place]
    if look.broken:
        return f"{look.change.case} (one side never reached the letter)"
    sigma, far = math.sqrt(moves.noise.variance[place]), moves.far[place]
    told = f"{look.change.case} ({look.change.place}: {far:.3g}, {far / sigma:.3g} σ"
    if moves.p[place] < moves.p_letters[place]:
        rest = abs(moves.rest[place]) / math.sqrt(moves.rest_noise.variance[place])
        told += f", the probability outside the letters {rest:.3g} σ"
    flip = "" if look.flip is None else f", {look.answers[0]} became {look.answers[1]}"
    return f"{told}{flip})"


def _spread(moves: Moves, judged: Index, budgets: Floats | None) -> tuple[float, Open | None]:
    """The spread of the moves over that of the floor's runs, which stand in one σ with them.

    So under noise runs and moves are exchangeable, and no law of how loud cases are biases their ratio. Roots
    and not squares, since one case far out, which has a test of its own, outweighs all others in a mean of
    squares, and heavy tails make that mean useless.
    """
    noise = moves.noise
    square = moves.square
    if budgets is not None and judged.size:
        square = square / (budgets / budgets[judged].min()) ** 2
    if noise.table:
        count, cluster = _clusters(moves, judged)
        if count < FEWEST:
            return 0.0, None
        mean_root = _mean_root(moves.free[judged])
        roots = np.sqrt(square[judged] / noise.variance[judged]) / mean_root
        varied = float((1 / mean_root**2 - 1).mean())
        left_open = open_spread(varied, count, TABLE_LOUDNESS**2, math.inf, 0)
        return float(_means(roots[None], cluster, count)[0].mean()), left_open
    there = np.all(noise.free[:, judged] > 0, axis=0)
    own = judged[noise.measured[judged] & there]
    count, cluster = _clusters(moves, own)
    if count < FEWEST:
        return 0.0, None
    lifted, runs = noise.lifted[own], noise.runs
    pair = square[own] * noise.share[own]
    squares, free = noise.squares[:, own], noise.free[:, own]
    total = squares.sum(0) + free.sum(0) * lifted + moves.free[own] * pair
    pooled = (total + noise.prior * (noise.typical + lifted)) / (free.sum(0) + moves.free[own] + noise.prior)
    pooled = np.maximum(pooled, np.finfo(float).tiny)
    by_run = _means(np.sqrt((squares / free + lifted) / pooled), cluster, count)
    means = by_run.mean(1)
    varied = float(by_run.var(1, ddof=1).mean()) / float(means.mean()) ** 2
    loudness = float(np.log(means).var(ddof=1)) if runs > 1 else 0.0
    tau, freedom = _between(loudness - varied / count, runs - 1, TAU_LOUDNESS)
    ratio = float(_means(np.sqrt(pair / pooled)[None], cluster, count)[0].mean() / means.mean())
    return ratio, open_spread(varied, count, tau, freedom, runs)


def _mean(
    name: str,
    noise: KindNoise,
    moved: Floats,
    unit: Floats,
    coordinate: Index,
    moves: Moves,
    judged: Index,
    what: str,
) -> tuple[Evidence, Open | None]:
    """Whether ``moved`` [n] has another mean than 0 in units of σ, and what is open about that mean."""
    own = judged[~np.isnan(moved[judged])]
    count, cluster = _clusters(moves, own)
    if count < FEWEST:
        return untested(name, "too few independent cases to judge their mean"), None
    z = moved[own] / (np.sqrt(noise.variance[own]) * unit[own])
    means = _means(z[None], cluster, count)[0]
    varied, tau, freedom = float(means.var(ddof=1)), TABLE_SHIFT**2, math.inf
    if noise.table:
        varied = max(varied, 1.0)
    else:
        runs = noise.moves[:, own, np.minimum(coordinate[own], noise.moves.shape[2] - 1)]
        runs = runs / (np.sqrt(noise.without[:, own]) * unit[own])
        there = ~np.isnan(runs).any(0)
        few, few_cluster = _clusters(moves, own[there])
        tau, freedom = TAU_SHIFT**2, TAU_RUNS
        if few >= FEWEST:
            by_run = _means(runs[:, there], few_cluster, few)
            chance = float(by_run.var(1, ddof=1).mean())
            varied = max(varied, chance)
            common = float((by_run.mean(1) ** 2).mean())
            tau, freedom = _between(common - chance / few, noise.runs, TAU_SHIFT)
    left_open = open_mean(varied, count, tau, freedom)
    return mean_test(name, float(means.mean()), left_open, what=what), left_open


def _counts(
    moves: Moves, own: Index, cluster: Index, count: int, left_open: Open | None
) -> tuple[Evidence, Evidence, _Counts]:
    """The tests on numbers of flips and of lost answers."""

    def chances(loudness: float) -> Floats:
        each = np.clip(moves.chances(own, loudness), 0.0, 1 - 1e-12)
        each = np.where(moves.judged[own], each, 0.0)
        together: Floats = 1 - np.exp(np.bincount(cluster, np.log1p(-each), count))
        return together

    flipped = int((np.bincount(cluster, moves.flipped[own], count) > 0).sum())
    net = np.bincount(cluster, moves.gained[own], count) - np.bincount(cluster, moves.lost[own], count)
    lost, gained = int((net < 0).sum()), int((net > 0).sum())
    expected = float(moves.chance[own].sum())
    variance, freedom = (
        (TAU_LOUDNESS**2, TAU_RUNS) if left_open is None else (left_open.variance, left_open.freedom)
    )
    ladder = Ladder.of(chances, variance, freedom)
    of_flips, of_lost, total = ladder.at_least(flipped), ladder.at_least(lost), float(ladder.middle.sum())
    groups = f"{count} independent {'groups' if count != 1 else 'group'} of cases"
    flips = evidence(
        "flips",
        flipped,
        of_flips,
        f"{flipped} of {groups} flipped, {total:.2g} expected (p = {of_flips:.2g})",
    )
    accuracy = accuracy_test(lost, gained, of_lost, total)
    return flips, accuracy, _Counts(lost, gained, ladder, int(moves.flipped[own].sum()), expected)


def _between(varied: float, freedom: float, least: float) -> tuple[float, float]:
    """A variance between whole runs from few of them, drawn to ``least``², and its degrees of freedom."""
    total = TAU_RUNS + freedom
    return (TAU_RUNS * least**2 + freedom * max(0.0, varied)) / total, total


def _mean_root(free: Floats) -> Floats:
    """The mean of √(χ²/d) for d degrees of freedom."""
    from scipy import special

    found: Floats = np.sqrt(2 / free) * np.exp(special.gammaln((free + 1) / 2) - special.gammaln(free / 2))
    return found


def _clusters(moves: Moves, own: Index) -> tuple[int, Index]:
    """How many clusters the cases at ``own`` are of, and which one each."""
    unlike, place = np.unique(moves.cluster[own], return_inverse=True)
    return len(unlike), place.astype(np.int64)


def _count(moves: Moves, own: Index) -> int:
    return _clusters(moves, own)[0]


def _means(values: Floats, cluster: npt.NDArray[np.int64], count: int) -> Floats:
    """The mean [K, m] over each cluster's cases of ``values`` [K, n]."""
    sums = np.stack([np.bincount(cluster, row, count) for row in values])
    found: Floats = sums / np.bincount(cluster, minlength=count)
    return found
