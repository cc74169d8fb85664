"""The rules by which verdicts are given, in words, and the figures that they take."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["ALLOWANCE", "ALPHA", "CONFIDENCE", "POWER", "TESTS", "UNSEEN"]

ALPHA = 0.01
"""How probable a false DRIFT or REGRESSION is at most, over all tests and suites of a comparison.

And, where limits come from a noise floor, that noise takes any of a profile's cases over its own."""

CONFIDENCE = 0.95
"""With which each end of an interval, and so equivalence, is shown: two one-sided tests at 5% each."""

UNSEEN = 2.0
"""A spread of so many times its budget must be excluded, by a suite that has the cases to find it; else it
is INCONCLUSIVE."""

ALLOWANCE = 2.0
"""How many times the largest difference that jittered runs showed is noise all the same.

That of FlashAttention's own tests, |out - ref32| ≤ 2 |torch16 - ref32|.
"""

POWER = 0.8
"""With which a suite must have the cases to find a spread of `UNSEEN` times its budget."""

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
