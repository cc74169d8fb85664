"""From noise floors to how far apart noise brings a baseline and a candidate.

An answer has coordinates of several kinds: the letters' log-odds, and the scalars beside them, each kind with
a noise of its own (`harness.verdicts.scale`). The variances of baseline and candidate add, since each strays
on its own. An engine without a floor of its own is taken to be as noisy as the other side in the same dtype;
where there is none either, the table's limit of log-odds is taken for four standard deviations of a pair.

Not every run says how loud noise is. One that moves the suite less than half as far as the loudest run does
tells that its jitter disturbs little, and no more; and runs nearer to one another than half their distance
from the reference say one thing, such as all those of one attention kernel in bfloat16, which share its
rounding. So the quiet ones are left out, and of those alike the loudest counts.

Noise has heavier tails than a normal distribution. So single moves are judged by Student's t. One with the
excess kurtosis κ of all standardised moves has ν = 4 + 6/κ degrees of freedom; ν = 3 + 6/(3 κ) are taken, as
few values underrate κ and no κ tells of a tail of less than 4, and no more than the variance is known with.
Of a pair κ = Σ w² κ, w being each side's share of the variance. A floor that stands for both sides is
one estimate, and two know no more than the one that knows less.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from harness.checks.log_odds import RESOLUTION, SCALARS, difference, largest, share_of
from harness.checks.tolerances import known_dtypes
from harness.verdicts.noise_floor import UNDISTURBED, CaseNoise, NoiseFloor, PairNoise
from harness.verdicts.scale import Floats, Scale, scale_of

__all__ = ["LETTERS", "CaseKey", "KindNoise", "Noise", "dtype_step", "quieter", "telling_runs"]

LETTERS = "letters"
"""The kind of the letters' log-odds, beside the names of `harness.checks.log_odds.SCALARS`."""

TABLE_SIGMAS = 4.0
_HALF = 0.5
_ROUNDED = 1e-6  # to which the sum of probabilities is known whose logarithms have six decimals
_KURTOSIS_UNSEEN, _FEWEST_FREEDOM = 3.0, 3.0
_BITS: Mapping[str, int] = {"float32": 23, "float16": 10, "bfloat16": 7}
# Runs in which another kernel computes the same: other rounding, and not other jitter.
_OTHER_KERNEL = ("attention-", "path-", "threads-", "eager", "graphs")
_Built = tuple[Scale, dict[str, int], dict[str, str], float]


class CaseKey(NamedTuple):
    """A case by its ``name`` and the hash of what it ``asked``.

    ``largest`` is the largest raw logit of its letters, and ``rest`` its
    `harness.checks.log_odds.REST`, for what the dtype and a recording can resolve there.
    """

    name: str
    asked: str
    largest: float = 1.0
    rest: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class KindNoise:
    """The noise of n cases in one kind of coordinate.

    ``variances`` [2, n] are the sides' σ², ``freedom`` [n] the degrees of freedom of the pair's tail,
    ``freedom_of_side`` [n] of one side's, ``known`` [n] those with which the variance is known. ``measured``
    [n] tells cases that a floor knows. The louder side's runs are ``moves`` [K, n, C], ``squares`` and
    ``free`` [K, n] with σ² made ``without`` the run [K, n], its ``lifted`` [n], ``typical`` and ``prior``
    (see `harness.verdicts.scale.Scale`); ``share`` [n] is that side's share of the pair's variance. Without
    runs (``table`` not 0) noise is a table's, whose limit on a move that is.
    """

    variances: Floats
    freedom: Floats
    freedom_of_side: Floats
    known: Floats
    measured: npt.NDArray[np.bool_]
    table: float
    moves: Floats
    squares: Floats
    free: Floats
    without: Floats
    lifted: Floats
    share: Floats
    typical: float
    prior: float

    @property
    def variance(self) -> Floats:
        """Of the pair [n]."""
        total: Floats = self.variances.sum(0)
        return total

    @property
    def runs(self) -> int:
        """How many telling runs are behind it."""
        return len(self.squares)


class Noise:
    """How far apart noise brings ``a`` and ``b``; either may be None, where the other or a table stands in.

    ``dtypes`` are those that the two sides computed in, ``table`` is the limit of log-odds for them,
    ``rounding`` the variance that rounding of accepted numbers adds. ``note`` is told with the words.
    """

    def __init__(
        self,
        a: NoiseFloor | None,
        b: NoiseFloor | None,
        *,
        dtypes: tuple[str, str],
        table: float,
        rounding: float = 0.0,
        note: str = "",
    ) -> None:
        """Looks at nothing yet."""
        self.table = table
        self._dtypes = dtypes
        self._rounding = rounding
        self._note = note
        self._floors = (_floor_for(dtypes[0], a, b), _floor_for(dtypes[1], b, a))
        self._telling = {id(f): telling_runs(f.cases) for f in self._floors if f is not None}
        self._built: dict[tuple[str, int], tuple[object, _Built | None]] = {}

    @property
    def words(self) -> str:
        """Where the noise comes from."""
        told = []
        for floor, side in zip(self._floors, ("baseline", "candidate"), strict=True):
            if floor is None:
                told.append(f"{side}: the table's {self.table:.2g} on log-odds, no noise floor being there")
                continue
            every = len({run for case in floor.cases.values() for run in case.runs})
            whose = f"{floor.profile}/{floor.engine}, {floor.dtype}, {floor.made}"
            whose += f", {floor.kept}" if floor.kept else ""
            runs = self._telling[id(floor)]
            text = f"{side}: the noise floor of {whose}, {len(runs)} telling runs of {every}"
            if _within_one_kernel(floor):
                text += "; noise within one kernel only, so the dtype's table is used where it is wider"
            told.append(text)
        texts = {text.partition(": ")[2] for text in told}
        text = texts.pop() if len(texts) == 1 else "; ".join(told)
        return f"{text}; {self._note}" if self._note else text

    @property
    def scale(self) -> Scale | None:
        """The letters' scale of the candidate's floor, as it is without any case to judge."""
        floor, dtype = self._floors[1], self._dtypes[1]
        built = None if floor is None else self._scale(LETTERS, floor, dtype, {}, 0.0)
        return None if built is None else built[0]

    @property
    def measured(self) -> bool:
        """Whether both sides' noise comes from jittered runs."""
        return all(floor is not None for floor in self._floors)

    def of(self, case: str, asked: str) -> PairNoise:
        """The noise of the case named ``case`` whose question and image have the hash ``asked``."""
        noise = self._kind(LETTERS, [CaseKey(case, asked)], alone=True)
        seen = [self._seen(floor, case, asked) for floor in self._floors]
        return PairNoise(
            sigma=math.sqrt(noise.variance[0]),
            freedom=float(noise.freedom[0]),
            seen=math.hypot(*seen),
            measured=bool(noise.measured[0]) and not noise.table,
        )

    def over(self, cases: Sequence[CaseKey]) -> dict[str, KindNoise]:
        """The noise of ``cases``, by kind."""
        return {kind: self._kind(kind, cases) for kind in (LETTERS, *SCALARS)}

    def reference(self, case: str, asked: str) -> tuple[float, ...] | None:
        """The letters' centred log-odds [L] in float32, where a floor was measured from them."""
        for floor in self._floors:
            known = None if floor is None else floor.cases.get(case)
            if known is not None and known.asked == asked and UNDISTURBED in known.runs:
                return known.reference
        return None

    def _kind(self, kind: str, cases: Sequence[CaseKey], *, alone: bool = False) -> KindNoise:
        sides = [self._side(kind, place, cases, alone=alone) for place in (0, 1)]
        variances = np.stack([side.variance for side in sides]) + self._rounding / 2
        total = variances.sum(0)
        shares = variances / total
        kurtosis = sum(share**2 * side.kurtosis for share, side in zip(shares, sides, strict=True))
        known = np.minimum(sides[0].known, sides[1].known)
        louder = max((0, 1), key=lambda at: (sides[at].scale is None, float(np.median(sides[at].variance))))
        scale, index = sides[louder].scale, sides[louder].places
        if scale is None:
            runs = np.zeros((0, len(cases)))
            moves, squares, free, without = np.zeros((0, len(cases), 1)), runs, runs, runs
            lifted, typical, prior = np.zeros(len(cases)), 0.0, math.inf
        else:
            there = index >= 0
            moves = np.where(there[None, :, None], scale.moves[:, index], np.nan)
            squares = np.where(there, scale.squares[:, index], 0.0)
            free = np.where(there, scale.free[:, index], 0.0)
            without = scale.without[:, index]
            lifted = np.where(there, scale.lifted[index], 0.0)
            typical, prior = scale.typical, scale.prior
        return KindNoise(
            variances=variances,
            freedom=np.minimum(_tail(kurtosis), known),
            freedom_of_side=np.minimum(_tail(np.full(len(cases), sides[louder].kurtosis)), known),
            known=known,
            measured=np.minimum(sides[0].places, sides[1].places) >= 0,
            table=self.table if scale is None else 0.0,
            moves=moves,
            squares=squares,
            free=free,
            without=without,
            lifted=lifted,
            share=shares[louder],
            typical=typical,
            prior=prior,
        )

    def _side(self, kind: str, place: int, cases: Sequence[CaseKey], *, alone: bool) -> _Side:
        floor, dtype = self._floors[place], self._dtypes[place]
        by_table = (self.table / TABLE_SIGMAS) ** 2 / 2
        least = {case.name: dtype_step(dtype, case.largest) ** 2 / 12 for case in cases}
        if kind != LETTERS:
            resolution = _ROUNDED if self._rounding else RESOLUTION
            least = {case.name: max(least[case.name], _resolved(case.rest, resolution)) for case in cases}
        lowest = np.array([least[case.name] for case in cases])
        built = None if floor is None else self._scale(kind, floor, dtype, {} if alone else least, by_table)
        if built is None:
            return _Side(
                scale=None,
                places=np.full(len(cases), -1),
                variance=np.maximum(by_table, lowest),
                known=np.full(len(cases), math.inf),
                kurtosis=0.0,
            )
        scale, names, asked, within = built
        index = np.array(
            [names[c.name] if c.name in names and asked[c.name] == c.asked else -1 for c in cases], dtype=int
        )
        there = index >= 0
        own = np.maximum(scale.variance[index] - scale.lifted[index], within)
        # A case that the floor does not know, as it was edited, is as loud as is typical.
        return _Side(
            scale=scale,
            places=index,
            variance=np.maximum(np.where(there, own, scale.typical), lowest),
            known=np.where(there, scale.known[index], scale.prior),
            kurtosis=scale.kurtosis,
        )

    def _scale(
        self, kind: str, floor: NoiseFloor, dtype: str, least: Mapping[str, float], by_table: float
    ) -> _Built | None:
        """A floor's scale, the places of its cases, what they asked, the least σ²; None without the kind."""
        place, wanted = (kind, id(floor)), (dtype, tuple(least.items()), by_table)
        # The latest alone is kept, of a judgement's cases, or of the floor as it is for cases one by one.
        if self._built.get(place, (None, None))[0] != wanted:
            self._built[place] = wanted, self._build(kind, floor, dtype, least, by_table)
        return self._built[place][1]

    def _build(
        self, kind: str, floor: NoiseFloor, dtype: str, least: Mapping[str, float], by_table: float
    ) -> _Built | None:
        runs = self._telling[id(floor)]
        cases = {name: case for name, case in floor.cases.items() if kind == LETTERS or kind in case.scalars}
        if not cases or not runs:
            return None
        moves = _moves(cases.values(), runs) if kind == LETTERS else _scalar_moves(kind, cases.values(), runs)
        shared = np.array([UNDISTURBED not in case.runs for case in cases.values()])
        within = by_table if _within_one_kernel(floor) and math.isfinite(by_table) else 0.0
        lowest = np.full(len(cases), within)
        for place, (name, case) in enumerate(cases.items()):
            known = least.get(name)
            if known is None:
                usual = max((abs(v) for v in case.reference if not math.isnan(v)), default=1.0)
                known = dtype_step(dtype, usual) ** 2 / 12
            lowest[place] = max(known, within)
        scale = scale_of(runs, moves, centred=kind == LETTERS, least=lowest, shared=shared)
        names = {name: place for place, name in enumerate(cases)}
        return scale, names, {name: case.asked for name, case in cases.items()}, within

    def _seen(self, floor: NoiseFloor | None, case: str, asked: str) -> float:
        """The largest move that a side's runs showed; of a table half its limit, which is taken twice."""
        known = None if floor is None else floor.cases.get(case)
        if floor is None or known is None or known.asked != asked:
            return self.table / 2 / math.sqrt(2)
        runs = self._telling[id(floor)]
        moved = [difference(known.reference, known.runs[run]) for run in runs if run in known.runs]
        return max((far for move in moved if (far := largest(move)) is not None), default=0.0)


class _Side(NamedTuple):
    """One side's part of a `KindNoise`; ``places`` [n] are those of cases in ``scale``, -1 for none."""

    scale: Scale | None
    places: npt.NDArray[np.int64]
    variance: Floats
    known: Floats
    kurtosis: float


def dtype_step(dtype: str, largest: float) -> float:
    """The spacing of numbers of the coarsest of ``dtype`` (such as ``bfloat16+float32``) at ``largest``."""
    return float(2.0 ** (math.floor(math.log2(max(abs(largest), 1.0))) - _bits(dtype)))


@cache
def _bits(dtype: str) -> int:
    return min((_BITS[one] for one in known_dtypes(dtype)), default=_BITS["bfloat16"])


def quieter(own: NoiseFloor, other: NoiseFloor) -> tuple[NoiseFloor, float]:
    """The less loud of two floors of one dtype, and how many times as loud ``own`` is as ``other``."""
    loud = [
        math.sqrt(scale.typical)
        for floor in (own, other)
        if (scale := Noise(floor, floor, dtypes=(floor.dtype,) * 2, table=math.inf).scale) is not None
    ]
    if len(loud) < 2 or not loud[1]:
        return own, 1.0
    return (other if loud[0] > loud[1] else own), loud[0] / loud[1]


def _tail(kurtosis: Floats) -> Floats:
    """Degrees of freedom of a tail of this excess kurtosis; see the top of this module."""
    with np.errstate(divide="ignore"):
        return _FEWEST_FREEDOM + 6 / (_KURTOSIS_UNSEEN * kurtosis)


def _resolved(rest: float, resolution: float) -> float:
    """The variance that a recording leaves open of the log-odds of a probability known to ``resolution``."""
    share = share_of(rest)
    return (resolution / max(resolution / 100, share * (1 - share))) ** 2 / 3


def _within_one_kernel(floor: NoiseFloor) -> bool:
    """Whether neither a reference in float32 nor a run with another kernel tells how loud another one is."""
    runs = {run for case in floor.cases.values() for run in case.runs}
    # A second path of a run goes through kernels of its own, and is named behind a slash.
    return UNDISTURBED not in runs and not any(run.startswith(_OTHER_KERNEL) or "/" in run for run in runs)


def _floor_for(dtype: str, own: NoiseFloor | None, other: NoiseFloor | None) -> NoiseFloor | None:
    if own is not None:
        return own
    return other if other is not None and other.dtype == dtype else None


def telling_runs(cases: Mapping[str, CaseNoise]) -> tuple[str, ...]:
    """The names of the runs that say how loud noise is; see the top of this module."""
    names = tuple(dict.fromkeys(name for case in cases.values() for name in case.runs))
    moves = _moves(cases.values(), names)
    far = [_root(moved) for moved in moves]
    kept: list[int] = []
    for run in (order := sorted(range(len(names)), key=lambda run: -far[run])):
        if not far[run] or far[run] < _HALF * far[order[0]]:
            break
        if all(_root(_centred(moves[run] - moves[other])) >= _HALF * far[run] for other in kept):
            kept.append(run)
    return tuple(name for run, name in enumerate(names) if run in kept) or names[:1]


def _moves(cases: Collection[CaseNoise], runs: Sequence[str]) -> Floats:
    """How far letters are from the reference [K, n, L]; NaN where a run or the reference has none."""
    width = max((len(case.reference) for case in cases), default=1)
    unseen = (math.nan,) * width

    def rows(values: Iterable[Sequence[float] | None]) -> Floats:
        return np.array([(*value, *unseen[len(value) :]) if value else unseen for value in values])

    if not cases or not runs:
        return np.full((len(runs), len(cases), width), np.nan)
    reference = rows(case.reference for case in cases)
    return np.stack([_centred(rows(case.runs.get(run) for case in cases) - reference) for run in runs])


def _scalar_moves(kind: str, cases: Collection[CaseNoise], runs: Sequence[str]) -> Floats:
    """The same of a scalar [K, n, 1]."""
    own = [case.scalars[kind] for case in cases]
    moved = [[scalar.runs.get(run, math.nan) - scalar.reference for scalar in own] for run in runs]
    return np.array(moved)[..., None]


def _centred(moved: Floats) -> Floats:
    """Each case's moves [n, L] less their mean; NaN where fewer than two letters can be compared."""
    seen = ~np.isnan(moved)
    count = seen.sum(-1, keepdims=True)
    mean = np.where(seen, moved, 0.0).sum(-1, keepdims=True) / np.maximum(count, 1)
    return np.where(count > 1, moved - mean, np.nan)


def _root(moved: Floats) -> float:
    """Root mean square over the cases of centred moves [n, L]."""
    free = (~np.isnan(moved)).sum(-1) - 1
    told = free > 0
    squares = np.nansum(moved**2, -1)[told] / free[told]
    return math.sqrt(float(squares.mean())) if squares.size else 0.0
