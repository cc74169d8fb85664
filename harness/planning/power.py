"""How probable a test finds an effect, and how many cases that takes. Pure functions of numbers.

Where a test counts, its power is exact and rises with the number of cases in steps: the smallest count that
is an alarm jumps by one, and the power falls back a little. So `needed` gives a number that suffices, one
less than which does not; a few more may fall short again by a percent or two.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from harness.verdicts.flips import Ladder

__all__ = [
    "accuracy_power",
    "alike",
    "counts",
    "flips_power",
    "needed",
    "smallest",
]

Floats = npt.NDArray[np.float64]
MOST_CASES = 20_000
"""More are no advice."""
_STEPS = 40  # halvings of a range, to a part in 10^12


def counts(chances: Sequence[float]) -> Floats:
    """The Poisson-binomial distribution [n + 1]: how probable it is that 0, 1, ... n of them happen."""
    pmf: Floats = np.zeros(len(chances) + 1)
    pmf[0] = 1.0
    for done, chance in enumerate(chances):
        head = pmf[: done + 1] * chance
        pmf[: done + 1] *= 1.0 - chance
        pmf[1 : done + 2] += head
    return pmf


def flips_power(ladder: Ladder, rate: float, *, alpha: float) -> float:
    """How probable the test of flips finds a share ``rate`` of clusters flipping besides those by noise.

    ``ladder`` has the probabilities with which noise flips each cluster.
    """
    least = _least_count(ladder, alpha)
    with_more = counts([float(chance + rate * (1.0 - chance)) for chance in ladder.middle])
    return float(with_more[least:].sum())


def accuracy_power(
    ladder: Ladder, losing: Sequence[float], gaining: Sequence[float], loss: float, *, alpha: float
) -> float:
    """How probable the test of accuracy finds a share ``loss`` of the right clusters lost besides noise.

    ``losing`` are the probabilities with which noise loses each right cluster, ``gaining`` those with which
    it gains each wrong one. The test is that of `harness.verdicts.evidence.accuracy_test`: exact McNemar,
    and more lost than noise flips, of which ``ladder`` has the probabilities in every cluster.
    """
    from scipy import special

    lost = counts([chance + loss * (1.0 - chance) for chance in losing])
    above = np.cumsum(lost[::-1])[::-1]
    least = _least_count(ladder, alpha)
    power = 0.0
    for gained, chance in enumerate(counts(gaining)):
        if chance < 1e-9:
            continue
        enough = np.arange(max(least, 1), len(lost))
        # One-sided exact McNemar: half to half among the discordant.
        fits = enough[special.bdtrc(enough - 1, enough + gained, 0.5) <= alpha]
        power += float(chance * above[fits[0]]) if fits.size else 0.0
    return power


def smallest(power_of: Callable[[float], float], *, power: float, low: float, high: float) -> float | None:
    """The smallest effect from ``low`` to ``high`` that is found with ``power``; None where none is.

    ``power_of`` rises with the effect.
    """
    if power_of(high) < power:
        return None
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if power_of(middle) >= power else (middle, high)
    return high


def needed(power_of: Callable[[int], float], *, power: float, most: int = MOST_CASES) -> int | None:
    """A number of cases that gives ``power``, where one less does not; None above ``most``."""
    high = 1
    while power_of(high) < power:
        if high >= most:
            return None
        high = min(2 * high, most)
    low = high // 2  # too few
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power_of(middle) >= power else (middle, high)
    return high


def alike(values: Sequence[float], count: int) -> list[float]:
    """``count`` values spread as ``values`` are: those of a suite of the same kind and another size."""
    ordered = sorted(values)
    return [ordered[int((place + 0.5) * len(ordered) / count)] for place in range(count)]


@lru_cache(maxsize=64)  # of one suite many effects are asked
def _least_count(ladder: Ladder, alpha: float) -> int:
    """The smallest count that is an alarm: as many or more have a probability of at most ``alpha``."""
    low, high = 0, int(ladder.rungs.shape[1]) + 1  # so many more than there are is an alarm
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if ladder.at_least(middle) <= alpha else (middle, high)
    return high
