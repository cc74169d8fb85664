"""A floor from the samples of its runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from harness.checks.log_odds import coordinates, difference, largest
from harness.checks.tolerances import known_dtypes, resolve
from harness.noise.runs import Runs
from harness.noise.store import Sample
from harness.verdicts.evidence import case_limit
from harness.verdicts.noise_floor import UNDISTURBED, CaseNoise, NoiseFloor, ScalarNoise
from harness.verdicts.noise_model import Noise
from harness.verdicts.rules import ALPHA

__all__ = ["Assembled", "License", "assemble"]


class Assembled(NamedTuple):
    """A floor, and those of its cases that are too far from native float32 to be measured from it."""

    floor: NoiseFloor
    unlicensed: tuple[str, ...]


class License:
    """How far an engine that is not native may be from native float32 and be measured from it.

    What is further off is a difference and no noise. Measured from native float32, an engine's own fault
    would become its noise, and the wider limit would let the fault pass. Allowed is what the noise of the
    native engine in the same dtype (``native``) allows, else the table's limit of log-odds for ``dtype``.
    """

    def __init__(self, native: NoiseFloor | None, *, dtype: str, cases: int) -> None:
        """``cases`` is the number that the limit is corrected for."""
        table = resolve(*known_dtypes(dtype)).log_odds
        self._noise = Noise(native, native, dtypes=(dtype, dtype), table=table)
        self._cases = cases

    def covers(self, case: str, asked: str, reference: Sequence[float], own: Sequence[float]) -> bool:
        """Whether ``own`` log-odds [L] are within noise of the ``reference``'s [L]."""
        far = largest(difference(reference, own))
        noise = self._noise.of(case, asked)
        limit = case_limit(
            ALPHA / max(1, self._cases),
            letters=len(own),
            sigma=noise.sigma,
            freedom=noise.freedom,
            seen=noise.seen,
        )
        return far is not None and far <= limit


def assemble(
    floor: NoiseFloor,
    runs: Runs,
    *,
    asked: Mapping[str, str],
    variants: Sequence[str],
    license_: License | None,
) -> Assembled:
    """``floor`` with its cases, and their divergences, from the samples of ``runs``.

    ``asked`` has what each case asks, by its name. Without a ``license_`` all are measured from the
    reference.
    """
    cases: dict[str, CaseNoise] = {}
    full: dict[str, dict[str, float]] = {}
    unlicensed: list[str] = []
    for case, question in asked.items():
        undisturbed = runs.samples(UNDISTURBED, question)
        if not undisturbed:
            continue
        own = undisturbed[0].log_odds
        reference, from_reference = own, runs.reference == UNDISTURBED
        scalars = undisturbed[0].scalars
        if not from_reference and (found := runs.samples(runs.reference, question)):
            from_reference = license_ is None or license_.covers(case, question, found[0].log_odds, own)
            if from_reference:
                reference, scalars = found[0].log_odds, found[0].scalars
            else:
                unlicensed.append(case)
        samples = {
            name: sample
            for run in (UNDISTURBED, *variants)
            for name, sample in _named(run, runs.samples(run, question) or ()).items()
            # A run is no distance from itself.
            if name != UNDISTURBED or reference is not own
        }
        cases[case] = CaseNoise(
            asked=question,
            reference=reference,
            runs={name: sample.log_odds for name, sample in samples.items()},
            coordinates=coordinates(runs.letters(question)),
            scalars={
                scalar: ScalarNoise(
                    reference=value,
                    runs={name: s.scalars[scalar] for name, s in samples.items() if scalar in s.scalars},
                )
                for scalar, value in scalars.items()
            },
        )
        if from_reference and (largest_ := _largest(samples.values())):
            full[case] = largest_
    return Assembled(replace(floor, cases=cases, full=full), tuple(unlicensed))


def _named(run: str, samples: Sequence[Sample]) -> dict[str, Sample]:
    """Each reading of a run is a sample of its own, the first under the run's name."""
    return {run if number == 0 else f"{run}/{s.path}": s for number, s in enumerate(samples)}


def _largest(samples: Iterable[Sample]) -> dict[str, float]:
    values: dict[str, float] = {}
    for sample in samples:
        for name, value in sample.full.items():
            values[name] = max(value, values.get(name, 0.0))
    return values
