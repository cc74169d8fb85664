"""The statistical tests behind a verdict. Pure functions of numbers; figures and sources beside each.

Where cases share an image, what enters is a cluster: the mean of its cases' values, or whether any of them
did something.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from harness.verdicts.rules import ALLOWANCE, ALPHA, CONFIDENCE
from harness.verdicts.verdict import Estimate, Evidence

__all__ = [
    "Open",
    "accuracy_test",
    "case_limit",
    "confident",
    "evidence",
    "found_from",
    "holm",
    "holm_levels",
    "look_sizes",
    "mean_power",
    "mean_test",
    "share_of",
    "spread_of",
    "spread_power",
    "spread_test",
    "t_above",
    "t_beyond",
    "untested",
    "welch",
]


_FIRST_LOOK = 8
# Of `ALPHA`, what looks on the way have together; each takes an eighth of what is left of that. Looks at all
# cases, of which there are several only where cases are added, have the rest.
_ON_THE_WAY, _EACH = 0.4, 1 / 8
_EACH_LAST = 3 / 4


class Open:
    """What is open about a figure: its ``variance``, known with so many degrees of ``freedom``.

    ``by_cases`` is the part of the variance that more cases would lower, ``by_runs`` what runs differ by.
    """

    def __init__(self, by_cases: float, by_runs: float, *, clusters: int, runs: float) -> None:
        """The parts of the variance, known from ``clusters`` values and from so many ``runs``."""
        self.by_cases, self.by_runs = by_cases, by_runs
        self._clusters, self._runs = clusters, runs
        self.variance, self.freedom = welch(((by_cases, max(1, clusters - 1)), (by_runs, runs)))

    def at(self, clusters: int) -> Open:
        """The same with another number of clusters."""
        return Open(
            self.by_cases * self._clusters / clusters, self.by_runs, clusters=clusters, runs=self._runs
        )


def welch(parts: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """The variance of a sum and its degrees of freedom from those of its parts (Welch, Satterthwaite)."""
    total = math.fsum(variance for variance, _ in parts)
    spent = math.fsum(variance**2 / freedom for variance, freedom in parts if math.isfinite(freedom))
    return total, total**2 / spent if spent else math.inf


def case_limit(p: float, *, letters: int, sigma: float, freedom: float, seen: float) -> float:
    """The largest move of a log-odds that noise makes with probability ``p`` in one of ``letters``.

    Student's t, two-sided, Bonferroni over the letters less one; at least `ALLOWANCE` times ``seen``.
    """
    return max(ALLOWANCE * seen, t_beyond(p / (2 * max(1, letters - 1)), freedom) * sigma)


def spread_test(ratio: float, left_open: Open, *, clusters: int, budget: float) -> Evidence:
    """Whether moves are spread ``ratio`` times as wide as noise, and that is above ``budget`` times.

    The logarithm of the ratio is taken for Student's t of the variance and freedom that are ``left_open``.
    """
    z = math.log(ratio / budget) / math.sqrt(left_open.variance) if ratio else -math.inf
    p, groups = t_above(z, left_open.freedom), _clusters(clusters)
    told = f"{ratio:.3g} times the noise over {groups}; allowed: {budget:.3g} times (p = {p:.2g})"
    return evidence("spread", ratio, p, told)


def spread_of(ratio: float, left_open: Open) -> Estimate:
    """A ratio of spreads with the ends of its interval as in `spread_test`."""
    half = t_beyond(1 - CONFIDENCE, left_open.freedom) * math.sqrt(left_open.variance)
    return Estimate(value=ratio, low=ratio * math.exp(-half), high=ratio * math.exp(half))


def found_from(left_open: Open, *, alpha: float) -> float:
    """The ratio of spreads from which `spread_test` at ``alpha`` finds something: more often than not."""
    return math.exp(t_beyond(alpha, left_open.freedom) * math.sqrt(left_open.variance))


def spread_power(times: float, left_open: Open, *, alpha: float) -> float:
    """How probable `spread_test` at ``alpha`` finds a spread of ``times`` its budget."""
    z = math.log(times) / math.sqrt(left_open.variance)
    return t_above(t_beyond(alpha, left_open.freedom) - z, left_open.freedom)


def mean_test(name: str, mean: float, left_open: Open, *, what: str) -> Evidence:
    """Whether a ``mean`` in units of σ is other than 0."""
    z = mean / math.sqrt(left_open.variance) if left_open.variance else math.copysign(math.inf, mean)
    p = min(1.0, 2 * t_above(abs(z), left_open.freedom)) if mean else 1.0
    told = f"{what} moved by {mean:+.3g} σ on average, {z:+.3g} times what noise moves them (p = {p:.2g})"
    return evidence(name, mean, p, told)


def mean_power(mean: float, left_open: Open, *, alpha: float) -> float:
    """How probable `mean_test` at ``alpha`` finds a ``mean``; its other side adds next to nothing."""
    z = abs(mean) / math.sqrt(left_open.variance)
    return t_above(t_beyond(alpha / 2, left_open.freedom) - z, left_open.freedom)


def confident(sigma: float) -> float:
    """How far a normal number of standard deviation ``sigma`` is exceeded on one side with `CONFIDENCE`."""
    return t_beyond(1 - CONFIDENCE, math.inf) * sigma


def accuracy_test(lost: int, gained: int, noise: float, expected: float) -> Evidence:
    """Whether right answers were lost: exact one-sided McNemar on ``lost`` and ``gained`` clusters.

    ``noise`` is the probability with which noise loses as many, ``expected`` how many it would flip.
    Near-ties that were all right can only be lost, which McNemar takes for a loss; so the larger p of both
    counts.
    """
    from scipy import stats

    if not lost + gained:
        return evidence("accuracy", 0, 1.0, "no right answer lost and none gained")
    mcnemar = float(stats.binom.sf(lost - 1, lost + gained, 0.5))
    told = (
        f"{lost} right answers lost and {gained} gained (exact McNemar p = {mcnemar:.2g}); noise would flip "
        f"{expected:.2g} (p = {noise:.2g})"
    )
    return evidence("accuracy", lost - gained, max(mcnemar, noise), told)


def holm(tests: Sequence[Evidence], *, alpha: float) -> tuple[Evidence, ...]:
    """The tests with Holm's adjusted p-values, and whether they are found at ``alpha`` together.

    Holm, 1979, Scandinavian Journal of Statistics 6, 65-70.
    """
    adjusted, highest = dict[int, float](), 0.0
    for place, index in enumerate(sorted(range(len(tests)), key=lambda index: tests[index].p)):
        highest = max(highest, min(1.0, (len(tests) - place) * tests[index].p))
        adjusted[index] = highest
    return tuple(
        replace(test, adjusted=adjusted[index], alpha=alpha, found=adjusted[index] <= alpha)
        for index, test in enumerate(tests)
    )


def holm_levels(ps: Sequence[float], *, alpha: float) -> tuple[float, ...]:
    """What each of ``ps`` is held to by Holm's steps, so that all together are falsely found with ``alpha``.

    The smallest gets alpha / n, the next one alpha / (n - 1), and so on, as long as each is found; from the
    first one that is not, all get its share.
    """
    levels, left = dict[int, float](), len(ps)
    for place in sorted(range(len(ps)), key=ps.__getitem__):
        levels[place] = alpha / left
        left -= ps[place] <= levels[place] and left > 1
    return tuple(levels[place] for place in range(len(ps)))


def look_sizes(groups: Sequence[int], *, batch: int) -> tuple[int, ...]:
    """After how many cases a gate looks, of ``groups`` [m] of so many that stay together.

    At `_FIRST_LOOK` cases and whenever they have doubled, at the end of a group and of as many batches as
    they fill; the last look is at all cases. So there are as many as the logarithm of the cases.
    """
    found, asked, wanted = list[int](), 0, _FIRST_LOOK
    for count in groups:
        asked += count
        if asked >= -(-wanted // batch) * batch:
            found.append(asked)
            wanted = 2 * asked
    return (*[size for size in found if size < asked], *([asked] if asked else []))


def share_of(number: int, *, last: bool) -> float:
    """The share of false alarms of a look, ``number`` (from 0) of those on the way, or at all cases.

    The shares of all looks, however many they become, add up to `ALPHA`: that any of them raises a false
    alarm is no more probable than their sum (Boole), however looks depend on one another, and wherever
    somebody stops. Alpha spending: Lan, DeMets, 1983, doi:10.1093/biomet/70.3.659; here without the joint law
    of looks, which nobody knows of six tests.
    """
    together, each = (1 - _ON_THE_WAY, _EACH_LAST) if last else (_ON_THE_WAY, _EACH)
    return ALPHA * together * each * (1 - each) ** number


def evidence(name: str, statistic: float, p: float, told: str) -> Evidence:
    """What a test says, before Holm's correction."""
    return Evidence(name=name, statistic=statistic, p=p, adjusted=1.0, alpha=ALPHA, found=False, text=told)


def untested(name: str, why: str) -> Evidence:
    """A test for which there is too little."""
    return evidence(name, math.nan, 1.0, why)


def t_above(value: float, freedom: float) -> float:
    """The probability of Student's t above ``value``; the normal one's for infinite ``freedom``."""
    from scipy import special  # sixty times as quick a call as scipy.stats, and quicker to import

    return float(special.stdtr(freedom, -value) if math.isfinite(freedom) else special.ndtr(-value))


def t_beyond(share: float, freedom: float) -> float:
    """The value that Student's t is above with the probability ``share``."""
    from scipy import special

    return -float(special.stdtrit(freedom, share) if math.isfinite(freedom) else special.ndtri(share))


def _clusters(count: int) -> str:
    return f"{count} independent {'groups' if count != 1 else 'group'} of cases"
