"""How far each stage moves when nothing that matters changed: the measure that its distance is held against.

Each side is held against itself only: with another attention kernel, in company, with other threads, and with
pixels or input embeddings disturbed by half a step of the dtype; of the re-synchronised pass, with all that
is put in so disturbed. Never is one side held against the other, or the fault that is looked for would be
noise.

What one case cannot show several together may: rounding has no direction, and averages out over them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Final

from harness.drift.distances import Distance, largest, together

__all__ = ["EPSILON", "ByKind", "Noise", "StageNoise", "Together", "noise_of"]

EPSILON: Final[Mapping[str, float]] = {"float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}
"""The step of each dtype at 1."""
_BOUND, _LOCAL_BOUND = 3.0, 1.5
"""How many times as loud as the other a side is believed to be: a fault that shows in company only, or that
rounds, would otherwise be its own excuse. Re-synchronised clean engines are within 0.66 to 1.1."""

Together = tuple[float, float, float, float, int]
Noise = Mapping[str, tuple[float, float]]
"""By stage, of the whole and of the worst row."""
ByKind = Mapping[str, Sequence[Mapping[str, Distance]]]
"""Distances of each case by stage, by the kind of variant."""
LEVEL: Final = 1.2
"""How many times its noise several cases together may be off: clean engines are by up to 1.1."""
ALONG: Final = 6.0
"""How many times the error of the mean they may be along what a stage makes: clean engines are by up to 4."""
_LEAST_CASES: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class StageNoise:
    """The noise of the plain pass and of the re-synchronised one, in steps of ``dtype`` or more.

    ``variants`` says what it was measured on: how many traces of each kind, by side. ``letters`` is the
    most that a log-probability of a letter moved meanwhile.

    ``together`` is of several of these cases at once, B re-synchronised against A: each stage's root mean
    square and its limit, its mean along what the stage makes and its limit, and the number of cases.
    """

    dtype: str
    plain: Noise
    local: Noise
    variants: Mapping[str, int] = field(default_factory=dict)
    letters: float = 0.0
    together: Mapping[str, Together] = field(default_factory=dict)

    @property
    def epsilon(self) -> float:
        """The dtype's step; that of float32 where it is not known."""
        return EPSILON.get(self.dtype, EPSILON["float32"])

    def limits(self, stage: str, *, local: bool, times: float) -> tuple[float, float]:
        """How far the whole stage and its worst row may be: ``times`` the noise, which is a step at least."""
        whole, worst = (self.local if local else self.plain).get(stage, (0.0, 0.0))
        return times * max(whole, self.epsilon / 4), times * max(worst, self.epsilon)


def noise_of(
    dtype: str,
    plain: tuple[Iterable[Mapping[str, Distance]], Iterable[Mapping[str, Distance]]],
    local: tuple[ByKind, ByKind],
    variants: Mapping[str, int],
    *,
    bounded: bool,
    letters: tuple[float, float] = (0.0, 0.0),
    off: Sequence[Mapping[str, Distance]] = (),
) -> StageNoise:
    """The noise of two sides, given each one's distances from itself: ``local`` by kind of variant.

    ``dtype`` is the coarser of the two. ``bounded`` keeps either from being much louder than the other, which
    is right where both compute in one dtype. ``off`` are B's distances from A, re-synchronised, by case.
    """
    bound, local_bound = (_BOUND, _LOCAL_BOUND) if bounded else (math.inf, math.inf)
    return StageNoise(
        dtype=dtype,
        plain=_both(plain, bound, dtype),
        local=_both([chain.from_iterable(each.values()) for each in local], local_bound, dtype),
        variants=variants,
        letters=_bounded(*letters, 4 * EPSILON.get(dtype, EPSILON["float32"]), bound),
        together=_together(local, off, local_bound, dtype),
    )


def _together(
    local: tuple[ByKind, ByKind], off: Sequence[Mapping[str, Distance]], bound: float, dtype: str
) -> dict[str, Together]:
    epsilon = EPSILON.get(dtype, EPSILON["float32"])
    sides = [[together(each) for each in side.values()] for side in local]
    pooled = {}
    for stage, found in together(off).items():
        if found.cases >= _LEAST_CASES:
            own = [[each[stage] for each in side if stage in each] for side in sides]
            a, b = (max((each.whole for each in side), default=0.0) for side in own)
            level = LEVEL * max(_bounded(a, b, epsilon / 4, bound), epsilon / 4)
            a, b = (max((each.spread for each in side), default=0.0) for side in own)
            along = ALONG * max(_bounded(a, b, epsilon / 64, bound), epsilon / 64) / math.sqrt(found.cases)
            pooled[stage] = found.whole, level, abs(found.along), along, found.cases
    return pooled


def _both(
    sides: Sequence[Iterable[Mapping[str, Distance]]], bound: float, dtype: str
) -> dict[str, tuple[float, float]]:
    epsilon = EPSILON.get(dtype, EPSILON["float32"])
    ours, theirs = (largest(each) for each in sides)
    return {
        stage: (
            _bounded(ours.get(stage, (0.0, 0.0))[0], theirs.get(stage, (0.0, 0.0))[0], epsilon / 4, bound),
            _bounded(ours.get(stage, (0.0, 0.0))[1], theirs.get(stage, (0.0, 0.0))[1], epsilon, bound),
        )
        for stage in {*ours, *theirs}
    }


def _bounded(a: float, b: float, least: float, bound: float) -> float:
    return min(max(a, b), bound * max(min(a, b), least))
