"""The change of accuracy between two sides that answered the same cases. Pure functions of right and wrong.

Cases that share a cluster, such as an image, do not change independently of one another. How much less they
tell is their design effect, 1 for one case to a cluster (Kish, Survey Sampling, 1965, section 5.4); all
counts are divided by it. Measured in docs/calibration.md.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.verdicts.rules import CONFIDENCE

__all__ = [
    "MARGIN",
    "AccuracyChange",
    "LostAndGained",
    "accuracy_change",
    "cases_for",
    "margin_for",
    "points",
]

MARGIN = 0.02
"""The loss of accuracy, a share of the cases, that another model must be shown not to reach."""

_ONE_SIDED = 1.645  # the normal quantile of 5%
_PLANNED = _ONE_SIDED + 0.842  # normal quantiles of 5% on one side and of a power of 80%, as tables have them
_PRIOR = 5.0  # changed answers, in clusters that changed as a whole, that the design effect starts from
_HALVINGS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyChange:
    """Accuracies and their change, all as shares of ``cases``; ``change`` is candidate less baseline.

    ``low`` and ``high`` are its 95% interval (one more lost and one more gained; Bonett and Price, 2012,
    doi:10.3102/1076998611411915), ``upper_loss`` is what the loss is under with 95% confidence, below 0 for
    a gain (score test; Tango, 1998, doi:10.1002/(SICI)1097-0258(19980430)17:8<891::AID-SIM780>3.0.CO;2-B).
    ``lost`` and ``gained`` count right answers. ``p_lost`` and ``p_gained`` are one-sided and exact: the sign
    of each cluster's net change is a coin's, which is McNemar's test for one case to a cluster. ``design`` is
    the design effect.
    """

    cases: int
    clusters: int
    baseline: float
    candidate: float
    change: float
    low: float
    high: float
    upper_loss: float
    lost: int
    gained: int
    p_lost: float
    p_gained: float
    design: float

    def noninferior(self, margin: float) -> bool:
        """Whether a loss of ``margin`` or more is excluded with 95% confidence."""
        return self.upper_loss < margin

    def worse(self, margin: float, *, alpha: float) -> bool:
        """Whether a loss of ``margin`` or less is excluded at ``alpha``."""
        counts = (self.lost / self.design, self.gained / self.design, self.cases / self.design)
        return _score(*counts, change=-margin) < -_quantile(alpha, self.cases, self.clusters)

    @property
    def words(self) -> str:
        """Such as '80.0% → 90.5%, +10.5 points [+5.4, +15.4] (95%), 24 gained and 3 lost'."""
        low, high = (points(end, sign=True) for end in (self.low, self.high))
        return (
            f"{self.baseline:.1%} → {self.candidate:.1%}, {points(self.change, sign=True)} points "
            f"[{low}, {high}] (95%), {self.gained} gained and {self.lost} lost"
        )

    @property
    def decides(self) -> float:
        """The margin that so many such cases can be planned for, see `margin_for`; 1 at most."""
        cases = self.cases / self.design + 2
        return min(1.0, margin_for(cases, ((self.lost + self.gained) / self.design + 2) / cases))

    def missing(self, margin: float) -> int | None:
        """About how many more such cases `noninferior` takes if a loss seen is true; None: no number does."""
        room = margin + min(0.0, self.change)
        if room <= 0:
            return None
        return max(1, math.ceil(self.cases * ((self.decides / room) ** 2 - 1)))


@dataclass(frozen=True, slots=True, kw_only=True)
class LostAndGained:
    """Right answers on both sides of all cases whose answers are known on both.

    ``lost`` and ``gained`` are names of cases. ``tags`` and ``expected`` have the change among the cases of
    each tag, and of each expected letter.
    ``letters`` counts answers by what they were and what they became, the most frequent first.
    """

    change: AccuracyChange
    lost: tuple[str, ...]
    gained: tuple[str, ...]
    tags: Mapping[str, AccuracyChange]
    expected: Mapping[str, AccuracyChange]
    letters: Mapping[tuple[str, str], int]


def accuracy_change(
    before: Sequence[float] | npt.NDArray[np.generic],
    after: Sequence[float] | npt.NDArray[np.generic],
    clusters: Sequence[Hashable],
) -> AccuracyChange:
    """The change from ``before`` [n] to ``after`` [n], 1 where a side was right and 0 where it was wrong.

    ``clusters`` [n] names each case's cluster. Raises ValueError without a case and for unequal lengths.
    """
    old, new = (np.asarray(side).astype(np.int64) for side in (before, after))
    cases = len(old)
    if not cases or not cases == len(new) == len(clusters):
        raise ValueError(f"found {cases}, {len(new)} and {len(clusters)} cases; allowed: as many, and one")
    numbers = {name: number for number, name in enumerate(dict.fromkeys(clusters))}
    place = np.array([numbers[name] for name in clusters])
    sizes = np.bincount(place)
    net = np.bincount(place, weights=new - old)
    lost, gained = int((old > new).sum()), int((old < new).sum())
    change = (gained - lost) / cases
    # A cluster that changed as a whole adds its squared size to the variance, and its size if by chance.
    whole = float((sizes**2).sum()) / cases
    squares = float(((net - sizes * change) ** 2).sum())
    design = 1.0 if len(sizes) == cases else max(1.0, (squares + _PRIOR * whole) / (lost + gained + _PRIOR))
    fewer, more, effective = lost / design, gained / design, cases / design
    down, up = (fewer + 1) / (effective + 2), (more + 1) / (effective + 2)
    deviation = math.sqrt((up + down - (up - down) ** 2) / (effective + 2))
    half = _quantile((1 - CONFIDENCE) / 2, cases, len(sizes)) * deviation
    limit = _quantile(1 - CONFIDENCE, cases, len(sizes))
    least, most = -1.0, 1.0
    for _ in range(_HALVINGS):
        middle = (least + most) / 2
        beyond = _score(fewer, more, effective, change=middle) > limit
        least, most = (middle, most) if beyond else (least, middle)
    return AccuracyChange(
        cases=cases,
        clusters=len(sizes),
        baseline=float(old.mean()),
        candidate=float(new.mean()),
        change=change,
        low=max(-1.0, up - down - half),
        high=min(1.0, up - down + half),
        upper_loss=-least,
        lost=lost,
        gained=gained,
        p_lost=_by_signs(net, lost - gained),
        p_gained=_by_signs(net, gained - lost),
        design=design,
    )


def cases_for(margin: float, discordance: float) -> int:
    """How many cases show with power 0.8 that a loss is under ``margin`` where in truth there is no change.

    ``discordance`` is the share of cases of which one side only is right. By the normal approximation,
    n = (z₀.₀₅ + z₀.₂)² d / margin², for cases that change independently; and no fewer than the score test
    takes where none changes, z₀.₀₅² (1 - margin) / margin.
    """
    by_change = _PLANNED**2 * discordance / margin**2
    return math.ceil(max(by_change, _ONE_SIDED**2 * (1 - margin) / margin))


def margin_for(cases: float, discordance: float) -> float:
    """The margin for which so many ``cases`` are enough, as in `cases_for`."""
    return max(_PLANNED * math.sqrt(discordance / cases), _ONE_SIDED**2 / (cases + _ONE_SIDED**2))


def points(share: float, *, sign: bool = False) -> str:
    """A share as points of a hundred: '2', '+10.5'."""
    return f"{100 * share:{'+.1f' if sign else '.3g'}}"


def _score(lost: float, gained: float, cases: float, *, change: float) -> float:
    """Tango's score statistic of the net change for a true one of ``change``; counts need not be whole."""
    linear = (2 * cases - gained + lost) * change - gained - lost
    constant = -lost * change * (1 - change)
    share = (math.sqrt(max(0.0, linear**2 - 8 * cases * constant)) - linear) / (4 * cases)
    variance = cases * (2 * share + change * (1 - change))
    return (gained - lost - cases * change) / math.sqrt(max(variance, 1e-12))


def _quantile(share: float, cases: int, clusters: int) -> float:
    """Exceeded with the probability ``share``: normal, or t where variance is that between clusters."""
    from scipy import special

    if clusters == cases:
        return -float(special.ndtri(share))
    return -float(special.stdtrit(clusters - 1, share)) if clusters > 1 else math.inf


def _by_signs(net: npt.NDArray[np.generic], seen: int) -> float:
    """How probable a sum of ``seen`` or more is where the sign of each of ``net`` is a coin's."""
    from scipy import stats

    chances = np.ones(1)  # of sums, from the lowest one on, in steps of 2
    amounts, counts = np.unique(np.abs(net.astype(np.int64)), return_counts=True)
    for amount, count in zip(amounts, counts, strict=True):
        if amount:
            own = np.zeros(amount * count + 1)
            own[::amount] = stats.binom.pmf(np.arange(count + 1), count, 0.5)
            chances = np.convolve(chances, own)
    steps = (seen + len(chances) - 1) // 2
    return min(1.0, float(chances[steps:].sum()))
