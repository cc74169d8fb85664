"""Limits for one case from noise floors, in place of the table of its dtype."""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness.checks.intervals import Interval
from harness.checks.log_odds import share_of
from harness.verdicts.evidence import case_limit
from harness.verdicts.noise_floor import NoiseFloor, PairNoise
from harness.verdicts.rules import ALLOWANCE, ALPHA

__all__ = ["noise_limits"]

# A recording keeps nine digits of log Z, so a probability is known to 5e-8 on each side; and float32 has a
# step of 6e-8 below 1.
_RESOLUTION = 2e-7


def noise_limits(
    noise: PairNoise,
    intervals: Sequence[Interval],
    *,
    case: str,
    cases: int,
    floors: Sequence[NoiseFloor],
    stretch: float = 1.0,
) -> dict[str, float]:
    """Limits by their names in `harness.checks.tolerances`, for the case named ``case``, one of ``cases``.

    ``intervals`` [L] are the reference's probabilities. ``log_odds`` is at most
    max(2 · largest seen, k σ), k being the quantile that leaves `ALPHA` over all cases.

    ``probability`` follows from it: with every centred log-odds within h, the log-odds of one letter against
    the rest are within 2h, so p becomes at most 1 / (1 + (1-p)/p · exp(-2h)), or as much less. And
    ``total_variation`` is half the sum of these bounds, or the bound of the worst letter where that is more.
    Of a text they are within 2h times `harness.checks.target.stretch`.
    ``kl`` and ``js`` are quadratic in the difference, so 2² times the largest that jittered runs showed, of
    the case or in the middle of the suite, added up over the two sides as roots. They are left out where no
    full rows were seen.

    Centred log-odds do not see what moves between the letters and all other tokens, which is most of what
    moves where the letters' log-odds are wide. So the two limits of probabilities are no less than what the
    limit of ``kl`` allows, √(kl/2) by Pinsker's inequality, nor than what a recording resolves.
    """
    h = case_limit(
        ALPHA / max(1, cases),
        letters=len(intervals) or 2,
        sigma=noise.sigma,
        freedom=noise.freedom,
        seen=noise.seen,
    )
    changes = [max(_reach(p, stretch * 2 * h) for p in interval) for interval in intervals]
    limits = {"log_odds": h}
    if changes:
        limits["probability"] = max(changes)
        limits["total_variation"] = max(max(changes), math.fsum(changes) / 2)
    for name in ("kl", "js"):
        known = [value for floor in floors if (value := _largest(floor, case, name)) is not None]
        if floors and len(known) == len(floors):
            limits[name] = (ALLOWANCE * math.fsum(math.sqrt(value) for value in known)) ** 2
    least = max(_RESOLUTION, math.sqrt(limits.get("kl", 0.0) / 2))
    return {
        name: max(limit, least) if name in ("probability", "total_variation") else limit
        for name, limit in limits.items()
    }


def _reach(p: float, shift: float) -> float:
    """The most by which ``p`` changes when its log-odds move by up to ``shift`` either way."""
    if not 0.0 < p < 1.0:
        return 0.0
    log_odds = math.log(p) - math.log1p(-p)
    ends = (share_of(min(700.0, max(-700.0, log_odds + sign * shift))) for sign in (-1, 1))
    return max(abs(end - p) for end in ends)


def _largest(floor: NoiseFloor, case: str, name: str) -> float | None:
    if name not in floor.middle:
        return None
    return max(floor.middle[name], floor.full.get(case, {}).get(name, 0.0))
