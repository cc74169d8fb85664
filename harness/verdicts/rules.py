"""The rules by which verdicts are given, in words, and the figures that they take."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["ALPHA", "CONFIDENCE", "TESTS", "UNSEEN"]

ALPHA = 0.01
"""How probable a false DRIFT or REGRESSION is at most, over all tests and suites of a comparison."""

CONFIDENCE = 0.95
"""With which each end of an interval, and so equivalence, is shown: two one-sided tests at 5% each."""

UNSEEN = 2.0
"""A suite must be able to exclude that the spread is this many times its budget, else it is INCONCLUSIVE."""

TESTS: Mapping[str, str] = MappingProxyType(
    {
        "cases": "a case moved further than its own noise brings it, or a wide margin flipped",
        "spread": "all cases together are spread wider than noise spreads them",
        "shift": "the expected letters moved one way together",
        "flips": "more top letters flipped than the margins and noise explain",
        "accuracy": "more right answers were lost than gained, and than noise explains (exact McNemar)",
    }
)
"""The tests on a suite, by name. Holm's correction is over these."""
