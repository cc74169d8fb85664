"""Whether what moved matters: shown, for these cases, to be within a margin.

The cases are given and only noise is chance, so nothing is said of cases that are not among them: however
their changes are distributed, one that nobody saw may be as large as it likes. With Q the mean square of a
case's moves, σ² its noise and d its degrees of freedom, the upper end of the root mean square is

    √( mean Q + 1.645 √(Σ_clusters (Σ √(4 σ² Q / d))²) / n )

in which the standard deviations within a cluster add, as their noise may be common. Equal answers are equal.

That something is beyond a margin is said of more cases than these, so it has the chance of cases as well.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from harness.verdicts.evidence import Open, confident, t_beyond
from harness.verdicts.moves import Index, Moves
from harness.verdicts.rules import ALPHA, CASE_MARGINS, REST_MARGIN, TAU_SHIFT
from harness.verdicts.scale import Floats
from harness.verdicts.verdict import Estimate, Shown

__all__ = ["shown"]

_FEWEST = 3  # clusters: of fewer, nothing is said of others


def shown(moves: Moves, index: Index, *, margins: Floats, shift_open: Open | None) -> Shown:
    """Whether the cases at ``index`` are within their ``margins`` [n] in log-odds, and the rest in its own.

    ``shift_open`` is what is open about a common shift, in units of σ.
    """
    own = index[moves.judged[index]]
    if not own.size:
        return Shown(
            within=False,
            open=("there is no case that can be judged",),
            log_odds=None,
            shift=None,
            rest=None,
            largest=math.inf,
        )
    margin, cluster = margins[own], moves.cluster[own]
    square, sigma = moves.square[own], np.sqrt(moves.noise.variance[own])
    plain = _root(square, sigma**2, moves.free[own], cluster)
    unit = _root(square / margin**2, sigma**2 / margin**2, moves.free[own], cluster)
    expected = moves.expected[own]
    shift_between = TAU_SHIFT**2 if shift_open is None else shift_open.by_runs
    known = ~np.isnan(expected)
    shift = _shift(expected, sigma * moves.unit[own], cluster, shift_between, known)
    far_shift = _shift(expected / margin, sigma * moves.unit[own] / margin, cluster, shift_between, known)
    largest = float((moves.far[own] / margin).max())
    rest, rest_open, rest_beyond = _rest(moves, own, cluster)
    usual = float(margin.min())
    least = "" if float(margin.max()) == usual else " of the narrowest"
    told = []
    if unit.high > 1:
        told.append(
            f"log-odds differ by {plain.value:.3g} (root mean square), at most {plain.high:.3g}; "
            f"the margin{least} is {usual:.3g}"
        )
    if far_shift is not None and max(abs(far_shift.low), abs(far_shift.high)) > 1 and shift is not None:
        told.append(
            f"the expected letters moved by {shift.low:.3g} to {shift.high:.3g} on average; "
            f"the margin{least} is {usual:.3g}"
        )
    if largest > CASE_MARGINS:
        place = int(own[np.argmax(moves.far[own] / margin)])
        told.append(
            f"{moves.looks[place].change.case} moved by {moves.far[place]:.3g}, {largest:.3g} margins; "
            f"allowed for one case: {CASE_MARGINS:g}"
        )
    told += rest_open
    unseen = max((moves.looks[place].open for place in own), default=0.0)
    if unseen > REST_MARGIN:
        told.append(
            f"the probability of a letter that a side did not see may have moved by {unseen:.3g}; "
            f"the margin is {REST_MARGIN:g}"
        )
    in_margins, moved = square / margin**2, (expected / margin)[known]
    far = far_shift is not None and (
        (far_shift.low > 1 and _least(moved, cluster[known]) > 1)
        or (far_shift.high < -1 and _least(-moved, cluster[known]) > 1)
    )
    on_average = unit.low > 1 and _least(in_margins, cluster) > 1
    return Shown(
        within=not told,
        open=tuple(told),
        log_odds=plain,
        shift=shift,
        rest=rest,
        largest=largest,
        beyond=on_average or far or largest > CASE_MARGINS or rest_beyond,
    )


def _rest(moves: Moves, own: Index, cluster: Index) -> tuple[Estimate | None, list[str], bool]:
    """The most that it moved, what of that is too much, and whether the least is."""
    low, high = moves.rest_low[own], moves.rest_high[own]
    known = ~np.isnan(high)
    if not known.any():
        return None, [], False
    variance = moves.rest_noise.variance[own] * moves.rest_slope[own] ** 2
    found = _root(high[known] ** 2, variance[known], np.ones(int(known.sum())), cluster[known])
    told = []
    if found.high > REST_MARGIN:
        told.append(
            f"the probability outside the letters moved by {found.value:.3g} (root mean square), at most "
            f"{found.high:.3g}; the margin is {REST_MARGIN:g}"
        )
    if float(high[known].max()) > CASE_MARGINS * REST_MARGIN:
        place = int(own[known][np.argmax(high[known])])
        told.append(
            f"{moves.looks[place].change.case}: the probability outside the letters moved by "
            f"{moves.rest_high[place]:.3g}; allowed for one case: {CASE_MARGINS * REST_MARGIN:g}"
        )
    least = _root(low[known] ** 2, variance[known], np.ones(int(known.sum())), cluster[known])
    on_average = least.low > REST_MARGIN and _least(low[known] ** 2, cluster[known]) > REST_MARGIN**2
    return found, told, on_average or float(low[known].max()) > CASE_MARGINS * REST_MARGIN


def _least(values: Floats, cluster: Index) -> float:
    """The lower end (99%) of the mean of all cases, of which those of these ``values`` are some by chance."""
    apart = _by_cluster(values - values.mean(), cluster)
    count = len(apart)
    if count < _FEWEST:
        return -math.inf
    error = math.sqrt(count / (count - 1) * float((apart**2).sum())) / len(values)
    return float(values.mean()) - t_beyond(ALPHA, count - 1) * error


def _root(squares: Floats, variances: Floats, free: Floats, cluster: Index) -> Estimate:
    """The root mean square with its interval."""
    mean = float(squares.mean())
    apart = _by_cluster(np.sqrt(4 * variances * squares / free), cluster)
    half = confident(math.sqrt(float((apart**2).sum()))) / len(squares)
    return Estimate(value=math.sqrt(mean), low=math.sqrt(max(0.0, mean - half)), high=math.sqrt(mean + half))


def _shift(
    moved: Floats,
    sigma: Floats,
    cluster: Index,
    between: float,
    known: npt.NDArray[np.bool_],
) -> Estimate | None:
    """The mean of what moved with its interval; what is bit-equal has no noise."""
    if not known.any():
        return None
    moved, cluster = moved[known], cluster[known]
    sigma = np.where(moved == 0, 0.0, sigma[known])
    mean = float(moved.mean())
    apart = _by_cluster(sigma, cluster)
    variance = float((apart**2).sum()) / len(moved) ** 2 + between * float((sigma**2).mean())
    half = confident(math.sqrt(variance))
    return Estimate(value=mean, low=mean - half, high=mean + half)


def _by_cluster(values: Floats, cluster: Index) -> Floats:
    _, place = np.unique(cluster, return_inverse=True)
    return np.bincount(place, values).astype(float)
