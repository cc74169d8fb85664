"""What a floor says, in figures: per suite, per variant, and the worst cases."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace

from harness.cases.suites import Case
from harness.checks.log_odds import LogOdds, difference, largest, mean_square
from harness.engines.contract import Json
from harness.noise.measuring import Measured
from harness.noise.repeats import repeats_words
from harness.verdicts.noise_floor import CaseNoise, NoiseFloor
from harness.verdicts.noise_model import Noise, telling_runs

__all__ = ["EngineFigures", "MovedCase", "SuiteFigures", "VariantFigures", "figures_for"]

_WORST = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class MovedCase:
    """A case that moved far: the ``largest`` change of a letter's log-odds, and in which ``variant``."""

    case: str
    place: str
    largest: float
    variant: str
    letter: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteFigures:
    """One suite's noise, in log-odds.

    ``sigma`` is the standard deviation of one letter in the middle of the cases, ``worst_sigma`` the largest.
    ``flips`` counts the runs of cases in which another letter came out on top, of ``chances``. ``most`` is
    the run that is farthest from the reference. ``kl`` is the largest divergence, None without rows.
    """

    suite: str
    cases: int
    sigma: float
    worst_sigma: float
    largest: float
    flips: int
    chances: int
    most: str
    kl: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantFigures:
    """How far one run was from the reference: root mean square and largest of log-odds, over cases."""

    variant: str
    cases: int
    rms: float
    largest: float
    flips: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineFigures:
    """All figures of one engine; those of cases are empty where it has no floor, and ``problem`` says why.

    ``refused`` says why the floor is not used, ``telling`` names the runs that say how loud noise is.
    """

    profile: str
    engine: str
    made: int
    day: str
    device: str
    dtype: str
    problem: str
    notes: tuple[str, ...]
    repeats: str = ""
    refused: str = ""
    telling: tuple[str, ...] = ()
    suites: tuple[SuiteFigures, ...] = ()
    variants: tuple[VariantFigures, ...] = ()
    worst: tuple[MovedCase, ...] = ()

    def to_json(self) -> dict[str, Json]:
        """Everything, for machines."""
        return asdict(self)


def figures_for(measured: Measured, cases: Sequence[Case]) -> EngineFigures:
    """The figures of one engine; ``cases`` know their places and letters."""
    floor = measured.floor
    known = [] if floor is None else [case for case in cases if case.name in floor.cases]
    figures = EngineFigures(
        profile=measured.profile,
        engine=measured.engine,
        made=measured.made,
        day="" if floor is None else floor.made,
        device="" if floor is None else floor.device,
        dtype="" if floor is None else floor.dtype,
        problem=measured.problem,
        notes=measured.notes,
        repeats="" if floor is None else repeats_words(floor.repeats),
        refused=measured.refused,
        telling=() if floor is None else telling_runs(floor.cases),
    )
    if floor is None or not known:
        return figures
    suites: dict[str, list[Case]] = {}
    for case in known:
        suites.setdefault(case.suite, []).append(case)
    both = Noise(floor, floor, dtypes=(floor.dtype, floor.dtype), table=math.inf)
    moved = [_moved(case, floor.cases[case.name]) for case in known]
    worst = sorted((one for one in moved if one is not None), key=lambda one: -one.largest)
    return replace(
        figures,
        suites=tuple(_suite(name, own, floor, both) for name, own in suites.items()),
        variants=_variants([floor.cases[case.name] for case in known]),
        worst=tuple(worst[:_WORST]),
    )


def _suite(name: str, cases: Sequence[Case], floor: NoiseFloor, both: Noise) -> SuiteFigures:
    """``both`` is the noise between two sides that have ``floor``."""
    noises = [floor.cases[case.name] for case in cases]
    # Two sides of equal noise are √2 as far apart as one strays.
    sigmas = [both.of(case.name, floor.cases[case.name].asked).sigma / math.sqrt(2) for case in cases]
    variants = _variants(noises)
    kls = [floor.full[case.name]["kl"] for case in cases if "kl" in floor.full.get(case.name, {})]
    return SuiteFigures(
        suite=name,
        cases=len(cases),
        sigma=statistics.median(sigmas),
        worst_sigma=max(sigmas),
        largest=max((variant.largest for variant in variants), default=0.0),
        flips=sum(variant.flips for variant in variants),
        chances=sum(variant.cases for variant in variants),
        most=max(variants, key=lambda variant: variant.rms).variant if variants else "",
        kl=max(kls, default=None),
    )


def _variants(noises: Iterable[CaseNoise]) -> tuple[VariantFigures, ...]:
    """By the name of the run, farthest first."""
    runs: dict[str, list[tuple[CaseNoise, LogOdds]]] = {}
    for noise in noises:
        for name, values in noise.runs.items():
            moves = difference(noise.reference, values)
            if largest(moves) is not None:
                runs.setdefault(name, []).append((noise, moves))
    found = [
        VariantFigures(
            variant=name,
            cases=len(own),
            rms=math.sqrt(statistics.fmean(mean_square(moves) for _, moves in own)),
            largest=max(far for _, moves in own if (far := largest(moves)) is not None),
            flips=sum(_top(noise.reference) != _top(noise.runs[name]) for noise, _ in own),
        )
        for name, own in runs.items()
    ]
    return tuple(sorted(found, key=lambda variant: -variant.rms))


def _moved(case: Case, noise: CaseNoise) -> MovedCase | None:
    """Where a case moved most; None where nothing can be compared."""
    best: MovedCase | None = None
    for name, values in noise.runs.items():
        moves = difference(noise.reference, values)
        far = largest(moves)
        if far is None or (best is not None and far <= best.largest):
            continue
        letter = next(letter for letter, move in zip(case.letters, moves, strict=True) if abs(move) == far)
        best = MovedCase(case=case.name, place=str(case.location), largest=far, variant=name, letter=letter)
    return best


def _top(log_odds: Sequence[float]) -> int:
    return max(range(len(log_odds)), key=lambda i: (not math.isnan(log_odds[i]), log_odds[i]))
