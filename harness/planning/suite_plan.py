"""What one suite can find: from the margins of its cases and the noise between two sides.

A test finds an effect by itself where its p-value is at most the alpha of Holm's first step: the judge's,
shared by its tests and by the suites of a comparison. All figures are for that; where another test finds
something too, Holm's later steps ask for less.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from harness.planning.power import accuracy_power, alike, flips_power, needed, smallest
from harness.verdicts.case_judging import Look
from harness.verdicts.evidence import case_limit, flip_p, shift_power, spread_power
from harness.verdicts.noise_model import NoiseShape
from harness.verdicts.rules import ALPHA, TESTS
from harness.verdicts.suite_numbers import SuiteNumbers, suite_numbers

__all__ = ["EFFECTS", "POWERS", "Detectable", "Goal", "Missing", "SuitePlan", "gaining", "plan_suite"]

POWERS = (0.8, 0.95)
"""With which effects are planned for: the usual one, and one that seldom misses."""

EFFECTS: Mapping[str, str] = {
    "spread": "spread of the log-odds, in times the noise",
    "shift": "common move of the expected letters, in log-odds",
    "flips": "answers that flip besides those by noise, a share of all",
    "accuracy": "right answers lost besides those by noise, a share of all, by their number",
    "single": "the same, by any single one whose margin is wide",
}
"""What is planned for, by the name of the judge's test; ``single`` is found by the test of `cases`."""

_MOST_SPREAD, _MOST_SHIFT = 100.0, 100.0


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
    one test in one suite. ``alone`` counts cases of which a single flip is an alarm by itself, as their
    margin is so much wider than noise, and ``limit`` is how far a single case may move (the median).
    ``expected_flips`` is how many cases noise alone flips. ``left_out`` are cases that cannot be judged.
    """

    suite: str
    cases: int
    clusters: int
    left_out: tuple[str, ...]
    right: int
    alpha: float
    suites: int
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
    suite: str,
    looks: Sequence[Look],
    shape: NoiseShape,
    *,
    noise: str,
    measured: bool,
    suites: int = 1,
    goals: Sequence[Goal] = (),
    alpha: float = ALPHA,
) -> SuitePlan:
    """Plan the suite whose cases, each beside itself, are ``looks`` (see `harness.verdicts.case_judging`).

    ``shape`` is that of the noise, which ``noise`` tells in words; ``measured`` is whether it comes from a
    noise floor. ``suites`` share ``alpha``. Raises ValueError where no case can be judged.
    """
    judged = [look for look in looks if look.judged and look.gap is not None]
    if not judged:
        raise ValueError(f"{suite}: found no case that can be judged; allowed: one at least")
    share = alpha / len(TESTS) / suites
    wide = sum(bool(look.right[0]) and _alone(look, share / len(judged)) for look in judged)
    powers = _Powers(suite_numbers(judged), judged, shape, share, wide=wide)
    gaps = sorted(look.gap for look in judged if look.gap is not None)
    return SuitePlan(
        suite=suite,
        cases=len(judged),
        clusters=powers.clusters,
        left_out=tuple(look.change.case for look in looks if look not in judged),
        right=sum(bool(look.right[0]) for look in judged),
        alpha=share,
        suites=suites,
        noise=noise,
        measured=measured,
        margins=(gaps[0], statistics.median(gaps), gaps[-1]),
        sigma=powers.sigma,
        alone=sum(_alone(look, share / len(judged)) for look in judged),
        limit=statistics.median(_limit(look, share / len(judged)) for look in judged),
        expected_flips=math.fsum(look.chance or 0.0 for look in judged),
        detectable=tuple(
            Detectable(effect=effect, smallest={power: powers.smallest(effect, power) for power in POWERS})
            for effect in EFFECTS
        ),
        goals=tuple(_missing(goal, powers, len(judged)) for goal in goals),
    )


def gaining(looks: Sequence[Look]) -> list[float]:
    """The probabilities with which noise gains an answer in each cluster with a wrong one, at most.

    Noise makes a wrong answer right no more often than it flips it.
    """
    none: dict[str, float] = {}
    for look in looks:
        if look.right[0] is False:
            cluster = look.change.cluster
            none[cluster] = none.get(cluster, 1.0) * (1.0 - (look.chance or 0.0))
    return [1.0 - chance for chance in none.values()]


class _Powers:
    """The power of each test by size of the effect and number of clusters of the suite's kind."""

    def __init__(
        self, numbers: SuiteNumbers, looks: Sequence[Look], shape: NoiseShape, alpha: float, *, wide: int
    ) -> None:
        """``wide`` is how many right cases have a margin so wide that losing one is an alarm by itself."""
        self.clusters = len(numbers.chances)
        self.sigma = numbers.sigma
        self._numbers, self._shape, self._alpha = numbers, shape, alpha
        self._wide, self._cases = wide, len(looks)
        self._right = sum(bool(look.right[0]) for look in looks)
        self._gaining = gaining(looks)

    @cached_property
    def _by_effect(self) -> Mapping[str, Callable[[float, int], float]]:
        return {
            "spread": lambda size, n: spread_power(size, n, self._shape, alpha=self._alpha),
            "shift": lambda size, n: shift_power(size / self.sigma, n, self._shape, alpha=self._alpha),
            "flips": lambda size, n: flips_power(alike(self._numbers.chances, n), size, alpha=self._alpha),
            "accuracy": self._accuracy,
            "single": self._single,
        }

    def _single(self, size: float, clusters: int) -> float:
        """``size`` is a share of all cases, of which only right ones are lost, wide or not."""
        if not self._right:
            return 0.0
        each = min(1.0, size * self._cases / self._right)
        return float(1.0 - (1.0 - each) ** round(self._wide * clusters / self.clusters))

    def _accuracy(self, size: float, clusters: int) -> float:
        """``size`` is a share of all clusters, of which only those with a right answer can lose one."""
        losing, gaining = (
            round(len(own) * clusters / self.clusters) for own in (self._numbers.losing, self._gaining)
        )
        if not losing or size > losing / clusters:
            return 0.0
        return accuracy_power(
            alike(self._numbers.losing, losing),
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
            "accuracy": (0.0, round(len(self._numbers.losing)) / self.clusters),
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


def _alone(look: Look, alpha: float) -> bool:
    """Whether a flip to the nearest rival is an alarm by itself, as `case_judging` has it."""
    gap, noise = look.gap, look.change.noise
    if gap is None or gap <= 4 * noise.seen:
        return False
    return 2 * flip_p(gap, sigma=noise.sigma, freedom=noise.freedom) <= alpha


def _limit(look: Look, alpha: float) -> float:
    noise = look.change.noise
    return case_limit(
        alpha, letters=len(look.change.letters), sigma=noise.sigma, freedom=noise.freedom, seen=noise.seen
    )
