"""What a suite allows: the margin within which it is the same, and budgets for noise and regression."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

__all__ = ["MARGINS", "Budgets", "budgets_of", "default_margin", "margin_of"]

MARGINS: Mapping[str, float] = MappingProxyType({"float32": 1e-3, "float16": 0.02, "bfloat16": 0.1})
"""Log-odds within which SAME is shown where a suite names no margin, by dtype.

A log-odds of 0.1 moves a probability of one half by 0.025, one of 0.02 by 0.005, one of 0.001 by 0.00025.
"""


_EVEN = 0.5  # the probability that log-odds move most


MOST = 1.0
"""The largest margin, in log-odds: it moves a probability of one half by 23 points."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budgets:
    """What `budgets:` of a suite, or of a profile for a whole comparison, says; else the defaults apply.

    ``margin``: SAME takes a change of log-odds shown to be at most this (None: the dtype's, of
    `MARGINS`). For noise: ``spread`` is how many times the noise floor the candidate's spread may
    be before it is DRIFT, and ``moved`` how many cases may be beyond their own noise. For regression:
    ``lost`` is how many right answers may be lost beyond noise, and ``accuracy`` the loss (a share of the
    cases) that must be excluded with 95% confidence, or the verdict is INCONCLUSIVE; None asks for nothing.
    ``strict`` has every move beyond noise fail that is not allowed here, also within the margin.
    """

    margin: float | None = None
    spread: float = 1.0
    moved: int = 0
    lost: int = 0
    accuracy: float | None = None
    strict: bool = False


def default_margin(*dtypes: str) -> float:
    """The margin for sides that computed in ``dtypes``: the widest of theirs; of others, bfloat16's."""
    return max(MARGINS.get(dtype, MARGINS["bfloat16"]) for dtype in dtypes)


def budgets_of(entry: object) -> Budgets:
    """Those of a `budgets:` entry; the defaults where there is none, or a problem, so that nothing runs."""
    if not isinstance(entry, dict):
        return Budgets()
    noise, regression = entry.get("noise", {}), entry.get("regression", {})
    given = {
        "margin": None if (margin := entry.get("margin")) is None else margin_of(margin),
        "spread": noise.get("spread"),
        "moved": noise.get("cases"),
        "lost": regression.get("cases"),
        "accuracy": regression.get("accuracy"),
        "strict": entry.get("strict"),
    }
    return Budgets(**{name: value for name, value in given.items() if value is not None})


def margin_of(given: float | str) -> float:
    """A margin in log-odds: a number of them, or such as ``2.5%``, by which they move a probability of 1/2.

    Raises ValueError for anything else, and for more than `MOST` log-odds, which is a percentage without its
    sign.
    """
    text = str(given).strip()
    if not text.endswith("%"):
        margin = float(text)
    else:
        points = float(text.removesuffix("%")) / 100
        if not 0 < points < _EVEN:
            raise ValueError(f"{text}: allowed: more than 0% and less than 50%")
        margin = math.log(_EVEN + points) - math.log(_EVEN - points)
    if not 0 < margin <= MOST:
        raise ValueError(f"{text}: allowed: a number above 0, {MOST:g} at most, or such as 2.5%")
    return margin
