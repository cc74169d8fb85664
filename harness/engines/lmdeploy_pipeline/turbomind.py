"""What is said of LMDeploy's TurboMind engine by name. Standard library only."""

from __future__ import annotations

from typing import Final

from harness.engines.contract import EngineSettings

__all__ = ["GENERATION", "NO_TOP_K", "TURBOMIND", "TURBOMIND_PATHS", "is_turbomind"]

TURBOMIND: Final = "turbomind"
GENERATION: Final = "generation"
TURBOMIND_PATHS: Final = (GENERATION, "two-stage")

NO_TOP_K: Final = (
    "none: TurboMind under greedy decoding returns one token with 0.0, since it normalises over the one "
    "candidate that it keeps; the paths give the whole distribution"
)
"""What a fingerprint says of the log-probabilities that TurboMind reports; they are never asked for."""


def is_turbomind(settings: EngineSettings) -> bool:
    """Whether the profile asks for TurboMind."""
    return settings.options.get("backend") == TURBOMIND
