"""What a suite's cases come to, cluster by cluster, and the tests on that."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from harness.checks.log_odds import mean_square
from harness.verdicts.case_judging import Look
from harness.verdicts.evidence import accuracy_test, cases_test, flips_test, holm, shift_test, spread_test
from harness.verdicts.noise_model import NoiseShape
from harness.verdicts.verdict import Evidence, Flip

__all__ = ["SuiteNumbers", "suite_numbers", "suite_tests"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteNumbers:
    """A value for each cluster that can be judged, and counts of clusters.

    ``roots`` are root mean squares of the moves in units of σ, ``mean_squares`` mean squares in log-odds;
    ``moves`` are mean moves of the expected letter in log-odds, ``shifts`` in units of σ. ``flipped``
    clusters have a flip, each with its probability in ``chances``. ``lost`` and ``gained`` are clusters with
    fewer and with more right answers, ``losing`` the probabilities with which noise loses those that had one.
    ``sigma`` is the typical noise.
    """

    roots: tuple[float, ...]
    mean_squares: tuple[float, ...]
    moves: tuple[float, ...]
    shifts: tuple[float, ...]
    flipped: int
    chances: tuple[float, ...]
    lost: int
    gained: int
    losing: tuple[float, ...]
    sigma: float


def suite_tests(
    looks: Sequence[Look], numbers: SuiteNumbers, shape: NoiseShape, *, spread: float, alpha: float
) -> tuple[Evidence, ...]:
    """All tests on a suite with their correction; ``spread`` is the budget of the test of that name."""
    ready = [look for look in looks if look.judged or look.broken]
    return holm(
        [
            cases_test([look.p for look in ready], [_words(look) for look in ready]),
            spread_test(numbers.roots, shape, budget=spread),
            shift_test(numbers.shifts, shape),
            flips_test(numbers.flipped, numbers.chances),
            accuracy_test(numbers.lost, numbers.gained, numbers.losing),
        ],
        alpha=alpha,
    )


def suite_numbers(looks: Sequence[Look]) -> SuiteNumbers:
    """The numbers of a suite from those of its cases."""
    by_cluster: dict[str, list[Look]] = defaultdict(list)
    for look in looks:
        if look.judged or look.broken:
            by_cluster[look.change.cluster].append(look)
    groups = list(by_cluster.values())
    judged = [own for group in groups if (own := [look for look in group if look.judged])]
    seen = [own for group in judged if (own := [k for k in group if not math.isnan(k.expected_move)])]
    sigma = {id(look): look.change.noise.sigma for look in looks}
    losing = [[look for look in group if look.right[0]] for group in groups]
    net = [sum(_score(look) for look in group) for group in groups]
    return SuiteNumbers(
        roots=tuple(statistics.fmean(look.root for look in group) for group in judged),
        moves=tuple(statistics.fmean(look.expected_move for look in group) for group in seen),
        shifts=tuple(
            statistics.fmean(look.expected_move / sigma[id(look)] for look in group) for group in seen
        ),
        mean_squares=tuple(
            statistics.fmean(mean_square(look.difference) for look in group) for group in judged
        ),
        flipped=sum(any(look.flip is not None for look in group) for group in groups),
        chances=tuple(_any(group) for group in groups),
        lost=sum(value < 0 for value in net),
        gained=sum(value > 0 for value in net),
        losing=tuple(_any(group) for group in losing if group),
        sigma=statistics.median(sigma.values()) if sigma else 0.0,
    )


def _score(look: Look) -> int:
    return {Flip.LOST: -1, Flip.GAINED: 1}.get(look.flip, 0) if look.flip is not None else 0


def _any(group: Sequence[Look]) -> float:
    """The probability that noise flips any of them."""
    return 1.0 - math.prod(1.0 - (look.chance or 0.0) for look in group)


def _words(look: Look) -> str:
    if look.broken:
        return f"{look.change.case} (one side never reached the letter)"
    flip = "" if look.flip is None else f", {look.answers[0]} became {look.answers[1]}"
    far = 0.0 if look.largest is None else look.largest
    return f"{look.change.case} ({look.change.place}: {far:.3g}, {far / look.change.noise.sigma:.3g} σ{flip})"
