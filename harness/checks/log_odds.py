"""The coordinates of an answer: centred log-odds of the letters, and scalars beside them.

A scalar is a number of its own that an answer consists of, by name in `SCALARS`; the only one so far is
`REST`, what is not on the letters.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness.checks.intervals import Interval
from harness.checks.target import lead
from harness.engines.contract import Reading

__all__ = [
    "RESOLUTION",
    "REST",
    "SCALARS",
    "LogOdds",
    "centred",
    "coordinates",
    "difference",
    "largest",
    "mean_square",
    "of_reading",
    "rest_of",
    "scalars_of",
    "share_of",
]

LogOdds = tuple[float, ...]

REST = "rest"
"""The log of the probability outside the letters against that on them."""

SCALARS = (REST,)

RESOLUTION = 2e-7
"""How well a recording knows a probability: it keeps nine digits of log Z, and float32 has a step of 6e-8."""


def coordinates(letters: Sequence[str]) -> tuple[str, ...]:
    """The names of the letters' log-odds [L], such as ``log-odds A``, where they are kept in a file."""
    return tuple(f"log-odds {letter}" for letter in letters)


def centred(logits: Sequence[float]) -> LogOdds:
    """Each of ``logits`` [L] less their mean, which leaves out what shifts a whole row.

    A letter that was not seen (``-inf`` or NaN) is NaN and counts for nothing.
    """
    seen = [logit for logit in logits if math.isfinite(logit)]
    mean = math.fsum(seen) / len(seen) if seen else math.nan
    return tuple(logit - mean if math.isfinite(logit) else math.nan for logit in logits)


def of_reading(reading: Reading) -> LogOdds:
    """The letters' centred log-odds [L] of an answer's row; empty where the answer was not reached.

    Of a text they are its `harness.checks.target.lead`, between the text [0] and its nearest rival [1].
    """
    if reading.target:
        return centred((lead(reading), 0.0))
    return () if reading.log_z is None else centred(reading.letter_logits)


def difference(baseline: Sequence[float], candidate: Sequence[float]) -> LogOdds:
    """How far each letter moved [L], centred over the letters that both sides saw; NaN for the others.

    Empty where a side has no letters at all.
    """
    if not (baseline and candidate):
        return ()
    return centred([b - a for a, b in zip(baseline, candidate, strict=True)])


def largest(moved: Sequence[float]) -> float | None:
    """The largest amount in a `difference`; None where fewer than two letters can be compared."""
    known = [abs(value) for value in moved if not math.isnan(value)]
    return max(known) if len(known) > 1 else None


def mean_square(moved: Sequence[float]) -> float:
    """The variance of one letter that a `difference` of at least two letters is an estimate of.

    The sum of squares over the letters less one, since centring takes one degree of freedom.
    """
    known = [value for value in moved if not math.isnan(value)]
    return math.fsum(value * value for value in known) / (len(known) - 1)


def rest_of(reading: Reading, letter_ids: Sequence[int]) -> Interval | None:
    """`REST` of an answer's row; None where the answer was not reached or a logit is NaN.

    Exact for a full reading, up to what `RESOLUTION` leaves of it; an interval where letters are outside a
    partial one. ``letter_ids`` [L] tell the other tokens of its top, which are a better sum where little
    is left.
    """
    if reading.log_z is None or any(math.isnan(logit) for logit in reading.letter_logits):
        return None
    log_z = reading.log_z
    if reading.target:  # all but the text
        text, rest = reading.letter_logits
        if math.isfinite(text) and math.isfinite(rest):
            return Interval(_against_rest(math.exp(rest)), _against_rest(math.exp(rest)))
        most_text, most_rest = reading.letter_ceilings
        return Interval(_against_rest(-math.expm1(most_text)), _against_rest(math.exp(most_rest)))
    seen = math.fsum(math.exp(logit - log_z) for logit in reading.letter_logits)
    told = zip(reading.letter_logits, reading.letter_ceilings, strict=False)
    unseen = math.fsum(math.exp(ceiling) for logit, ceiling in told if logit == -math.inf)
    others = 0.0
    if letter_ids:
        others = math.fsum(math.exp(one.logprob) for one in reading.top if one.id not in letter_ids)
    most = max(1.0 - seen, others)
    return Interval(_against_rest(max(1.0 - seen - unseen, others)), _against_rest(most))


def scalars_of(reading: Reading, letter_ids: Sequence[int]) -> dict[str, float]:
    """The scalars of a row that are known exactly, by name."""
    rest = rest_of(reading, letter_ids)
    return {REST: rest.low} if rest is not None and rest.exact and math.isfinite(rest.low) else {}


def share_of(log_odds: float) -> float:
    """The probability whose log-odds these are, such as a `REST`."""
    return 1 / (1 + math.exp(-log_odds))


def _against_rest(share: float) -> float:
    """The log-odds of a probability; what is under a hundredth of `RESOLUTION` counts as that much."""
    share = min(1.0 - RESOLUTION / 100, max(RESOLUTION / 100, share))
    return math.log(share) - math.log1p(-share)
