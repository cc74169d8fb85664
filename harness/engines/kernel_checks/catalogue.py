"""Which kernels are checked, in which variants, and how far from float64 each may be.

Standard library only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from harness.engines.contract import EngineSettings, Json

__all__ = ["CHECKS", "DTYPES", "Check", "settings"]

DTYPES: Final = ("float32", "float16")


class Check(NamedTuple):
    """A kernel in one variant: ``function`` is LMDeploy's that launches it, ``variant`` may be ''.

    ``limits`` are the most steps off (`steps.steps_off`) that are no fault, by dtype. ``shape`` is what the
    variant says to the check of that function.
    """

    function: str
    variant: str
    limits: Mapping[str, float]
    shape: Mapping[str, Json]

    @property
    def name(self) -> str:
        """``FUNCTION`` or ``FUNCTION:VARIANT``."""
        return f"{self.function}:{self.variant}" if self.variant else self.function


def _of(function: str, limits: tuple[float, float], **variants: Mapping[str, Json]) -> list[Check]:
    by_dtype = dict(zip(DTYPES, limits, strict=True))
    return [Check(function, name.strip("_"), by_dtype, shape) for name, shape in variants.items()]


# In float32 and float16: at least twice what was measured on LMDeploy 0.12.3 to 0.18.0, as sm80 and as sm90.
# A wrong mask, index or sign is off by far more: docs/kernels.md.
_COPIES = (0.0, 0.0)  # numbers are moved, none is computed
_FEW = (4.0, 3.0)  # one formula: in float32 its roundings, in float16 those of its parts and its own
_CODES = (5.0, 4.0)  # scale and zero; codes are off only where they are not the nearest
_DEQUANTISED = (4.0, 4.0)  # code * scale and zero * scale are rounded apart, at up to twice the row's largest
_ATTENTION = (
    32.0,
    4.0,
)  # sums over size and keys, and exp of them; in float16 the weights are rounded as well
_OF_CODES = (32.0, 6.0)  # the same, and keys and values that were dequantised in the dtype
_EXPERTS = (16.0, 5.0)  # two products with sums, and what lies between them rounded to the dtype
_EXACT = (3.0, 1.0)  # sums of products of integers, exact, times two scales

_BENT: Final[Mapping[str, Mapping[str, Json]]] = {
    "softcap": {"softcap": 2.0},  # low enough to bend scores
    "window": {"window": 20},  # shorter than the sequences
    "sinks": {"sinks": True},
}
CHECKS: Final = (
    *_of("rms_norm", _FEW, _={}, residual={"residual": True}),
    *_of("silu_and_mul", _FEW, _={}),
    *_of("apply_rotary_pos_emb", _FEW, _={}, size_80={"size": 80}),
    *_of("fill_kv_cache", _COPIES, prefill={}, decode={"new": [1, 1, 1, 1]}),
    *_of("fill_kv_cache", _CODES, int8={"bits": 8}, int4={"bits": 4}),
    *_of("flatten_kv_cache", _COPIES, _={}, shd={"layout": "shd"}),
    *_of("flatten_kv_cache", _DEQUANTISED, int8={"bits": 8}, int4={"bits": 4}),
    *_of("flash_attn_varlen_func", _ATTENTION, _={}, full_shd={"causal": False, "layout": "shd"}),
    *_of("flash_attn_varlen_func", _ATTENTION, size_96={"size": 96}, **_BENT),
    *_of("flash_attn_with_kvcache", _ATTENTION, _={}, size_96={"size": 96}, **_BENT),
    *_of("flash_attn_with_kvcache", _OF_CODES, int8={"bits": 8}, int4={"bits": 4, "size": 96}),
    *_of("fused_moe", _EXPERTS, _={}),
    *_of("per_token_quant_int8", _CODES, _={}),
    *_of("matmul_kernel_dynamic_quant", _EXACT, _={}),
)
"""All checks, in the order in which they run and are told."""


def settings(card: str) -> EngineSettings:
    """Those of an engine that pretends the card of this name."""
    # Few processors make few splits of a sequence, so that there are some of several pages.
    return EngineSettings(
        kind="lmdeploy", model="", dtype="auto", device="cpu", paths=(), top_k=0, batch_size=1,
        options={"card": card, "processors": 8},
    )  # fmt: skip
