"""LMDeploy's CUDA backend of operators, held to what its interpreted kernels can do.

Imported once the environment is set and Triton's interpreter is mended: importing it imports lmdeploy's
kernels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from lmdeploy.pytorch.backends.cuda import attention
from lmdeploy.pytorch.backends.cuda.op_backend import CudaOpsBackend

from harness.errors import EngineError, ErrorKind

if TYPE_CHECKING:
    from lmdeploy.pytorch.config import ModelConfig

__all__ = ["InterpretedOpsBackend", "refuse_model", "unsupported"]

_RUN: Final = frozenset(
    {
        "ApplyRotaryEmb", "CacheBlockCopy", "Embedding", "FlashAttention", "FusedMoE", "GeluAndMul",
        "LayerNorm", "Linear", "LinearW8A8", "MultinomialSampling", "PagedAttention", "RMSNorm",
        "RMSNormW8A8", "RotaryEmbedding", "RouterGemm", "SiluAndMul", "SoftmaxTopK",
    }
)  # fmt: skip
"""Operators whose kernels were run interpreted, or that are LMDeploy's own torch code on any backend."""

_NOT_RUN: Final = {
    "LinearW4A16": "AWQ's kernel holds inline PTX, which Triton's interpreter cannot read",
    "FusedMoEV4FP4": "its kernel holds inline PTX, which Triton's interpreter cannot read",
    "FusedMoEW4A16": "its kernel holds inline PTX, which Triton's interpreter cannot read",
    "LinearBlockedF8": "its kernels were not run, and that for sm90 is Gluon, which has no interpreter",
    "FusedMoEBlockedF8": "its kernels in fp8 were not run",
    "GatedDeltaRule": "its kernels are a compiled library's",
    "CausalConv1d": "its kernels are a compiled library's",
}

_METHODS: Final = {
    "awq": _NOT_RUN["LinearW4A16"],
    "fp8": _NOT_RUN["LinearBlockedF8"],
    "gptq": "its kernels are TurboMind's, which are compiled",
    "mxfp4": "its kernels were not run",
    "compressed-tensors": _NOT_RUN["FusedMoEW4A16"],
}
_TAKEN: Final = ("smooth_quant",)
_DTYPES: Final = ("float32", "float16")


def unsupported(feature: str, reason: str) -> EngineError:
    """The refusal of what cannot run interpreted, or would be computed wrongly."""
    return EngineError(
        ErrorKind.UNSUPPORTED,
        f"'kernels: interpreted' cannot run {feature}: {reason}. Run this profile with 'device: cuda' on a "
        "machine with an NVIDIA GPU, or leave this engine out of it; docs/kernels.md",
    )


class InterpretedOpsBackend(CudaOpsBackend):  # type: ignore[misc]
    """LMDeploy's CUDA backend on one pretended GPU; what its interpreted kernels cannot do is refused."""

    @staticmethod
    def device_count() -> int:
        """One: the pretended card."""
        return 1

    @classmethod
    def build_op(cls, spec: Any, **kwargs: Any) -> object:  # noqa: ANN401 - of any LMDeploy
        """The operator for ``spec``; raises EngineError(UNSUPPORTED) naming what cannot run."""
        _check_operator(type(spec).__name__.removesuffix("BuildSpec"))
        return super().build_op(spec, **kwargs)

    @classmethod
    def get_layer_impl_builder(cls, layer_type: Any) -> object:  # noqa: ANN401 - as above
        """As `build_op`, for an LMDeploy that asks for a builder of each type of layer."""
        _check_operator(layer_type.name)
        return super().get_layer_impl_builder(layer_type)


def refuse_model(config: ModelConfig, dtype: str) -> None:
    """Refuse, with an EngineError(UNSUPPORTED), a model that needs what interpreted kernels lack.

    ``dtype`` is the one that the model will be in, ``config`` LMDeploy's before it is settled.
    """
    if dtype not in _DTYPES:
        raise unsupported(
            dtype or "an unknown dtype",
            "Triton's interpreter takes numbers of that dtype for the integers of their bit patterns and "
            f"computes with those; allowed: {' or '.join(_DTYPES)}, as this engine's dtype",
        )
    if getattr(attention, "use_fa3", False):
        raise unsupported(
            "FlashAttention 3",
            "it is installed here, LMDeploy takes it in place of its Triton kernels, and it is compiled; use "
            "an environment without flash_attn_interface",
        )
    for part in (config.hf_config, *(getattr(config.hf_config, name, None) for name in _PARTS)):
        quantisation = getattr(part, "quantization_config", None)
        if not quantisation:
            continue
        method = quantisation.get("quant_method") if isinstance(quantisation, dict) else str(quantisation)
        if method not in _TAKEN:
            raise unsupported(
                f"weights quantised by {method}", _METHODS.get(str(method), "its kernels were not run")
            )
    if getattr(config, "use_flash_mla", False):
        raise unsupported("multi-head latent attention", "its kernels, FlashMLA, are compiled")
    devices = getattr(getattr(config, "dist_config", None), "world_size", 1)
    if devices > 1:
        raise unsupported(f"a model split over {devices} devices (tp, dp or ep)", "there is one processor")


_PARTS: Final = ("text_config", "llm_config")


def _check_operator(name: str) -> None:
    if name not in _RUN:
        raise unsupported(f"LMDeploy's operator {name}", _NOT_RUN.get(name, "its kernels were not run"))
