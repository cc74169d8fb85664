"""The rules by which verdicts are given, in words, and the figures that they take.

Where a figure was chosen by simulation, docs/calibration.md says which.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

__all__ = [
    "ALLOWANCE",
    "ALPHA",
    "CASE_MARGINS",
    "CONFIDENCE",
    "REST_MARGIN",
    "TESTS",
    "UNSEEN",
]

ALPHA = 0.01
"""How probable a false DRIFT or REGRESSION is at most, over all tests of a comparison.

And, where limits come from a noise floor, that noise takes any of a profile's cases over its own."""

CONFIDENCE = 0.95
"""With which each end of an interval, and so equivalence, is shown: two one-sided tests at 5% each."""

UNSEEN = 2.0
"""A spread of so many times its budget must be excluded; else the comparison is INCONCLUSIVE."""

ALLOWANCE = 2.0
"""How many times the largest difference that jittered runs showed is noise all the same, in pytest.

That of FlashAttention's own tests, |out - ref32| ≤ 2 |torch16 - ref32|.
"""

CASE_MARGINS = 5.0
"""How many margins a single case may move where all together are within the margin."""

REST_MARGIN = 0.025
"""How far the probability outside the letters may move, as a root mean square, to be within the margin."""

# What noise varies by where runs do not tell it. Whole runs differ in loudness by this share, and move the
# expected letters together by this part of a σ; both weigh as much as so many runs do.
TAU_LOUDNESS, TAU_SHIFT, TAU_RUNS = 0.07, 0.10, 8.0
# A table knows nothing of runs: a quarter of a standard deviation, and half a σ.
TABLE_LOUDNESS, TABLE_SHIFT = 0.25, 0.5
# The prior of a case's variance weighs as much as so many runs of its own, as sure as so many cases tell; at
# most so many degrees of freedom.
PRIOR_RUNS, PRIOR_CASES, MOST_PRIOR = 4.0, 20.0, 60.0
# Excess kurtosis that few values do not show, and how many values outweigh it.
TAIL_KURTOSIS, TAIL_VALUES = 3.0, 25.0

TESTS: Mapping[str, str] = MappingProxyType(
    {
        "cases": "a case moved further than its own noise brings it",
        "spread": "all cases together are spread wider than noise spreads them",
        "shift": "the expected letters moved one way together",
        "mass": "the probability outside the letters moved one way together",
        "flips": "more top letters flipped than the leads and noise explain",
        "accuracy": "more right answers were lost than gained, and than noise explains (exact McNemar)",
    }
)
"""The tests on a comparison, by name. Holm's correction is over these."""
