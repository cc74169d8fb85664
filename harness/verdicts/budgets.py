"""What a suite allows: the margin within which it is the same, and budgets for noise and regression."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Budgets"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Budgets:
    """What `budgets:` of a suite says; the defaults apply where it is silent.

    ``margin``: SAME takes a change of log-odds shown to be at most this (None: the dtype's, see
    `harness.tolerances`). For noise: ``spread`` is how many times the noise floor the candidate's spread may
    be before it is DRIFT, and ``moved`` how many cases may be beyond their own noise. For regression:
    ``lost`` is how many right answers may be lost beyond noise, and ``accuracy`` the loss (a share of the
    cases) that must be excluded with 95% confidence, or the suite is INCONCLUSIVE; None asks for nothing.
    """

    margin: float | None = None
    spread: float = 1.0
    moved: int = 0
    lost: int = 0
    accuracy: float | None = None
