"""How far each stage moves when nothing that matters changed: the measure that its distance is held against.

Each side is held against itself only: with another attention kernel, in company, with other threads, and with
pixels or input embeddings disturbed by half a step of the dtype; of the re-synchronised pass, with all that
is put in so disturbed. Never is one side held against the other, or the fault that is looked for would be
noise.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from harness.drift.distances import Distance, largest

__all__ = ["EPSILON", "Noise", "StageNoise", "noise_of"]

EPSILON: Final[Mapping[str, float]] = {"float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}
"""The step of each dtype at 1."""
_BOUND: Final = 3.0
"""How many times as loud as the other a side is believed to be: a fault that shows in company only would
otherwise be its own excuse."""

Noise = Mapping[str, tuple[float, float]]
"""By stage, of the whole and of the worst row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageNoise:
    """The noise of the plain pass and of the re-synchronised one, in steps of ``dtype`` or more.

    ``variants`` says what it was measured on: how many traces of each kind, by side. ``letters`` is the
    most that a log-probability of a letter moved meanwhile.
    """

    dtype: str
    plain: Noise
    local: Noise
    variants: Mapping[str, int] = field(default_factory=dict)
    letters: float = 0.0

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
    local: tuple[Iterable[Mapping[str, Distance]], Iterable[Mapping[str, Distance]]],
    variants: Mapping[str, int],
    *,
    bounded: bool,
    letters: tuple[float, float] = (0.0, 0.0),
) -> StageNoise:
    """The noise of two sides, given each one's distances from itself.

    ``dtype`` is the coarser of the two. ``bounded`` keeps either from being much louder than the other, which
    is right where both compute in one dtype.
    """
    bound = _BOUND if bounded else math.inf
    return StageNoise(
        dtype=dtype,
        plain=_both(*plain, bound, dtype),
        local=_both(*local, bound, dtype),
        variants=variants,
        letters=_bounded(*letters, 4 * EPSILON.get(dtype, EPSILON["float32"]), bound),
    )


def _both(
    a: Iterable[Mapping[str, Distance]], b: Iterable[Mapping[str, Distance]], bound: float, dtype: str
) -> dict[str, tuple[float, float]]:
    epsilon = EPSILON.get(dtype, EPSILON["float32"])
    ours, theirs = largest(a), largest(b)
    return {
        stage: (
            _bounded(ours.get(stage, (0.0, 0.0))[0], theirs.get(stage, (0.0, 0.0))[0], epsilon / 4, bound),
            _bounded(ours.get(stage, (0.0, 0.0))[1], theirs.get(stage, (0.0, 0.0))[1], epsilon, bound),
        )
        for stage in {*ours, *theirs}
    }


def _bounded(a: float, b: float, least: float, bound: float) -> float:
    return min(max(a, b), bound * max(min(a, b), least))
