"""Samples of simulated noise, of which everything is known: the judge against its own assumptions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.calibration.sample import Ground, Sample, SampledCase, floor
from harness.checks.log_odds import LogOdds, centred
from harness.verdicts.noise_model import Noise

__all__ = ["World"]

Floats = npt.NDArray[np.float64]
LETTERS = ("A", "B", "C", "D")
_TYPICAL, _VARIED = 0.05, 0.4  # the noise of a case is log-normal between cases


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Cases with independent noise of ``tail`` degrees of freedom (infinity: normal) and a floor of ``runs``.

    A is expected, and right by a wide margin in most cases.
    """

    tail: float = np.inf
    runs: int = 9

    def drawn(self, rng: np.random.Generator, size: int) -> Sample:
        """A new world of ``size`` cases, its floor, and two clean runs."""
        truth = rng.normal(0, 3, (size, len(LETTERS)))
        truth[:, 0] += 4
        sigma = _TYPICAL * np.exp(rng.normal(0, _VARIED, (size, 1)))
        cases = tuple(
            SampledCase(name=f"s.c{i}", letters=LETTERS, expect=LETTERS[0], cluster=f"c{i}")
            for i in range(size)
        )
        names = [case.name for case in cases]
        measured = floor(
            names,
            _rows(truth),
            [_rows(truth + sigma * self._noise(rng, size)) for _ in range(self.runs)],
            engine="simulated",
        )
        return Sample(
            ground=Ground(
                cases=cases, noise=Noise(measured, measured, dtypes=("bfloat16", "bfloat16"), table=1.0)
            ),
            before=_rows(truth + sigma * self._noise(rng, size)),
            after=_rows(truth + sigma * self._noise(rng, size)),
        )

    def _noise(self, rng: np.random.Generator, size: int) -> Floats:
        shape = (size, len(LETTERS))
        if self.tail == np.inf:
            return rng.normal(0, 1, shape)
        heavy: Floats = rng.standard_t(self.tail, shape) / np.sqrt(self.tail / (self.tail - 2))
        return heavy


def _rows(logits: Floats) -> tuple[LogOdds, ...]:
    return tuple(centred([float(logit) for logit in row]) for row in logits)
