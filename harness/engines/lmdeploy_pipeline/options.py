"""From a profile's settings to the fields of LMDeploy's engine config. Standard library only.

What a profile may say is checked where it is read. Here is what needs the fields that an LMDeploy has, and
what would else go wrong without a word for settings that come another way.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from typing import Final

from harness.engines.contract import EngineSettings, Json
from harness.engines.prefix_cache import asks_prefix_cache
from harness.engines.template_date import TEMPLATE_DATE
from harness.errors import EngineError, ErrorKind

__all__ = [
    "AT_ONCE",
    "CAPTURED",
    "EXECUTOR",
    "GENERATION",
    "NO_TOP_K",
    "PATHS",
    "PINNED",
    "PYTORCH",
    "SCORED",
    "STEPWISE",
    "TOP_K",
    "TURBOMIND",
    "TURBOMIND_PATHS",
    "TWO_STAGE",
    "check_settings",
    "engine_options",
    "is_turbomind",
    "stage_two",
]

TWO_STAGE: Final = "two-stage"
CAPTURED: Final = "captured"
SCORED: Final = "scored"
TOP_K: Final = "top-k"
PATHS: Final = (TWO_STAGE, CAPTURED, SCORED, TOP_K)
"""In the order of what they tell: of full rows, of every letter, of the letters that are among the top."""
AT_ONCE: Final = "one-pass"
PYTORCH: Final = "pytorch"
TURBOMIND: Final = "turbomind"
GENERATION: Final = "generation"
TURBOMIND_PATHS: Final = (GENERATION, TWO_STAGE)
STEPWISE: Final = "stepwise"

NO_TOP_K: Final = (
    "none: TurboMind under greedy decoding returns one token with 0.0, since it normalises over the one "
    "candidate that it keeps; the paths give the whole distribution"
)
"""What a fingerprint says of the log-probabilities that TurboMind reports; they are never asked for."""

EXECUTOR: Final = "LMDEPLOY_EXECUTOR_BACKEND"
"""LMDeploy's variable that decides in which processes the PyTorch engine runs the model."""

PINNED: Final[Mapping[str, Json]] = {
    "enable_prefix_caching": False,  # but for `prefix_cache`: it lets cases touch each other
    "enable_metrics": False,
    "logprobs_mode": "raw_logprobs",  # without it no log-probabilities are returned
}
"""Fields that are the same in every profile, where there are such."""

_ON_CPU: Final[Mapping[str, Json]] = {
    # By default the cache takes most of the free memory. 64 blocks of 64 tokens hold 16 prompts of 240.
    "num_gpu_blocks": 64,
    "eager_mode": True,
}
_OWN: Final = (
    "backend", "card", "chat_template_config", "engine_config", "gemm_tuning", "kernels", "max_pixels",
    "min_pixels", "prefix_cache", "processors", "stage_two", TEMPLATE_DATE, "threads", "trust_remote_code",
    "vision_config",
)  # fmt: skip
_OF_SERVERS: Final = ("key_env", "serve", "served_model", "timeout", "url")


def is_turbomind(settings: EngineSettings) -> bool:
    """Whether the profile asks for TurboMind."""
    return settings.options.get("backend") == TURBOMIND


def check_settings(settings: EngineSettings) -> None:
    """Refuse, with an EngineError(UNSUPPORTED), what LMDeploy would change without a word."""
    known = TURBOMIND_PATHS if is_turbomind(settings) else PATHS
    if wrong := [path for path in settings.paths if path not in known]:
        raise _refusal("paths", repr(wrong[0]), ", ".join(known))
    if settings.device == "cpu" and is_turbomind(settings):
        raise _refusal(
            "options.backend", "turbomind with 'device: cpu'", "'backend: pytorch', or 'device: cuda'"
        )
    if settings.device == "cuda" and settings.dtype == "float32":
        # LMDeploy has none on a GPU and would take float16.
        raise _refusal("dtype", "float32 on cuda", "float16, bfloat16 or auto; float32 with device: cpu")


def engine_options(settings: EngineSettings, known: Collection[str]) -> dict[str, Json]:
    """Keyword arguments for LMDeploy's engine config, whose fields are ``known``.

    Pinned fields that this LMDeploy lacks are left out: what they switch off it does not have, and without
    ``logprobs_mode`` it reports no log-probabilities. Raises EngineError(UNSUPPORTED) for a profile's own
    that it lacks, and for one that is pinned.
    """
    config = settings.options.get("engine_config")
    chosen = {name: value for name, value in settings.options.items() if name not in (*_OWN, *_OF_SERVERS)}
    chosen |= config if isinstance(config, dict) else {}
    on_cpu = settings.device == "cpu"
    # The plug-in keeps the dtype; LMDeploy's own option knows no float32.
    pinned = {**PINNED, "dtype": "auto" if on_cpu else settings.dtype}
    pinned["enable_prefix_caching"] = asks_prefix_cache(settings)
    for name, value in chosen.items():
        place = f"{'options' if name in settings.options else 'engine_config'}.{name}"
        if name in pinned or name == "device_type":
            raise _refusal(place, repr(value), "nothing; the harness sets it")
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            engine = "TurboMind" if is_turbomind(settings) else "PyTorch engine"
            found = f"{value!r}, a field that this LMDeploy's {engine} does not have"
            raise _refusal(place, found, f"{near[0]} (the nearest)" if near else ", ".join(sorted(known)))
    defaults: dict[str, Json] = {"max_batch_size": settings.batch_size, "quant_policy": 0, "tp": 1}
    wanted = {**defaults, **(_ON_CPU if on_cpu else {}), **chosen, **pinned}
    return {name: value for name, value in wanted.items() if name in known}


def stage_two(settings: EngineSettings) -> str:
    """How stage two goes about it: in one pass, or stepwise, extending the sequence token by token."""
    return str(settings.options.get("stage_two", AT_ONCE))


def _refusal(name: str, found: str, allowed: str) -> EngineError:
    return EngineError(
        ErrorKind.UNSUPPORTED, f"the engine lmdeploy: {name}: found {found}; allowed: {allowed}"
    )
