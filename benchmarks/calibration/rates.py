"""Taking the rates: how often clean samples raise an alarm, and how often planted effects are found."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from benchmarks.calibration.effects import Effect
from benchmarks.calibration.sample import Sample
from harness.verdicts.rules import ALPHA, TESTS
from harness.verdicts.verdict import Verdict

__all__ = ["Interval", "Rate", "Source", "clean_rate", "effect_rates"]

ALARMS = (Verdict.DRIFT, Verdict.REGRESSION)
Draw = Callable[[np.random.Generator, int], Sample]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where samples come from.

    ``loud`` draws only such as have a spread that can be scaled: of two runs that are next to bit-equal,
    nothing becomes noise by scaling.
    """

    name: str
    draw: Draw
    loud: Draw | None = None


class Interval(NamedTuple):
    """The exact binomial (Clopper-Pearson) interval, 95%."""

    low: float
    high: float

    @classmethod
    def of(cls, found: int, replays: int) -> Interval:
        """That of so many found."""
        from scipy import stats

        interval = stats.binomtest(found, replays).proportion_ci(0.95, method="exact")
        return cls(float(interval.low), float(interval.high))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """``found`` of ``replays`` samples of ``cases`` cases.

    Of an effect, ``found`` is by its own test at Holm's first step, ``promised`` the mean of the formulas'
    power, and ``alarms`` counts samples in which any test found something. Of clean samples both are alarms.
    ``by_test`` counts what each of the judge's tests found.
    """

    source: str
    what: str
    cases: int
    replays: int
    found: int
    alarms: int
    promised: float | None = None
    by_test: Mapping[str, int]

    @property
    def share(self) -> float:
        """Of the replays, those found."""
        return self.found / self.replays

    @property
    def interval(self) -> Interval:
        """That of the share."""
        return Interval.of(self.found, self.replays)


def clean_rate(source: Source, cases: int, replays: int, rng: np.random.Generator) -> Rate:
    """How often the judge calls a clean sample DRIFT or REGRESSION."""
    alarms, by_test = 0, dict.fromkeys(TESTS, 0)
    for _ in range(replays):
        verdict = source.draw(rng, cases).judged()
        alarms += verdict.verdict in ALARMS
        for test in verdict.evidence:
            by_test[test.name] += test.found
    return Rate(
        source=source.name,
        what="clean",
        cases=cases,
        replays=replays,
        found=alarms,
        alarms=alarms,
        by_test=by_test,
    )


def effect_rates(
    source: Source, effects: Sequence[Effect], cases: int, replays: int, rng: np.random.Generator
) -> list[Rate]:
    """How often each of ``effects``, planted into the same samples, is found."""
    alpha = ALPHA / len(TESTS)
    found, alarms = [0] * len(effects), [0] * len(effects)
    promised = [0.0] * len(effects)
    by_test = [dict.fromkeys(TESTS, 0) for _ in effects]
    for _ in range(replays):
        clean = (source.loud or source.draw)(rng, cases)
        for place, effect in enumerate(effects):
            tests = effect.plant(clean, rng).tested()
            found[place] += any(test.name == effect.test and test.p <= alpha for test in tests)
            alarms[place] += any(test.found for test in tests)
            promised[place] += effect.promise(clean, alpha)
            for test in tests:
                by_test[place][test.name] += test.found
    return [
        Rate(
            source=source.name,
            what=effect.words,
            cases=cases,
            replays=replays,
            found=found[place],
            alarms=alarms[place],
            promised=promised[place] / replays,
            by_test=by_test[place],
        )
        for place, effect in enumerate(effects)
    ]
