"""Samples of recorded clean runs: two runs in which nothing that matters changed, on cases drawn again.

Their probability outside the letters was not recorded, so the judge knows nothing of it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from benchmarks.calibration.recording import Recorded, RecordedEngine
from benchmarks.calibration.sample import Sample, sample_of
from benchmarks.calibration.worlds import Drawn, Measured, Run
from harness.checks.log_odds import LogOdds
from harness.verdicts.noise_floor import UNDISTURBED

__all__ = ["CLEAN_PAIRS", "Replays"]

Floats = npt.NDArray[np.float64]

CLEAN_PAIRS = (
    ("torch-bfloat16", "torch-bfloat16"),
    ("torch-float32", "torch-float32"),
    ("torch-bfloat16", "lmdeploy-bfloat16"),
)
"""Baseline and candidate, of the recorded engines.

LMDeploy twice is left out: on a CPU its runs are bit-equal.
"""

_FIRST = "batch-1"  # the floor's undisturbed run


class Replays:
    """Draws pairs of clean runs of the engines ``a`` and ``b`` (which may be one) of a recording."""

    def __init__(self, recorded: Recorded, a: str, b: str) -> None:
        """Draws nothing yet."""
        self.name = f"{a} twice" if a == b else f"{a} and {b}"
        self._one = a == b
        names = (a,) if a == b else (a, b)
        self._floors = [_measured(recorded.engines[name], name) for name in names]
        self._clean = [[_run(rows) for rows in recorded.engines[name].clean.values()] for name in names]
        self._expect = np.array([case.letters.index(case.expect) for case in recorded.cases])
        by_cluster: dict[str, list[int]] = defaultdict(list)
        for place, case in enumerate(recorded.cases):
            by_cluster[case.cluster].append(place)
        self._clusters = list(by_cluster.values())

    def drawn(self, rng: np.random.Generator, size: int) -> Sample:
        """A pair of runs on ``size`` cases: clusters are drawn with replacement until there are enough.

        A cluster that is drawn twice counts as two, and the last may be cut.
        """
        places, clusters = list[int](), list[int]()
        while len(places) < size:
            cluster = self._clusters[int(rng.integers(len(self._clusters)))]
            clusters += [len(places)] * len(cluster)
            places += cluster
        own, before, after = np.array(places[:size]), *self._pair(rng)
        floors = [_taken(floor, own) for floor in self._floors]
        drawn = Drawn(
            before=_at(before, own),
            after=_at(after, own),
            floors=(floors[0], floors[-1]),
            clusters=np.array(clusters[:size]),
        )
        return sample_of(drawn, expect=self._expect[own])

    def _pair(self, rng: np.random.Generator) -> tuple[Run, Run]:
        """Two different clean runs."""
        if self._one:
            one, other = rng.choice(len(self._clean[0]), 2, replace=False)
            return self._clean[0][int(one)], self._clean[0][int(other)]
        first, second = (own[int(rng.integers(len(own)))] for own in self._clean)
        return first, second


def _measured(engine: RecordedEngine, name: str) -> Measured:
    runs = {UNDISTURBED if run == _FIRST else run: _run(rows) for run, rows in engine.floor.items()}
    return Measured(reference=_run(engine.reference), runs=runs, dtype=name.rpartition("-")[2])


def _taken(floor: Measured, places: npt.NDArray[np.int64]) -> Measured:
    runs = {name: _at(run, places) for name, run in floor.runs.items()}
    return Measured(reference=_at(floor.reference, places), runs=runs, dtype=floor.dtype)


def _run(rows: Sequence[LogOdds]) -> Run:
    width = max(len(row) for row in rows)
    logits = np.array([(*row, *(np.nan,) * (width - len(row))) for row in rows])
    return Run(logits=logits, rest=np.full(len(rows), np.nan), other=np.full(len(rows), -np.inf))


def _at(run: Run, places: npt.NDArray[np.int64]) -> Run:
    return Run(logits=run.logits[places], rest=run.rest[places], other=run.other[places])
