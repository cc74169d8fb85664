"""Centred log-odds of the letters, and how they differ between two sides."""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness.engines.contract import Reading

__all__ = ["LogOdds", "centred", "coordinates", "difference", "largest", "mean_square", "of_reading"]

LogOdds = tuple[float, ...]


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
    """The letters' centred log-odds [L] of an answer's row; empty where the answer was not reached."""
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
