"""What is planted into a candidate, in graded sizes, and the power that `harness plan` promises for it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.calibration.sample import Sample
from harness.checks.log_odds import LogOdds, centred
from harness.planning.power import accuracy_power, flips_power
from harness.planning.suite_plan import gaining
from harness.verdicts.evidence import shift_power, spread_power

__all__ = ["EFFECTS", "Effect", "lose", "move", "spread"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """A planted effect: ``test`` is the judge's that is to find it, ``words`` says what it is.

    ``plant`` takes a clean sample and random numbers. ``promise`` is the power that the formulas of planning
    give for the clean sample and alpha.
    """

    test: str
    words: str
    plant: Callable[[Sample, np.random.Generator], Sample]
    promise: Callable[[Sample, float], float]


def spread(sample: Sample, times: float) -> Sample:
    """The candidate's differences from the baseline, ``times`` as large."""
    return sample.becomes(
        [
            [old + times * (new - old) for old, new in zip(before, after, strict=True)]
            for before, after in zip(sample.before, sample.after, strict=True)
        ]
    )


def move(sample: Sample, sigmas: float) -> Sample:
    """The expected letter's centred log-odds moved by so many standard deviations of each case's noise."""
    moved: list[LogOdds] = []
    for case, row, noise in zip(sample.cases, sample.after, sample.ground.pair_noise, strict=True):
        letters = len(case.letters)
        place, logits = case.letters.index(case.expect), list(row)
        # Centring takes a part of it.
        logits[place] += sigmas * noise.sigma * letters / (letters - 1)
        moved.append(centred(logits))
    return sample.becomes(moved)


def lose(sample: Sample, rate: float, rng: np.random.Generator, *, right_only: bool) -> Sample:
    """In each cluster, with probability ``rate``, one answer becomes its runner-up.

    With ``right_only`` in clusters with a right answer only, which is then lost.
    """
    clusters: dict[str, list[int]] = defaultdict(list)
    for place, (case, row) in enumerate(zip(sample.cases, sample.before, strict=True)):
        if not right_only or case.letters[_top(row)] == case.expect:
            clusters[case.cluster].append(place)
    after = [list(row) for row in sample.after]
    for places in clusters.values():
        if rng.random() < rate:
            place = places[int(rng.integers(len(places)))]
            logits, top = after[place], _top(sample.before[place])
            rival = max((i for i in range(len(logits)) if i != top), key=logits.__getitem__)
            if logits[top] > logits[rival]:
                logits[top], logits[rival] = logits[rival], logits[top]
    return sample.becomes(after)


def _top(row: Sequence[float]) -> int:
    return max(range(len(row)), key=row.__getitem__)


def _spread(times: float) -> Effect:
    return Effect(
        test="spread",
        words=f"spread {times:g} times the noise",
        plant=lambda sample, _: spread(sample, times / sample.typical),
        promise=lambda sample, alpha: spread_power(
            times, len(sample.numbers.roots), sample.ground.shape, alpha=alpha
        ),
    )


def _shift(sigmas: float) -> Effect:
    return Effect(
        test="shift",
        words=f"expected letters moved by {sigmas:g} σ",
        plant=lambda sample, _: move(sample, sigmas),
        promise=lambda sample, alpha: shift_power(
            sigmas, len(sample.numbers.shifts), sample.ground.shape, alpha=alpha
        ),
    )


def _flips(rate: float) -> Effect:
    return Effect(
        test="flips",
        words=f"{rate:.0%} of the groups flip besides noise",
        plant=lambda sample, rng: lose(sample, rate, rng, right_only=False),
        promise=lambda sample, alpha: flips_power(sample.numbers.chances, rate, alpha=alpha),
    )


def _losses(rate: float) -> Effect:
    return Effect(
        test="accuracy",
        words=f"{rate:.0%} of the groups with a right answer lose one",
        plant=lambda sample, rng: lose(sample, rate, rng, right_only=True),
        promise=lambda sample, alpha: accuracy_power(
            sample.numbers.losing, gaining(sample.looks), rate, alpha=alpha
        ),
    )


EFFECTS = (
    *(_spread(times) for times in (1.25, 1.5, 2.0, 3.0)),
    *(_shift(sigmas) for sigmas in (0.5, 1.0)),
    *(_flips(rate) for rate in (0.05, 0.1)),
    *(_losses(rate) for rate in (0.2, 0.3)),
)
"""In graded sizes."""
