"""Samples of recorded clean runs: two runs in which nothing that matters changed, on cases drawn again."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from benchmarks.calibration.recording import Recorded, RecordedEngine
from benchmarks.calibration.sample import Ground, Sample, SampledCase, floor
from harness.checks.log_odds import LogOdds
from harness.verdicts.noise_floor import NoiseFloor
from harness.verdicts.noise_model import Noise

__all__ = ["Replays"]

_LOUD = 0.2  # of the noise
_TABLE = 1.0  # never used, since both sides have a floor


@dataclass(frozen=True, slots=True)
class _Drawn:
    place: int
    case: SampledCase


class _Runs(NamedTuple):
    before: tuple[LogOdds, ...]
    after: tuple[LogOdds, ...]


class Replays:
    """Draws pairs of clean runs of the engines ``a`` and ``b`` (which may be one) of a recording."""

    def __init__(self, recorded: Recorded, a: str, b: str) -> None:
        """Draws nothing yet."""
        self._names = (a, b)
        self._sides = (recorded.engines[a], recorded.engines[b])
        self._cases = recorded.cases
        by_cluster: dict[str, list[int]] = defaultdict(list)
        for place, case in enumerate(recorded.cases):
            by_cluster[case.cluster].append(place)
        self._clusters = list(by_cluster.values())
        everyone = [_Drawn(place, self._sampled(place, 0)) for place in range(len(self._cases))]
        a_run = _Runs(self._sides[0].reference, self._sides[0].reference)
        self._spreads: dict[_Runs, float] = {a_run: 0.0}
        self._everything = self._sample(a_run, everyone)

    def drawn(self, rng: np.random.Generator, size: int, *, least: float = 0.0) -> Sample:
        """A pair of runs on ``size`` cases: clusters are drawn with replacement until there are enough.

        A cluster that is drawn twice counts as two, and the last may be cut. Pairs whose spread on all cases
        is below ``least`` times the noise are drawn again.
        """
        drawn: list[_Drawn] = []
        for turn in range(size):
            cluster = self._clusters[int(rng.integers(len(self._clusters)))]
            drawn += [_Drawn(place, self._sampled(place, turn)) for place in cluster]
            if len(drawn) >= size:
                break
        runs = self._runs(rng)
        while self._typical(runs) < least:
            runs = self._runs(rng)
        return self._sample(runs, drawn[:size])

    def loud(self, rng: np.random.Generator, size: int) -> Sample:
        """As `drawn`, of pairs that are a fifth of the noise apart at least."""
        return self.drawn(rng, size, least=_LOUD)

    def _typical(self, runs: _Runs) -> float:
        """The spread of a pair of runs on all cases, in units of noise."""
        if runs not in self._spreads:
            sample = replace(self._everything, before=runs.before, after=runs.after)
            self._spreads[runs] = statistics.fmean(sample.numbers.roots) / sample.ground.shape.root
        return self._spreads[runs]

    def _sampled(self, place: int, turn: int) -> SampledCase:
        case = self._cases[place]
        return SampledCase(
            name=f"{case.name}#{turn}",
            letters=case.letters,
            expect=case.expect,
            cluster=f"{case.cluster}#{turn}",
        )

    def _sample(self, runs: _Runs, drawn: Sequence[_Drawn]) -> Sample:
        names = [each.case.name for each in drawn]
        places = [each.place for each in drawn]
        a, b = self._sides
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
            before=tuple(runs.before[place] for place in places),
            after=tuple(runs.after[place] for place in places),
            typical=self._typical(runs),
        )

    def _runs(self, rng: np.random.Generator) -> _Runs:
        """Two different clean runs."""
        first, second = (list(side.clean.values()) for side in self._sides)
        if self._sides[0] is not self._sides[1]:
            return _Runs(first[int(rng.integers(len(first)))], second[int(rng.integers(len(second)))])
        one, other = rng.choice(len(first), 2, replace=False)
        return _Runs(first[int(one)], second[int(other)])


def _floor(engine: RecordedEngine, name: str, names: Sequence[str], places: Sequence[int]) -> NoiseFloor:
    return floor(
        names,
        [engine.reference[place] for place in places],
        [[run[place] for place in places] for run in engine.floor.values()],
        engine=name,
        dtype=name.rpartition("-")[2],
    )
