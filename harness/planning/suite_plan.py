"""What one suite can find: from the margins of its cases and the noise between two sides.

A test finds an effect by itself where its p-value is at most the alpha of Holm's first step: the judge's,
shared by its tests. All figures are for that; where another test finds something too, Holm's later steps ask
for less. They are those of a comparison on this suite alone: all its suites together find less still.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Protocol

import numpy as np

from harness.planning.power import accuracy_power, alike, flips_power, needed, smallest
from harness.verdicts.case_judging import Look
from harness.verdicts.evidence import Open, found_from, mean_power, spread_power
from harness.verdicts.flips import Ladder
from harness.verdicts.group_tests import FEWEST, GroupTests, group_tests, spread_at
from harness.verdicts.moves import Index, Moves, limits_at, moves_of
from harness.verdicts.noise_model import Noise
from harness.verdicts.rules import ALPHA, TESTS
from harness.verdicts.scale import Floats

__all__ = ["EFFECTS", "POWERS", "Detectable", "Goal", "Missing", "SuitePlan", "plan_suite"]

POWERS = (0.8, 0.95)
"""With which effects are planned for: the usual one, and one that seldom misses."""

EFFECTS: Mapping[str, str] = {
    "spread": "spread of the log-odds, in times the noise",
    "shift": "common move of the expected letters, in log-odds",
    "mass": "common move of the probability outside the letters, in its log-odds",
    "flips": "answers that flip besides those by noise, a share of all",
    "accuracy": "right answers lost besides those by noise, a share of all, by their number",
    "single": "the same, by any single one whose lead is wide",
}
"""What is planned for, by the name of the judge's test; ``single`` is found by the test of `cases`."""

_MOST_SPREAD, _MOST_SHIFT = 100.0, 100.0
_MANY = 10**9  # clusters: what is left open then no number of cases narrows


class _Power(Protocol):
    def __call__(self, size: float, left_open: Open, /, *, alpha: float) -> float: ...


class Goal(NamedTuple):
    """An effect that is to be found: ``effect`` is one of `EFFECTS`, ``size`` in its unit."""

    effect: str
    size: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Detectable:
    """The smallest effect that is found, by power; None where the suite finds none of any size."""

    effect: str
    smallest: Mapping[float, float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """A goal: the ``power`` with which the suite finds it now, and how many cases it takes, by power.

    ``clusters`` are independent groups and ``cases`` the cases in so many groups of the suite's usual size;
    None where no number of them would do. ``missing`` are the cases to add.
    """

    goal: Goal
    power: float
    clusters: Mapping[float, int | None]
    cases: Mapping[float, int | None]
    missing: Mapping[float, int | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class SuitePlan:
    """What a suite can find.

    ``clusters`` are independent groups of cases: those that share an image count once. ``alpha`` is that of
    one test. ``found_from`` is the spread, in times the noise, under which none is found however many cases
    there are, None where too few cases say anything of it. ``alone`` counts cases of which a single flip is
    an alarm by itself, as their margin is so much wider than noise, and ``limit`` is how far a single case
    may move (the median). ``expected_flips`` is how many cases noise alone flips. ``left_out`` are cases that
    cannot be judged.
    """

    suite: str
    cases: int
    clusters: int
    left_out: tuple[str, ...]
    right: int
    alpha: float
    found_from: float | None
    noise: str
    measured: bool
    margins: tuple[float, float, float]
    sigma: float
    alone: int
    limit: float
    expected_flips: float
    detectable: tuple[Detectable, ...]
    goals: tuple[Missing, ...]


def plan_suite(
    suite: str, looks: Sequence[Look], noise: Noise, *, goals: Sequence[Goal] = (), alpha: float = ALPHA
) -> SuitePlan:
    """Plan the suite whose cases, each beside itself, are ``looks`` (see `harness.verdicts.case_judging`).

    Raises ValueError where no case can be judged.
    """
    judged = [look for look in looks if look.judged and look.gap is not None]
    if not judged:
        raise ValueError(f"{suite}: found no case that can be judged; allowed: one at least")
    share = alpha / len(TESTS)
    moves = moves_of(judged, noise)
    index: Index = np.arange(len(judged), dtype=np.int64)
    numbers = group_tests(moves, index)
    limits, _ = limits_at(moves, share / len(judged))
    # Of two letters that change places each moves by half their gap, at least.
    alone = np.array([(look.gap or 0.0) / 2 for look in judged]) > limits
    right = np.array([bool(look.right[0]) for look in judged])
    powers = _Powers(moves, numbers, share, wide=int((alone & right).sum()))
    gaps = sorted(look.gap for look in judged if look.gap is not None)
    left = numbers.spread_open
    return SuitePlan(
        suite=suite,
        cases=len(judged),
        clusters=powers.clusters,
        left_out=tuple(look.change.case for look in looks if look not in judged),
        right=int(right.sum()),
        alpha=share,
        found_from=None if left is None else found_from(left.at(_MANY), alpha=share),
        noise=noise.words,
        measured=noise.measured,
        margins=(gaps[0], statistics.median(gaps), gaps[-1]),
        sigma=powers.sigma,
        alone=int(alone.sum()),
        limit=float(np.median(limits)),
        expected_flips=numbers.expected,
        detectable=tuple(
            Detectable(effect=effect, smallest={power: powers.smallest(effect, power) for power in POWERS})
            for effect in EFFECTS
        ),
        goals=tuple(_missing(goal, powers, len(judged)) for goal in goals),
    )


def _any(moves: Moves, own: Floats) -> list[float]:
    """The probability that noise flips any of the cases at ``own`` (0 or 1), by cluster."""
    none: dict[int, float] = {}
    for place in np.flatnonzero(own):
        cluster = int(moves.cluster[place])
        none[cluster] = none.get(cluster, 1.0) * (1.0 - float(moves.chance[place]))
    return [1.0 - chance for chance in none.values()]


class _Powers:
    """The power of each test by size of the effect and number of clusters of the suite's kind."""

    def __init__(self, moves: Moves, numbers: GroupTests, alpha: float, *, wide: int) -> None:
        """``wide`` is how many right cases have a margin so wide that losing one is an alarm by itself."""
        right = np.array([bool(look.right[0]) for look in moves.looks])
        self.clusters = numbers.clusters
        self.sigma = float(np.median(np.sqrt(moves.noise.variance) * moves.unit))
        self._rest = float(np.median(np.sqrt(moves.rest_noise.variance)))
        self._numbers, self._alpha, self._moves = numbers, alpha, moves
        self._ladders: dict[int, Ladder] = {}
        self._spreads: dict[float, tuple[float, Open | None]] = {}
        self._wide, self._cases, self._right = wide, len(moves.looks), int(right.sum())
        self.losing, self._gaining = _any(moves, right.astype(float)), _any(moves, 1.0 - right)

    @cached_property
    def _by_effect(self) -> Mapping[str, Callable[[float, int], float]]:
        return {
            "spread": self._spread,
            "shift": lambda size, n: self._left(mean_power, self._numbers.shift_open, size / self.sigma, n),
            "mass": lambda size, n: self._left(mean_power, self._numbers.mass_open, size / self._rest, n),
            "flips": lambda size, n: flips_power(self._ladder(n), size, alpha=self._alpha),
            "accuracy": self._accuracy,
            "single": self._single,
        }

    def _left(self, power: _Power, left: Open | None, size: float, clusters: int) -> float:
        if left is None or clusters < FEWEST:
            return 0.0
        return power(size, left.at(clusters), alpha=self._alpha)

    def _spread(self, size: float, clusters: int) -> float:
        (usual, left), (planted, planted_left) = (self._at(times) for times in (1.0, size))
        if left is None or planted_left is None or clusters < FEWEST:
            return 0.0
        return spread_power(planted / usual, planted_left.at(clusters), alpha=self._alpha)

    def _at(self, times: float) -> tuple[float, Open | None]:
        if times not in self._spreads:
            every: Index = np.arange(self._cases, dtype=np.int64)
            self._spreads[times] = spread_at(self._moves, every, times)
        return self._spreads[times]

    def _ladder(self, clusters: int) -> Ladder:
        if clusters not in self._ladders:
            self._ladders[clusters] = self._numbers.ladder.like(clusters)
        return self._ladders[clusters]

    def _single(self, size: float, clusters: int) -> float:
        """``size`` is a share of all cases, of which only right ones are lost, wide or not."""
        if not self._right:
            return 0.0
        each = min(1.0, size * self._cases / self._right)
        return float(1.0 - (1.0 - each) ** round(self._wide * clusters / self.clusters))

    def _accuracy(self, size: float, clusters: int) -> float:
        """``size`` is a share of all clusters, of which only those with a right answer can lose one."""
        losing, gaining = (round(len(own) * clusters / self.clusters) for own in (self.losing, self._gaining))
        if not losing or size > losing / clusters:
            return 0.0
        return accuracy_power(
            self._ladder(clusters),
            alike(self.losing, losing),
            alike(self._gaining, gaining) if gaining else [],
            min(1.0, size * clusters / losing),
            alpha=self._alpha,
        )

    def of(self, effect: str, size: float, clusters: int) -> float:
        return self._by_effect[effect](size, clusters)

    def smallest(self, effect: str, power: float) -> float | None:
        low, high = {
            "spread": (1.0, _MOST_SPREAD),
            "shift": (0.0, _MOST_SHIFT * self.sigma),
            "mass": (0.0, _MOST_SHIFT * self._rest),
            "accuracy": (0.0, len(self.losing) / self.clusters),
        }.get(effect, (0.0, 1.0))
        return smallest(lambda size: self.of(effect, size, self.clusters), power=power, low=low, high=high)


def _missing(goal: Goal, powers: _Powers, cases: int) -> Missing:
    clusters = {
        power: needed(lambda n: powers.of(goal.effect, goal.size, n), power=power) for power in POWERS
    }
    wanted = {
        power: None if count is None else math.ceil(count * cases / powers.clusters)
        for power, count in clusters.items()
    }
    now = powers.of(goal.effect, goal.size, powers.clusters)
    return Missing(
        goal=goal,
        power=now,
        clusters=clusters,
        cases=wanted,
        missing={
            power: 0 if now >= power else None if count is None else max(0, count - cases)
            for power, count in wanted.items()
        },
    )
