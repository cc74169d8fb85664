"""From a profile's settings to the options of LMDeploy's TurboMind engine. Standard library only."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from harness.engines.contract import EngineSettings, Json
from harness.errors import EngineError, ErrorKind

__all__ = [
    "GENERATION",
    "NO_TOP_K",
    "TURBOMIND",
    "TURBOMIND_OPTIONS",
    "TURBOMIND_PATHS",
    "TURBOMIND_PINNED",
    "is_turbomind",
    "refuse_on_turbomind",
    "turbomind_options",
]

TURBOMIND: Final = "turbomind"
GENERATION: Final = "generation"
TURBOMIND_PATHS: Final = (GENERATION, "two-stage")

NO_TOP_K: Final = (
    "none: TurboMind under greedy decoding returns one token with 0.0, since it normalises over the one "
    "candidate that it keeps; the paths give the whole distribution"
)
"""What a fingerprint says of the log-probabilities that TurboMind reports; they are never asked for."""

TURBOMIND_PINNED: Final[Mapping[str, Json]] = {
    "enable_prefix_caching": False,  # rows of the prompt are refused with it, and cases touch each other
    "enable_metrics": False,
}
"""Options of TurbomindEngineConfig that are the same in every profile."""

TURBOMIND_OPTIONS: Final = (
    "cache_block_seq_len",
    "cache_max_entry_count",
    "hf_overrides",
    "max_batch_size",
    "max_prefill_token_num",
    "model_format",
    "quant_policy",
    "session_len",
    "tp",
)
"""Options of TurbomindEngineConfig that a profile may set, under their own names."""


def is_turbomind(settings: EngineSettings) -> bool:
    """Whether the profile asks for TurboMind."""
    return settings.options.get("backend") == TURBOMIND


def turbomind_options(settings: EngineSettings, known: Collection[str]) -> dict[str, Json]:
    """Keyword arguments for TurbomindEngineConfig, of those that are ``known`` to it.

    Pinned options that this LMDeploy lacks are left out: what they switch off it does not have. Raises
    EngineError(UNSUPPORTED) for a profile's own.
    """
    chosen = {name: value for name, value in settings.options.items() if name in TURBOMIND_OPTIONS}
    if lost := [name for name in chosen if name not in known]:
        allowed = ", ".join(name for name in TURBOMIND_OPTIONS if name in known)
        raise EngineError(
            ErrorKind.UNSUPPORTED,
            f"the engine lmdeploy: options.{lost[0]}: found an option that this LMDeploy's TurboMind does "
            f"not have ({chosen[lost[0]]!r}); allowed: {allowed}",
        )
    wanted: dict[str, Json] = {"max_batch_size": settings.batch_size, "quant_policy": 0, "tp": 1}
    wanted |= {**chosen, **TURBOMIND_PINNED, "dtype": settings.dtype}
    return {name: value for name, value in wanted.items() if name in known}


def refuse_on_turbomind(settings: EngineSettings) -> None:
    """Refuse, with an EngineError(UNSUPPORTED), what TurboMind cannot do anywhere."""
    if settings.device != "cuda":
        raise EngineError(
            ErrorKind.UNSUPPORTED,
            f"the engine lmdeploy: options.backend: found turbomind with 'device: {settings.device}'; "
            "allowed: turbomind with 'device: cuda' only, since it has no CPU kernels. Write 'device: cuda', "
            "or 'backend: pytorch', which runs here through the CPU device plug-in",
        )
