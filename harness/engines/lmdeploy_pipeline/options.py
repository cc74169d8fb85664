"""From a profile's settings to LMDeploy's engine options: what is pinned, what may be set, what is refused.

Standard library only.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from typing import Final

from harness.engines.contract import EngineSettings, Json
from harness.engines.lmdeploy_on_cpu.plugin import unsupported
from harness.engines.lmdeploy_pipeline.turbomind import (
    TURBOMIND,
    TURBOMIND_OPTIONS,
    TURBOMIND_PATHS,
    TURBOMIND_PINNED,
    is_turbomind,
    refuse_on_turbomind,
)
from harness.errors import EngineError, ErrorKind

__all__ = [
    "AT_ONCE",
    "CAPTURED",
    "ENGINE_OPTIONS",
    "PATHS",
    "PINNED",
    "PYTORCH",
    "SCORED",
    "STEPWISE",
    "TOP_K",
    "TWO_STAGE",
    "check_settings",
    "engine_options",
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
STEPWISE: Final = "stepwise"

PINNED: Final[Mapping[str, Json]] = {
    "enable_prefix_caching": False,  # full logits are refused with it, and it lets cases touch each other
    "enable_metrics": False,
    "logprobs_mode": "raw_logprobs",  # without it no log-probabilities are returned
}
"""Options of PytorchEngineConfig that are the same in every profile."""

ENGINE_OPTIONS: Final = (
    "block_size",
    "cache_max_entry_count",
    "eager_mode",
    "hf_overrides",
    "max_batch_size",
    "max_prefill_token_num",
    "model_format",
    "num_gpu_blocks",
    "quant_policy",
    "session_len",
    "tp",
)
"""Options of PytorchEngineConfig that a profile may set, under their own names."""

_OWN: Final = ("backend", "stage_two", "threads", "trust_remote_code")
"""Options that are the harness's own."""

_ON_CPU: Final[Mapping[str, Json]] = {
    # By default the cache takes most of the free memory. 64 blocks of 64 tokens hold 16 prompts of 240.
    "num_gpu_blocks": 64,
    "eager_mode": True,
}


def check_settings(settings: EngineSettings) -> None:
    """Refuse, with an EngineError(UNSUPPORTED), what LMDeploy or the CPU plug-in cannot do as it is asked."""
    _one_of("device", settings.device, ("cpu", "cuda"))
    _one_of("dtype", settings.dtype, ("auto", "bfloat16", "float16", "float32"))
    _one_of("options.backend", settings.options.get("backend", PYTORCH), (PYTORCH, TURBOMIND))
    for path in settings.paths:
        _one_of("paths", path, TURBOMIND_PATHS if is_turbomind(settings) else PATHS)
    if settings.top_k < 0:
        raise _refusal("top_k", str(settings.top_k), "0 or more")
    if TOP_K in settings.paths and settings.top_k == 0:
        raise _refusal("top_k", "0 for the path top-k", "1 or more")
    if settings.batch_size < 1:
        raise _refusal("batch_size", str(settings.batch_size), "1 or more")
    _check_options(settings)
    if settings.device == "cuda" and settings.dtype == "float32":
        raise EngineError(
            ErrorKind.UNSUPPORTED,
            "dtype: found float32; LMDeploy has no float32 on a GPU and would turn it into float16 without a "
            "word. Write 'dtype: float16' or 'dtype: bfloat16', or keep float32 with 'device: cpu'",
        )
    if is_turbomind(settings):
        refuse_on_turbomind(settings)
    elif settings.device == "cpu":
        _check_on_cpu(settings.options)
    elif settings.options.get("tp", 1) != 1:
        # Logits processors and the scored rows would belong to other processes.
        raise _refusal(
            "options.tp", repr(settings.options["tp"]), "1; a model on several GPUs cannot be read"
        )


def engine_options(settings: EngineSettings, known: Collection[str]) -> dict[str, Json]:
    """Keyword arguments for PytorchEngineConfig, of those that are ``known`` to it.

    Pinned options that this LMDeploy lacks are left out: what they switch off it does not have, and without
    ``logprobs_mode`` it reports no log-probabilities. Raises EngineError(UNSUPPORTED) for a profile's own.
    """
    for name in settings.options:
        if name in ENGINE_OPTIONS and name not in known:
            raise _refusal(
                f"options.{name}",
                f"an option that this LMDeploy does not have ({settings.options[name]!r})",
                ", ".join(each for each in ENGINE_OPTIONS if each in known),
            )
    return {name: value for name, value in _wanted(settings).items() if name in known}


def _wanted(settings: EngineSettings) -> dict[str, Json]:
    chosen = {name: value for name, value in settings.options.items() if name in ENGINE_OPTIONS}
    defaults: dict[str, Json] = {"max_batch_size": settings.batch_size, "quant_policy": 0, "tp": 1}
    if settings.device == "cpu":
        # The plug-in keeps the dtype; LMDeploy's own option knows no float32.
        return {**defaults, **_ON_CPU, **chosen, **PINNED, "dtype": "auto"}
    return {**defaults, **chosen, **PINNED, "dtype": settings.dtype}


def stage_two(settings: EngineSettings) -> str:
    """How stage two goes about it: in one pass, or stepwise, extending the sequence token by token."""
    return str(settings.options.get("stage_two", AT_ONCE))


def _check_options(settings: EngineSettings) -> None:
    options = settings.options
    known, pinned = (
        (TURBOMIND_OPTIONS, TURBOMIND_PINNED) if is_turbomind(settings) else (ENGINE_OPTIONS, PINNED)
    )
    allowed = (*known, *_OWN)
    for name, value in options.items():
        if name in pinned or name in ("dtype", "device_type"):
            raise _refusal(f"options.{name}", repr(value), "nothing; the harness sets it")
        if name not in allowed:
            near = difflib.get_close_matches(name, allowed, n=1)
            raise _refusal(
                "options", f"{name}{f' (did you mean {near[0]}?)' if near else ''}", ", ".join(allowed)
            )
    _one_of("options.stage_two", options.get("stage_two", AT_ONCE), (AT_ONCE, STEPWISE))
    _one_of("options.trust_remote_code", options.get("trust_remote_code", False), (False, True))
    threads = options.get("threads", 1)
    if not isinstance(threads, int) or isinstance(threads, bool) or threads < 1:
        raise _refusal("options.threads", repr(threads), "a whole number from 1")


def _check_on_cpu(options: Mapping[str, Json]) -> None:
    if options.get("tp", 1) != 1:
        raise unsupported(f"a model split over several devices (tp {options['tp']})")
    if options.get("quant_policy", 0) != 0:
        raise unsupported(f"a quantised KV cache (quant_policy {options['quant_policy']})")
    if options.get("model_format") is not None:
        raise unsupported(f"quantised weights (model_format {options['model_format']})")


def _one_of(name: str, found: Json, allowed: tuple[Json, ...]) -> None:
    if found not in allowed:
        raise _refusal(name, repr(found), ", ".join(map(str, allowed)))


def _refusal(name: str, found: str, allowed: str) -> EngineError:
    return EngineError(
        ErrorKind.UNSUPPORTED, f"the engine lmdeploy: {name}: found {found}; allowed: {allowed}"
    )
