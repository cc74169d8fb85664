"""LMDeploy's prefix caching: whether a profile asks for it, and what goes with it. Standard library only."""

from __future__ import annotations

from typing import Final

from harness.engines.contract import EngineSettings
from harness.errors import EngineError, ErrorKind

__all__ = ["NO_CACHED_ROWS", "asks_prefix_cache", "check_in_force", "is_warm"]

NO_CACHED_ROWS: Final = "LMDeploy gives no rows of a prompt that may come from its prefix cache"
_OPTION: Final = "prefix_cache"


def asks_prefix_cache(settings: EngineSettings) -> bool:
    """Whether the engine is to have it, cold or warm."""
    return _OPTION in settings.options


def is_warm(settings: EngineSettings) -> bool:
    """Whether each case is asked once before, so that its prompt comes from the cache."""
    return settings.options.get(_OPTION) == "warm"


def check_in_force(settings: EngineSettings, *, enabled: bool) -> None:
    """Raise EngineError(UNSUPPORTED) where LMDeploy turned off what was asked for, of which it only warns."""
    if asks_prefix_cache(settings) and not enabled:
        raise EngineError(
            ErrorKind.UNSUPPORTED,
            f"options.prefix_cache: found {settings.options[_OPTION]}, but LMDeploy turned prefix caching "
            f"off for {settings.model}: its PyTorch engine has it for text models and where it prepares "
            "images the newer way (Qwen3-VL, not InternVL or Qwen2.5-VL), TurboMind for models with images "
            "from 0.16 on; allowed: no prefix_cache for this engine, as LMDeploy serves this model",
        )
