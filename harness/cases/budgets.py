"""What a suite allows: the margin within which it is the same, and budgets for noise and regression."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

__all__ = ["MARGINS", "Budgets", "default_margin"]

MARGINS: Mapping[str, float] = MappingProxyType({"float32": 1e-3, "float16": 0.02, "bfloat16": 0.1})
"""Log-odds within which SAME is shown where a suite names no margin, by dtype.

A log-odds of 0.1 moves a probability of one half by 0.025, one of 0.02 by 0.005, one of 0.001 by 0.00025.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budgets:
    """What `budgets:` of a suite says; the defaults apply where it is silent.

    ``margin``: SAME takes a change of log-odds shown to be at most this (None: the dtype's, of
    `MARGINS`). For noise: ``spread`` is how many times the noise floor the candidate's spread may
    be before it is DRIFT, and ``moved`` how many cases may be beyond their own noise. For regression:
    ``lost`` is how many right answers may be lost beyond noise, and ``accuracy`` the loss (a share of the
    cases) that must be excluded with 95% confidence, or the suite is INCONCLUSIVE; None asks for nothing.
    """

    margin: float | None = None
    spread: float = 1.0
    moved: int = 0
    lost: int = 0
    accuracy: float | None = None


def default_margin(*dtypes: str) -> float:
    """The margin for sides that computed in ``dtypes``: the widest of theirs; of others, bfloat16's."""
    return max(MARGINS.get(dtype, MARGINS["bfloat16"]) for dtype in dtypes)
