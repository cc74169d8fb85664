"""Samples of recorded clean runs: two runs in which nothing that matters changed, on cases drawn again."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.calibration.recording import Recorded, RecordedEngine
from benchmarks.calibration.sample import Ground, Sample, SampledCase, floor
from harness.checks.log_odds import LogOdds
from harness.verdicts.noise_floor import NoiseFloor
from harness.verdicts.noise_model import Noise

__all__ = ["Replays"]

_TABLE = 1.0  # never used, since both sides have a floor


@dataclass(frozen=True, slots=True)
class _Drawn:
    place: int
    case: SampledCase


class Replays:
    """Draws pairs of clean runs of the engines ``a`` and ``b`` (which may be one) of a recording."""

    def __init__(self, recorded: Recorded, a: str, b: str) -> None:  # noqa: D107
        self._names = (a, b)
        self._sides = (recorded.engines[a], recorded.engines[b])
        self._cases = recorded.cases
        by_cluster: dict[str, list[int]] = defaultdict(list)
        for place, case in enumerate(recorded.cases):
            by_cluster[case.cluster].append(place)
        self._clusters = list(by_cluster.values())

    def whole(self, rng: np.random.Generator) -> Sample:
        """A pair of runs on all cases as they are."""
        everyone = [_Drawn(place, self._sampled(place, 0)) for place in range(len(self._cases))]
        return self._sample(rng, everyone)

    def drawn(self, rng: np.random.Generator, size: int) -> Sample:
        """A pair of runs on ``size`` cases: clusters are drawn with replacement until there are enough.

        A cluster that is drawn twice counts as two, and the last may be cut.
        """
        drawn: list[_Drawn] = []
        for turn in range(size):
            cluster = self._clusters[int(rng.integers(len(self._clusters)))]
            drawn += [_Drawn(place, self._sampled(place, turn)) for place in cluster]
            if len(drawn) >= size:
                break
        return self._sample(rng, drawn[:size])

    def typical_spread(self, rng: np.random.Generator, *, pairs: int = 60) -> float:
        """The mean spread of clean pairs on all cases, in units of the floor's noise."""
        spreads = [self.whole(rng).judged().spread for _ in range(pairs)]
        return statistics.fmean(spread.value for spread in spreads if spread is not None)

    def _sampled(self, place: int, turn: int) -> SampledCase:
        case = self._cases[place]
        return SampledCase(
            name=f"{case.name}#{turn}",
            letters=case.letters,
            expect=case.expect,
            cluster=f"{case.cluster}#{turn}",
        )

    def _sample(self, rng: np.random.Generator, drawn: Sequence[_Drawn]) -> Sample:
        names = [each.case.name for each in drawn]
        places = [each.place for each in drawn]
        a, b = self._sides
        before, after = self._runs(rng)
        floors = [
            _floor(engine, name, names, places) for engine, name in zip((a, b), self._names, strict=True)
        ]
        noise = Noise(
            floors[0],
            floors[0] if a is b else floors[1],
            dtypes=(floors[0].dtype, floors[1].dtype),
            table=_TABLE,
        )
        return Sample(
            ground=Ground(cases=tuple(each.case for each in drawn), noise=noise),
            before=tuple(before[place] for place in places),
            after=tuple(after[place] for place in places),
        )

    def _runs(self, rng: np.random.Generator) -> tuple[tuple[LogOdds, ...], tuple[LogOdds, ...]]:
        """Two different clean runs."""
        first, second = (list(side.clean.values()) for side in self._sides)
        if self._sides[0] is not self._sides[1]:
            return first[int(rng.integers(len(first)))], second[int(rng.integers(len(second)))]
        one, other = rng.choice(len(first), 2, replace=False)
        return first[int(one)], second[int(other)]


def _floor(engine: RecordedEngine, name: str, names: Sequence[str], places: Sequence[int]) -> NoiseFloor:
    return floor(
        names,
        [engine.reference[place] for place in places],
        [[run[place] for place in places] for run in engine.floor.values()],
        engine=name,
        dtype=name.rpartition("-")[2],
    )
