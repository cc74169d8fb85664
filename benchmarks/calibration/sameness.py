"""How often the judge calls cases the same that are just not: SAME's own error."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from benchmarks.calibration.rates import Interval, random_of
from benchmarks.calibration.sample import MARGIN, sample_of
from benchmarks.calibration.worlds import Drawn, Measured, Run

__all__ = ["CHANGES", "SAME_CELLS", "SameCell", "Shown", "shown"]

Floats = npt.NDArray[np.float64]

_LETTERS = 4
_VARIED = 0.8  # of the logarithm of a case's loudness, where cases are unlike
CHANGES = ("alike", "log-normal 0.8", "5% of cases carry half", "t, 3 degrees")
"""Laws of how the true changes are spread between cases."""


class SameCell(NamedTuple):
    """``change`` is one of `CHANGES`, ``share`` what noise has of the square, ``runs`` those of the floor."""

    change: str
    share: float
    runs: int
    cases: int

    @property
    def name(self) -> str:
        """Such as ``alike, 10% noise, 9 runs, 40 cases``."""
        return f"{self.change}, {self.share:.0%} noise, {self.runs} runs, {self.cases} cases"

    def drawn(self, rng: np.random.Generator) -> Drawn:
        """Sides whose root mean square, of true change and noise, is the margin."""
        cases = self.cases
        truth = rng.normal(0, 3, (cases, _LETTERS))
        unlike = self.change != "alike"
        loud = np.exp(2 * _VARIED * rng.normal(size=cases)) if unlike else np.ones(cases)
        total = MARGIN**2
        variance = self.share * total / 2 * loud / loud.mean()
        changed = rng.normal(size=(cases, _LETTERS)) * np.sqrt(_spread(self.change, rng, cases))[:, None]
        changed -= changed.mean(1, keepdims=True)
        square = float((changed**2).sum(1).mean()) / (_LETTERS - 1)
        changed *= math.sqrt((1 - self.share) * total / square)
        rest = np.full(cases, math.log(0.01))

        def run(logits: Floats) -> Run:
            noise = rng.normal(size=(cases, _LETTERS)) * np.sqrt(variance)[:, None]
            moved = rng.normal(0, 0.01, cases)
            return Run(logits=logits + noise, rest=rest + moved, other=np.full(cases, -np.inf))

        names = ["undisturbed", *(f"attention-{number}" for number in range(1, self.runs))]
        floor = Measured(
            reference=Run(logits=truth, rest=rest, other=np.full(cases, -np.inf)),
            runs={name: run(truth) for name in names},
            dtype="float32",
        )
        return Drawn(
            before=run(truth), after=run(truth + changed), floors=(floor, floor), clusters=np.arange(cases)
        )


SAME_CELLS = tuple(
    SameCell(change, share, runs, cases)
    for change in CHANGES
    for share in (0.1, 0.5, 1.0)
    for runs in (1, 9)
    for cases in (40, 200)
)


@dataclass(kw_only=True)
class Shown:
    """Of ``samples`` at the margin those ``shown`` to be within it."""

    cell: SameCell
    samples: int = 0
    shown: int = 0

    @property
    def interval(self) -> Interval:
        """That of the share shown at the margin."""
        return Interval.of(self.shown, self.samples)


def shown(cells: Sequence[SameCell], samples: int, *, seed: int) -> list[Shown]:
    """How often what is at the margin is shown to be within it."""
    counted = []
    for cell in cells:
        found = Shown(cell=cell, samples=samples)
        for number in range(samples):
            found.shown += _within(cell.drawn(random_of(seed, cell.name, number)))
        counted.append(found)
    return counted


def _within(drawn: Drawn) -> bool:
    whole = sample_of(drawn).judged().whole
    return whole is not None and whole.shown.within


def _spread(change: str, rng: np.random.Generator, cases: int) -> Floats:
    if change == "log-normal 0.8":
        return np.exp(2 * _VARIED * rng.normal(size=cases))
    if change == "5% of cases carry half":
        return np.where(np.arange(cases) < max(1, cases // 20), 10.0, 0.53)
    if change == "t, 3 degrees":
        return np.asarray(3 / rng.chisquare(3, cases))
    return np.ones(cases)
