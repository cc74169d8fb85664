"""The CPU device plug-in's backend for an LMDeploy that builds each operator of a specification."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lmdeploy.pytorch.backends import (
    activation,
    apply_rotary_emb,
    embedding,
    linear,
    multinomial_sampling,
    norm,
    rotary_embedding,
)
from lmdeploy.pytorch.backends.attention import PagedAttentionBuildSpec
from lmdeploy.pytorch.backends.flash_attention import FlashAttentionBuildSpec

from harness.engines.lmdeploy_on_cpu.ops import CpuOps, cacheless_attention, paged_attention
from harness.engines.lmdeploy_on_cpu.refusal import unsupported

if TYPE_CHECKING:
    from lmdeploy.pytorch.backends.base import BuildSpec

__all__ = ["CpuOpsBackend"]

# The operators of LMDeploy's own torch backend whose results were compared with Transformers. Everything
# else (quantised linear layers, mixtures of experts, state-space models, adapters) is refused by name.
_LMDEPLOYS_OWN = (
    activation.GeluAndMulBuildSpec,
    activation.SiluAndMulBuildSpec,
    apply_rotary_emb.ApplyRotaryEmbBuildSpec,
    embedding.EmbeddingBuildSpec,
    linear.LinearBuildSpec,
    multinomial_sampling.MultinomialSamplingBuildSpec,
    norm.LayerNormBuildSpec,
    norm.RMSNormBuildSpec,
    rotary_embedding.RotaryEmbeddingBuildSpec,
)


class CpuOpsBackend(CpuOps):
    """LMDeploy's own torch operators, and the two kinds of attention it has for GPUs only."""

    @classmethod
    def build_op(cls, spec: BuildSpec, *, enable_deterministic: bool = False) -> object:
        """The operator for ``spec``; raises EngineError(UNSUPPORTED) naming what is not implemented."""
        if isinstance(spec, PagedAttentionBuildSpec):
            return paged_attention(vars(spec))
        if isinstance(spec, FlashAttentionBuildSpec):
            return cacheless_attention(vars(spec))
        if isinstance(spec, _LMDEPLOYS_OWN):
            return super().build_op(spec, enable_deterministic=enable_deterministic)
        raise unsupported(f"LMDeploy's operator {type(spec).__name__.removesuffix('BuildSpec')}")
