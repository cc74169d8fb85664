"""What is planted into a clean sample, how often it is found, and the power that `harness plan` promises."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from benchmarks.calibration.rates import Cell, Interval, random_of
from benchmarks.calibration.sample import sample_of
from benchmarks.calibration.worlds import SIGMA, Drawn, worlds
from harness.planning.suite_plan import Goal, plan_suite
from harness.verdicts.rules import ALPHA, TESTS
from harness.verdicts.verdict import ExitStatus, Verdict

__all__ = ["EFFECTS", "POWER_CELLS", "Effect", "Found", "found", "lose", "move", "spread"]

Plant = Callable[[Drawn, np.random.Generator], Drawn]
Index = npt.NDArray[np.int64]

_PAIR = SIGMA * math.sqrt(2)
_LAWS, _RUNS = ("normal", "runs differ"), (1, 2, 9)
POWER_CELLS = tuple(
    Cell(world, cases)
    for cases in (40, 200, 1000)
    for world in worlds()
    if world.reference and world.law.name in _LAWS and world.runs in _RUNS
)
_PLANS = 6  # of the samples of a cell are planned with: their mean is the promise
_MOST_PLANNED = 200  # cases, since a plan of more takes long


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """``plant`` puts it into a sample; ``test`` is the judge's that is to find it.

    ``goal`` is what `harness plan` is asked for, given the sample; None where it plans for no such thing.
    """

    words: str
    test: str
    plant: Plant
    goal: Callable[[Drawn], Goal] | None = None


@dataclass(kw_only=True)
class Found:
    """Of ``samples`` of a cell with an effect: ``alarms`` by word or status, ``failed`` with exit status 1.

    ``own`` counts those that the effect's own test found at Holm's first step, of which the share
    ``promised`` was (None where nothing was), and ``inconclusive`` those of which too little is known.
    """

    words: str
    law: str
    runs: int
    cases: int
    samples: int = 0
    alarms: int = 0
    failed: int = 0
    own: int = 0
    inconclusive: int = 0
    promised: float | None = None

    @property
    def interval(self) -> Interval:
        """That of the share which its own test found."""
        return Interval.of(self.own, self.samples)


def found(
    cell: Cell, effects: Sequence[Effect], samples: int, *, seed: int, plans: int = _PLANS
) -> list[Found]:
    """How often each of ``effects``, put into the same samples, is found; ``plans`` of them are planned."""
    law, runs = cell.world.law.name, cell.world.runs
    counted = [Found(words=effect.words, law=law, runs=runs, cases=cell.cases) for effect in effects]
    promises: list[list[float]] = [[] for _ in effects]
    for number in range(samples):
        rng = random_of(seed, cell.name, number)
        drawn = cell.world.drawn(rng, cell.cases)
        if number < plans and cell.cases <= _MOST_PLANNED:
            for own, power in zip(promises, _promised(drawn, effects), strict=True):
                own += [] if power is None else [power]
        for effect, count in zip(effects, counted, strict=True):
            verdict = sample_of(effect.plant(drawn, rng)).judged()
            tests = {} if verdict.whole is None else {test.name: test for test in verdict.whole.evidence}
            failed = verdict.status is ExitStatus.FAILED
            count.samples += 1
            count.failed += failed
            count.alarms += failed or verdict.verdict in (Verdict.DRIFT, Verdict.REGRESSION)
            count.own += tests[effect.test].p <= ALPHA / len(TESTS)
            count.inconclusive += verdict.verdict is Verdict.INCONCLUSIVE
    for count, powers in zip(counted, promises, strict=True):
        count.promised = math.fsum(powers) / len(powers) if powers else None
    return counted


def _promised(drawn: Drawn, effects: Sequence[Effect]) -> list[float | None]:
    """What `harness plan` says beforehand, of the baseline alone."""
    sample = sample_of(replace(drawn, after=drawn.before))
    goals = [None if effect.goal is None else effect.goal(drawn) for effect in effects]
    asked = [goal for goal in goals if goal is not None]
    plan = plan_suite("planted", sample.looks, sample.noise, goals=asked)
    powers = iter(plan.goals)
    return [None if goal is None else next(powers).power for goal in goals]


def spread(drawn: Drawn, times: float) -> Drawn:
    """The candidate's letters differ from the baseline's ``times`` as much."""
    moved = drawn.after.logits - drawn.before.logits
    return _becomes(drawn, drawn.before.logits + times * moved)


def move(drawn: Drawn, sigmas: float, *, cases: slice = slice(None), letter: int = 0) -> Drawn:
    """The centred log-odds of a ``letter`` moved by so many standard deviations of a pair, in some cases."""
    logits = drawn.after.logits.copy()
    letters = logits.shape[1]
    # Centring takes a part of it.
    logits[cases, letter] += sigmas * _PAIR * letters / (letters - 1)
    return _becomes(drawn, logits)


def lose(drawn: Drawn, places: Index) -> Drawn:
    """In the cases at ``places`` the baseline's best letter changes place with the best other one."""
    logits = drawn.after.logits.copy()
    tops = drawn.before.logits.argmax(1)[places]
    without = logits[places].copy()
    without[np.arange(len(places)), tops] = -np.inf
    rivals = without.argmax(1)
    best = logits[places, tops].copy()
    # Where noise has put the rival on top already, it stays there.
    swapped = best > logits[places, rivals]
    own, top, rival = places[swapped], tops[swapped], rivals[swapped]
    logits[own, top], logits[own, rival] = logits[own, rival].copy(), best[swapped]
    return _becomes(drawn, logits)


def _becomes(drawn: Drawn, logits: npt.NDArray[np.float64]) -> Drawn:
    return replace(drawn, after=replace(drawn.after, logits=logits))


def _right(drawn: Drawn) -> Index:
    return np.flatnonzero(drawn.before.logits.argmax(1) == 0)


def _lose_some(drawn: Drawn, rng: np.random.Generator, share: float) -> Drawn:
    """A share of all cases, one at least, is right and lost."""
    right = _right(drawn)
    count = min(len(right), max(1, round(share * len(drawn.clusters))))
    return lose(drawn, rng.choice(right, count, replace=False))


def _rest(drawn: Drawn) -> Drawn:
    return replace(drawn, after=replace(drawn.after, rest=drawn.after.rest + _TO_FIVE))


def _each(places: Index, rng: np.random.Generator, share: float) -> Index:
    return places[rng.random(len(places)) < share]


def _of_right(effect: str, share: float) -> Callable[[Drawn], Goal]:
    return lambda drawn: Goal(effect, share * len(_right(drawn)) / len(drawn.clusters))


_TO_FIVE = math.log(0.05 / 0.95) - math.log(0.01 / 0.99)
EFFECTS = (
    Effect(words="nothing", test="spread", plant=lambda drawn, _: drawn),
    Effect(words="one case by 6 σ", test="cases", plant=lambda d, _: move(d, 6, cases=slice(0, 1), letter=1)),
    Effect(
        words="one case by 10 σ", test="cases", plant=lambda d, _: move(d, 10, cases=slice(0, 1), letter=1)
    ),
    Effect(
        words="expected letters by 0.5 σ",
        test="shift",
        plant=lambda d, _: move(d, 0.5),
        goal=lambda _: Goal("shift", 0.5 * _PAIR),
    ),
    Effect(
        words="spread × 1.5",
        test="spread",
        plant=lambda d, _: spread(d, 1.5),
        goal=lambda _: Goal("spread", 1.5),
    ),
    Effect(
        words="spread × 2",
        test="spread",
        plant=lambda d, _: spread(d, 2.0),
        goal=lambda _: Goal("spread", 2.0),
    ),
    Effect(
        words="what is not on the letters from 1% to 5%",
        test="mass",
        plant=lambda d, _: _rest(d),
        goal=lambda _: Goal("mass", _TO_FIVE),
    ),
    Effect(words="2% lost, one at least", test="cases", plant=lambda d, rng: _lose_some(d, rng, 0.02)),
    Effect(
        words="5% flip",
        test="flips",
        plant=lambda d, rng: lose(d, _each(np.arange(len(d.clusters)), rng, 0.05)),
        goal=lambda _: Goal("flips", 0.05),
    ),
    Effect(
        words="2% of right answers lost",
        test="cases",
        plant=lambda d, rng: lose(d, _each(_right(d), rng, 0.02)),
        goal=_of_right("single", 0.02),
    ),
    Effect(
        words="20% of right answers lost",
        test="accuracy",
        plant=lambda d, rng: lose(d, _each(_right(d), rng, 0.2)),
        goal=_of_right("accuracy", 0.2),
    ),
)
"""Breaks of graded size; σ is that of one letter's difference between two sides."""
