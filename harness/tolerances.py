"""Limits of the checks: their names, and one table of defaults per dtype with its reasons."""

from __future__ import annotations

__all__ = ["NAMES"]

# Each is an absolute difference. See the table below for units.
NAMES = ("probability", "total_variation", "kl", "js", "logprob", "snapshot")
