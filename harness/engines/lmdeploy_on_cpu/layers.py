"""The CPU device plug-in's backend for an LMDeploy that asks for a builder of each type of layer."""

from __future__ import annotations

from lmdeploy.pytorch.backends.base import OpType

from harness.engines.lmdeploy_on_cpu.ops import (
    CachelessAttention,
    CpuOps,
    PagedAttention,
    cacheless_attention,
    paged_attention,
)
from harness.engines.lmdeploy_on_cpu.refusal import unsupported

__all__ = ["CpuOpsBackend"]

# As in `lmdeploy_on_cpu_specs`: what was compared with Transformers.
_LMDEPLOYS_OWN = frozenset(
    {
        "ApplyRotaryEmb",
        "Embedding",
        "GeluAndMul",
        "LayerNorm",
        "Linear",
        "MultinomialSampling",
        "RMSNorm",
        "RotaryEmbedding",
        "SiluAndMul",
    }
)


class PagedAttentionBuilder:
    """Builds `PagedAttention`."""

    @staticmethod
    def build(num_heads: int, head_size: int, **others: object) -> PagedAttention:
        """LMDeploy's arguments by its own names; raises EngineError(UNSUPPORTED)."""
        return paged_attention({"num_heads": num_heads, "head_size": head_size, **others})


class CachelessAttentionBuilder:
    """Builds `CachelessAttention`."""

    @staticmethod
    def build(num_heads: int, head_dim: int, **others: object) -> CachelessAttention:
        """LMDeploy's arguments by its own names; raises EngineError(UNSUPPORTED)."""
        return cacheless_attention({"num_heads": num_heads, "head_dim": head_dim, **others})


class CpuOpsBackend(CpuOps):
    """LMDeploy's own torch operators, and the two kinds of attention it has for GPUs only."""

    @classmethod
    def get_layer_impl_builder(cls, layer_type: OpType) -> object:
        """The builder for ``layer_type``; raises EngineError(UNSUPPORTED) naming what is not implemented."""
        if layer_type is OpType.PagedAttention:
            return PagedAttentionBuilder
        if layer_type is OpType.FlashAttention:
            return CachelessAttentionBuilder
        if layer_type.name in _LMDEPLOYS_OWN:
            return super().get_layer_impl_builder(layer_type)
        raise unsupported(f"LMDeploy's operator {layer_type.name}")
