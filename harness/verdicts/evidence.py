"""The statistical tests behind a verdict. Pure functions of numbers; figures and sources beside each.

Where cases share an image, what enters is a cluster: the mean of its cases' values, or whether any of them
did something.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from harness.verdicts.noise_model import NoiseShape
from harness.verdicts.rules import ALLOWANCE, ALPHA, CONFIDENCE
from harness.verdicts.verdict import Estimate, Evidence

__all__ = [
    "accuracy_test",
    "case_p",
    "cases_test",
    "confident",
    "flip_p",
    "flips_test",
    "holm",
    "holm_levels",
    "lost_share",
    "mean_of",
    "shift_power",
    "shift_test",
    "spread_of",
    "spread_power",
    "spread_test",
]

_LEAST = 1e-9  # a variance of nothing, as of a floor whose few values are all alike, is no certainty


def case_p(largest: float, *, letters: int, sigma: float, freedom: float, seen: float) -> float:
    """How probable noise moves one of ``letters`` log-odds by ``largest`` or more.

    Student's t, two-sided, Bonferroni over the letters less one; 1 within `ALLOWANCE` times ``seen``.
    """
    if largest <= ALLOWANCE * seen:
        return 1.0
    return min(1.0, 2 * max(1, letters - 1) * _t_above(largest / sigma, freedom))


def case_limit(p: float, *, letters: int, sigma: float, freedom: float, seen: float) -> float:
    """The largest move of a log-odds whose `case_p` is still above ``p``."""
    return max(ALLOWANCE * seen, _t_beyond(p / (2 * max(1, letters - 1)), freedom) * sigma)


def flip_p(gap: float, *, sigma: float, freedom: float) -> float:
    """How probable noise brings the rival of a top letter ``gap`` below it to the top.

    The difference of two letters has a variance of 2σ², so P = Φ(-gap / (σ √2)), with Student's t for Φ.
    """
    return _t_above(gap / (sigma * math.sqrt(2)), freedom)


def cases_test(ps: Sequence[float], words: Sequence[str]) -> Evidence:
    """Whether any case is beyond its own noise: the smallest of ``ps``, Bonferroni over their number.

    ``words`` [m] say of each case what it did.
    """
    if not ps:
        return _untested("cases", "no case to judge")
    place = min(range(len(ps)), key=ps.__getitem__)
    p = min(1.0, len(ps) * ps[place])
    told = f"the farthest is {words[place]}; probability {ps[place]:.2g}, times {len(ps)} cases {p:.2g}"
    return _evidence("cases", ps[place], p, told)


def spread_test(roots: Sequence[float], shape: NoiseShape, *, budget: float) -> Evidence:
    """Whether the mean of the clusters' ``roots`` (see `NoiseShape`), over noise's, is above ``budget``.

    Roots and not squares, since one case far out, which has a test of its own, outweighs all others in a mean
    of squares, and heavy tails make that mean useless. The logarithm of the ratio is taken for normal with
    variance (v/n + τ²)(1 + 1/K) for n clusters and K runs, in which the last factor is for what the floor
    itself does not know, and t distributed as far as τ² comes from few runs.
    """
    if not roots:
        return _untested("spread", "no case to judge")
    ratio = _mean(roots) / shape.root
    variance, freedom = _of_log_spread(len(roots), shape)
    p = _t_above(math.log(ratio / budget) / math.sqrt(variance), freedom) if ratio else 1.0
    told = (
        f"{ratio:.3g} times the noise over {_clusters(len(roots))}; allowed: {budget:.3g} times (p = {p:.2g})"
    )
    return _evidence("spread", ratio, p, told)


def spread_of(roots: Sequence[float], shape: NoiseShape) -> Estimate:
    """The mean of ``roots`` in units of noise's, with the ends of its interval as in `spread_test`."""
    ratio = _mean(roots) / shape.root
    variance, freedom = _of_log_spread(len(roots), shape)
    half = _t_beyond(1 - CONFIDENCE, freedom) * math.sqrt(variance)
    return Estimate(value=ratio, low=ratio * math.exp(-half), high=ratio * math.exp(half))


def spread_power(times: float, clusters: int, shape: NoiseShape, *, alpha: float) -> float:
    """How probable `spread_test` at ``alpha`` finds a spread of ``times`` its budget in so many clusters."""
    variance, freedom = _of_log_spread(clusters, shape)
    return _t_above(_t_beyond(alpha, freedom) - math.log(times) / math.sqrt(variance), freedom)


def _of_log_spread(clusters: int, shape: NoiseShape) -> tuple[float, float]:
    """The variance of the logarithm of a spread over so many clusters, and its degrees of freedom."""
    return _welch(shape.root_variance, shape.root_between, clusters, shape.runs)


def _welch(within: float, between: float, clusters: int, runs: float) -> tuple[float, float]:
    """The variance of a mean over clusters in a new run, and its degrees of freedom.

    The sum of what clusters and whole runs vary by, of which the first is known from ``clusters`` values and
    the second from ``runs`` (Welch and Satterthwaite).
    """
    own = max(within, _LEAST) / clusters
    total = own + between
    spent = own**2 / max(1, clusters - 1) + between**2 / max(1.0, runs - 1)
    return total * (1 + 1 / runs), total**2 / spent if spent else math.inf


def shift_test(shifts: Sequence[float], shape: NoiseShape) -> Evidence:
    """Whether the mean of the clusters' shifts (in units of σ) is other than 0: z, or t by the runs."""
    if not shifts:
        return _untested("shift", "no case to judge")
    mean = _mean(shifts)
    variance, freedom = _welch(shape.shift_variance, shape.shift_between, len(shifts), shape.runs)
    deviation = math.sqrt(variance)
    z = mean / deviation if deviation else math.copysign(math.inf, mean) if mean else 0.0
    p = min(1.0, 2 * _t_above(abs(z), freedom))
    told = (
        f"the expected letters moved by {mean:+.3g} σ on average, {z:+.3g} times what noise moves them "
        f"(p = {p:.2g})"
    )
    return _evidence("shift", mean, p, told)


def shift_power(shift: float, clusters: int, shape: NoiseShape, *, alpha: float) -> float:
    """How probable `shift_test` at ``alpha`` finds that expected letters moved by ``shift`` σ on average.

    Of its two sides the other one adds next to nothing.
    """
    variance, freedom = _welch(shape.shift_variance, shape.shift_between, clusters, shape.runs)
    return _t_above(_t_beyond(alpha / 2, freedom) - abs(shift) / math.sqrt(variance), freedom)


def confident(sigma: float) -> float:
    """How far a normal number of standard deviation ``sigma`` is exceeded on one side with `CONFIDENCE`."""
    return _t_beyond(1 - CONFIDENCE, math.inf) * sigma


def mean_of(values: Sequence[float], shape: NoiseShape, sigma: float) -> Estimate:
    """The mean of clusters' shifts in log-odds, with its interval; ``sigma`` is their typical noise.

    The larger of their own standard error and that of noise between runs is taken.
    """
    mean, count = _mean(values), len(values)
    own = math.fsum((v - mean) ** 2 for v in values) / max(1, count - 1)
    variance, freedom = _welch(
        max(own, sigma**2 * shape.shift_variance), sigma**2 * shape.shift_between, count, shape.runs
    )
    deviation = math.sqrt(variance)
    half = _t_beyond(1 - CONFIDENCE, freedom) * deviation
    return Estimate(value=mean, low=mean - half, high=mean + half)


def flips_test(flipped: int, chances: Sequence[float]) -> Evidence:
    """Whether more clusters have a flip than noise gives, each with its own probability in ``chances``.

    The number of them is Poisson-binomial; https://docs.scipy.org/doc/scipy/reference/stats.html.
    """
    p = _at_least(flipped, chances)
    told = f"{flipped} of {_clusters(len(chances))} flipped, {math.fsum(chances):.2g} expected (p = {p:.2g})"
    return _evidence("flips", flipped, p, told)


def accuracy_test(lost: int, gained: int, chances: Sequence[float]) -> Evidence:
    """Whether right answers were lost: exact one-sided McNemar on ``lost`` and ``gained`` clusters.

    ``chances`` are the probabilities with which noise loses each of the clusters that were right. Near-ties
    that were all right can only be lost, which McNemar takes for a loss; so the larger p of both counts.
    """
    from scipy import stats

    if not lost + gained:
        return _evidence("accuracy", 0, 1.0, "no right answer lost and none gained")
    mcnemar = float(stats.binomtest(lost, lost + gained, 0.5, alternative="greater").pvalue)
    noise = _at_least(lost, chances)
    told = (
        f"{lost} right answers lost and {gained} gained (exact McNemar p = {mcnemar:.2g}); noise would lose "
        f"{math.fsum(chances):.2g} (p = {noise:.2g})"
    )
    return _evidence("accuracy", lost - gained, max(mcnemar, noise), told)


def lost_share(lost: int, gained: int, cases: int) -> float:
    """The most that the loss of accuracy may be, a share of ``cases``, with 95% confidence.

    The upper Clopper-Pearson bound of what was lost less the lower one of what was gained, 97.5% each.
    """
    from scipy import stats

    most = stats.binomtest(lost, cases).proportion_ci(CONFIDENCE, method="exact").high
    least = stats.binomtest(gained, cases).proportion_ci(CONFIDENCE, method="exact").low
    return float(most - least)


def holm(tests: Sequence[Evidence], *, alpha: float) -> tuple[Evidence, ...]:
    """The tests with Holm's adjusted p-values, and whether they are found at ``alpha`` together.

    Holm, 1979, Scandinavian Journal of Statistics 6, 65-70.
    """
    adjusted, highest = dict[str, float](), 0.0
    for place, test in enumerate(sorted(tests, key=lambda test: test.p)):
        highest = max(highest, min(1.0, (len(tests) - place) * test.p))
        adjusted[test.name] = highest
    return tuple(
        replace(test, adjusted=adjusted[test.name], alpha=alpha, found=adjusted[test.name] <= alpha)
        for test in tests
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


def _evidence(name: str, statistic: float, p: float, told: str) -> Evidence:
    return Evidence(name=name, statistic=statistic, p=p, adjusted=1.0, alpha=ALPHA, found=False, text=told)


def _untested(name: str, why: str) -> Evidence:
    return _evidence(name, math.nan, 1.0, why)


def _at_least(count: int, chances: Sequence[float]) -> float:
    from scipy import stats

    if count <= 0:
        return 1.0
    return float(stats.poisson_binom.sf(count - 1, [*chances])) if chances else 0.0


def _t_above(value: float, freedom: float) -> float:
    """The probability of Student's t above ``value``; the normal one's for infinite ``freedom``."""
    from scipy import special  # sixty times as quick a call as scipy.stats, and quicker to import

    return float(special.stdtr(freedom, -value) if math.isfinite(freedom) else special.ndtr(-value))


def _t_beyond(share: float, freedom: float) -> float:
    """The value that Student's t is above with the probability ``share``."""
    from scipy import special

    return -float(special.stdtrit(freedom, share) if math.isfinite(freedom) else special.ndtri(share))


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _clusters(count: int) -> str:
    return f"{count} independent {'groups' if count != 1 else 'group'} of cases"
