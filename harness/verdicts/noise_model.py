"""From noise floors to how far apart noise brings a baseline and a candidate.

For one engine and case, with K jittered runs b and the reference r, over L letters::

    s²  = Σ_runs Σ_letters (b - r)² / (K (L - 1))          the case's own variance
    σ²  = (K s² + K0 m) / (K + K0),  m = median of s²      moderated, so that few runs give no tiny σ

K0 = 4: the suite counts as much as four runs of the case itself. (Moderation by a prior variance is that of
Smyth, 2004, doi:10.2202/1544-6115.1027, with the prior's weight fixed rather than estimated.)

Not every run says how loud noise is. One that moves the suite less than half as far as the loudest run does
tells that its jitter disturbs little, and no more; and runs nearer to one another than half their distance
from the reference say one thing, such as all those of one attention kernel in bfloat16, which share its
rounding. So the quiet ones are left out, and of those alike the loudest counts.

Noise has heavier tails than a normal distribution. So single moves are judged by Student's t, of as many
degrees of freedom as has a t with the kurtosis of all standardised moves, ν = 4 + 6/κ, with twice the excess
kurtosis κ that is seen, since few values underrate it; and of no more than the variance is known with.

The variances of baseline and candidate add, since each strays on its own. An engine without a floor of its
own is taken to be as noisy as the other side in the same dtype; where there is none either, the table's limit
of log-odds is taken for four standard deviations.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from harness.checks.log_odds import LogOdds, difference, largest, mean_square
from harness.verdicts.noise_floor import CaseNoise, NoiseFloor, PairNoise

__all__ = ["Noise", "NoiseShape", "Place"]

PRIOR_RUNS = 4
_HALF = 0.5
TABLE_SIGMAS = 4.0
# A table does not tell how much whole runs differ from one another. Half a standard deviation is assumed.
_TABLE_BETWEEN = 0.25
# What float32 can hold: a floor of exact repeats would otherwise make any last bit an alarm.
_FLOAT32_STEP = 2.0**-23


class Place(NamedTuple):
    """Where a case stands: its ``cluster``, and the index of its expected letter."""

    cluster: str
    expected: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseShape:
    """How standardised noise is spread, for tests on many cases at once.

    A cluster's root is the mean, over its cases, of the root mean square of a case's moves in units of σ.
    ``root`` is its mean under noise, ``root_variance`` its variance between clusters relative to that mean,
    ``root_between`` the relative variance of whole runs beyond it. ``shift_variance`` and ``shift_between``
    are the same of the expected letter's move in units of σ, whose mean is 0. ``runs`` is the number of runs
    behind them, infinity for a table.
    """

    root: float
    root_variance: float
    root_between: float
    shift_variance: float
    shift_between: float
    runs: float


# Of one standard normal number: the mean of its amount is √(2/π). What noise does between whole runs a table
# does not tell: a quarter of a standard deviation is assumed for the spread, a half for the shift.
_NORMAL = NoiseShape(
    root=math.sqrt(2 / math.pi),
    root_variance=math.pi / 2 - 1,
    root_between=1 / 16,
    shift_variance=1.0,
    shift_between=1 / 4,
    runs=math.inf,
)


class Noise:
    """How far apart noise brings ``a`` and ``b``; either may be None, where the other or a table stands in.

    ``dtypes`` are those that the two sides computed in, ``table`` is the limit of log-odds for them.
    """

    def __init__(
        self, a: NoiseFloor | None, b: NoiseFloor | None, *, dtypes: tuple[str, str], table: float
    ) -> None:
        """Looks at nothing yet."""
        self._table = table
        self._floors = (_floor_for(dtypes[0], a, b), _floor_for(dtypes[1], b, a))
        scales: dict[int, _Scale] = {}
        for floor in self._floors:
            if floor is not None and id(floor) not in scales:
                scales[id(floor)] = _Scale(floor)
        self._scales = tuple(None if f is None else scales[id(f)] for f in self._floors)

    @property
    def words(self) -> str:
        """Where the noise comes from."""
        told = []
        for floor, scale, side in zip(self._floors, self._scales, ("baseline", "candidate"), strict=True):
            if floor is None or scale is None:
                told.append(f"{side}: the table's {self._table:.2g} on log-odds, no noise floor being there")
                continue
            every = len({run for case in floor.cases.values() for run in case.runs})
            whose = f"{floor.profile}/{floor.engine}, {floor.dtype}, {floor.made}"
            whose += f", {floor.kept}" if floor.kept else ""
            told.append(f"{side}: the noise floor of {whose}, {len(scale.runs)} telling runs of {every}")
        texts = {text.partition(": ")[2] for text in told}
        return texts.pop() if len(texts) == 1 else "; ".join(told)

    @property
    def measured(self) -> bool:
        """Whether both sides' noise comes from jittered runs."""
        return all(floor is not None for floor in self._floors)

    def of(self, case: str, asked: str) -> PairNoise:
        """The noise of the case named ``case`` whose question and image have the hash ``asked``."""
        sides = [self._side(scale, case, asked) for scale in self._scales]
        variances = [side.sigma * side.sigma for side in sides]
        total = math.fsum(variances)
        # Welch and Satterthwaite: the freedom of a sum of two estimated variances.
        spent = math.fsum(v * v / side.freedom for v, side in zip(variances, sides, strict=True))
        return PairNoise(
            sigma=math.sqrt(total),
            freedom=total * total / spent if spent else math.inf,
            seen=math.hypot(*(side.seen for side in sides)),
            measured=all(side.measured for side in sides),
        )

    def shape(self, places: Mapping[str, Place]) -> NoiseShape:
        """How the standardised noise of the cases in ``places`` is spread."""
        shapes = [_NORMAL if scale is None else scale.shape(places) for scale in self._scales]
        variances = [math.inf if scale is None else scale.typical for scale in self._scales]
        if math.inf in variances:
            variances = [1.0 if v == math.inf else 0.0 for v in variances]  # a table outweighs a floor
        total = math.fsum(variances) or 1.0
        shares = [v / total if math.fsum(variances) else 0.5 for v in variances]
        pairs = list(zip(shares, shapes, strict=True))
        return NoiseShape(
            root=math.fsum(w * shape.root for w, shape in pairs),
            root_variance=max(shape.root_variance for shape in shapes),
            root_between=math.fsum(w * w * shape.root_between for w, shape in pairs),
            shift_variance=max(shape.shift_variance for shape in shapes),
            shift_between=math.fsum(w * shape.shift_between for w, shape in pairs),
            runs=min(shape.runs for shape in shapes),
        )

    def _side(self, scale: _Scale | None, case: str, asked: str) -> PairNoise:
        if scale is not None and (found := scale.of(case, asked)) is not None:
            return found
        sigma = self._table / TABLE_SIGMAS / math.sqrt(2)
        # Half, as `limit` takes twice what was seen.
        return PairNoise(sigma=sigma, freedom=math.inf, seen=self._table / 2 / math.sqrt(2), measured=False)


def _floor_for(dtype: str, own: NoiseFloor | None, other: NoiseFloor | None) -> NoiseFloor | None:
    if own is not None:
        return own
    return other if other is not None and other.dtype == dtype else None


def _telling_runs(cases: Mapping[str, CaseNoise]) -> tuple[str, ...]:
    """The names of the runs that say how loud noise is; see the top of this module."""
    names = dict.fromkeys(name for case in cases.values() for name in case.runs)
    far = {name: _apart(cases.values(), name) for name in names}
    loudest = max(far.values(), default=0.0)
    kept: list[str] = []
    for name in sorted(names, key=lambda name: -far[name]):
        if not far[name] or far[name] < _HALF * loudest:
            break
        if all(_apart(cases.values(), name, other) >= _HALF * far[name] for other in kept):
            kept.append(name)
    return tuple(name for name in names if name in kept)


def _apart(cases: Iterable[CaseNoise], run: str, other: str | None = None) -> float:
    """Root mean square distance of a run from another, or from the reference, over all cases."""
    squares = []
    for case in cases:
        base = case.reference if other is None else case.runs.get(other)
        if base is None or run not in case.runs:
            continue
        moved = difference(base, case.runs[run])
        if largest(moved) is not None:
            squares.append(mean_square(moved))
    return math.sqrt(math.fsum(squares) / len(squares)) if squares else 0.0


class _Scale:
    """What one floor says of each case, moderated, and of whole runs."""

    def __init__(self, floor: NoiseFloor) -> None:
        self._cases = floor.cases
        self.runs = _telling_runs(floor.cases)
        self._moved = {name: self._moves(case) for name, case in floor.cases.items()}
        self._squares = {
            name: {run: mean_square(move) for run, move in moved.items() if largest(move) is not None}
            for name, moved in self._moved.items()
        }
        known = [statistics.fmean(own.values()) for own in self._squares.values() if own]
        self.typical = statistics.median(known) if known else 0.0
        self._tail = self._freedom_of_tail()

    def _moves(self, case: CaseNoise) -> dict[str, LogOdds]:
        return {name: difference(case.reference, case.runs[name]) for name in self.runs if name in case.runs}

    def of(self, case: str, asked: str) -> PairNoise | None:
        """The noise of this side of a case; None where the floor does not know it as it is asked now."""
        known = self._cases.get(case)
        if known is None or known.asked != asked:
            return None
        moved, letters = self._moved[case], len(known.reference)
        return PairNoise(
            sigma=self._sigma(case),
            freedom=min(self._tail, (len(moved) + PRIOR_RUNS) * (letters - 1)),
            seen=max((far for move in moved.values() if (far := largest(move)) is not None), default=0.0),
            measured=True,
        )

    def _sigma(self, case: str) -> float:
        highest = max((abs(v) for v in self._cases[case].reference if not math.isnan(v)), default=1.0)
        return max(math.sqrt(self._moderated(case)), _FLOAT32_STEP * max(1.0, highest))

    def _moderated(self, case: str, *, without: str | None = None) -> float:
        """The case's variance, moderated with the typical one of the suite."""
        own = [square for run, square in self._squares[case].items() if run != without]
        return (math.fsum(own) + PRIOR_RUNS * self.typical) / (len(own) + PRIOR_RUNS)

    def _freedom_of_tail(self) -> float:
        """The degrees of freedom of Student's t with the kurtosis of all standardised moves; see above."""
        values = [
            value / math.sqrt(variance)
            for name, runs in self._moved.items()
            for run, moved in runs.items()
            # Without the run itself: in a variance that it is part of, it never looks far out.
            if (variance := self._moderated(name, without=run)) > 0
            for value in moved
            if not math.isnan(value)
        ]
        square = math.fsum(v**2 for v in values)
        if not square:
            return math.inf
        excess = len(values) * math.fsum(v**4 for v in values) / square**2 - 3
        return 4 + 6 / (2 * excess) if excess > 0 else math.inf

    def shape(self, places: Mapping[str, Place]) -> NoiseShape:
        """See `Noise.shape`."""
        roots: dict[str, dict[str, list[float]]] = {run: defaultdict(list) for run in self.runs}
        shifts: dict[str, dict[str, list[float]]] = {run: defaultdict(list) for run in self.runs}
        for name in sorted(self._cases.keys() & places.keys()):
            sigma, place = self._sigma(name), places[name]
            for run, square in self._squares[name].items():
                roots[run][place.cluster].append(math.sqrt(square) / sigma)
                if not math.isnan(shift := self._moved[name][run][place.expected]):
                    shifts[run][place.cluster].append(shift / sigma)
        spread, moved = _spread(roots.values()), _spread(shifts.values(), around=0.0)
        if spread is None or moved is None or not spread.mean:
            return _NORMAL
        return NoiseShape(
            root=spread.mean,
            root_variance=spread.within / spread.mean**2,
            root_between=spread.between / spread.mean**2,
            shift_variance=moved.within,
            shift_between=moved.between,
            runs=len(self.runs),
        )


class _Spread(NamedTuple):
    mean: float
    within: float
    between: float


def _spread(runs: Iterable[Mapping[str, Sequence[float]]], *, around: float | None = None) -> _Spread | None:
    """The mean of clusters' means, their variance in one run, and that of whole runs beyond it.

    By the method of moments: a run's mean over n clusters varies by within/n, and what it varies more, around
    ``around`` or the mean of all runs, is between runs. None where there are not two clusters.
    """
    values = [[statistics.fmean(own) for own in run.values()] for run in runs]
    values = [run for run in values if len(run) > 1]
    if not values:
        return None
    means = [statistics.fmean(run) for run in values]
    centre = statistics.fmean(means)
    within = statistics.fmean(_variance(run) for run in values)
    chance = statistics.fmean(_variance(run) / len(run) for run in values)
    if around is not None:
        varied = statistics.fmean((mean - around) ** 2 for mean in means)
    else:
        varied = _variance(means) if len(means) > 1 else 0.0
    return _Spread(centre, within, max(0.0, varied - chance))


def _variance(values: Sequence[float]) -> float:
    # statistics.variance computes in fractions, which takes most of the time of a judgement.
    mean = math.fsum(values) / len(values)
    return math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
