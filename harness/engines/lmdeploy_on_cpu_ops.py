"""Torch-only parts of the CPU device plug-in: attention, the device's stand-ins, and 'cuda' read as 'cpu'.

Imported by `lmdeploy_on_cpu.replace_names` once the environment is set, and by nobody else: importing it
imports torch and lmdeploy. Shapes: N tokens of all sequences in a row, H heads, G key/value heads, D their
size.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import SimpleNamespace
from typing import TYPE_CHECKING, TypeVar

import torch
from lmdeploy.pytorch.backends import (
    activation,
    apply_rotary_emb,
    embedding,
    linear,
    multinomial_sampling,
    norm,
    rotary_embedding,
)
from lmdeploy.pytorch.backends.attention import AttentionImpl, AttentionMetadata, PagedAttentionBuildSpec
from lmdeploy.pytorch.backends.default import DefaultOpsBackend
from lmdeploy.pytorch.backends.flash_attention import FlashAttentionBuildSpec, FlashAttentionImpl
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode

from harness.engines.lmdeploy_on_cpu import processor_name, unsupported

if TYPE_CHECKING:
    from lmdeploy.pytorch.backends.base import BuildSpec
    from lmdeploy.pytorch.backends.graph_runner import GraphRunner
    from lmdeploy.pytorch.config import BackendConfig, CacheConfig, ModelConfig
    from lmdeploy.pytorch.engine.model_agent import BaseModelAgent
    from lmdeploy.pytorch.model_inputs import StepContext

__all__ = ["CpuOpsBackend", "all_context_on_cpu", "cuda_stand_ins", "on_cpu"]

_T = TypeVar("_T")

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


def _attend(query: Tensor, key: Tensor, value: Tensor, *, scale: float, causal: bool) -> Tensor:
    """Attention of the last queries of one sequence: [q, H, D], [kv, G, D], [kv, G, Dv] to [q, H, Dv]."""
    queries, keys = query.size(0), key.size(0)
    mask = None
    if causal and queries > 1:
        # Queries are the sequence's last tokens, so the diagonal ends in the lower right corner.
        mask = torch.ones(queries, keys, dtype=torch.bool).tril(keys - queries)
    out = scaled_dot_product_attention(
        query.transpose(0, 1)[None],
        key.transpose(0, 1)[None],
        value.transpose(0, 1)[None],
        attn_mask=mask,
        scale=scale,
        enable_gqa=query.size(1) != key.size(1),
    )
    return out[0].transpose(0, 1)


class PagedAttention(AttentionImpl):  # type: ignore[misc]
    """Writes new keys and values to their pages, then attends over the pages of each sequence."""

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        k_cache: Tensor,
        v_cache: Tensor,
        attn_metadata: AttentionMetadata,
        learnable_sink: Tensor | None = None,
        nsa_indices: Tensor | None = None,
        **_: object,
    ) -> Tensor:
        """[N, H, D], [N, G, D], [N, G, Dv] and pages [blocks, block, G, D] to [N, H, Dv].

        What else LMDeploy passes are the scales of quantised caches, which are refused, and a hint.
        """
        if learnable_sink is not None or nsa_indices is not None:
            raise unsupported("attention sinks or sparse attention indices")
        block = k_cache.size(1)
        out = query.new_empty(*query.shape[:-1], value.size(-1))
        lengths = attn_metadata.q_seqlens.tolist(), attn_metadata.kv_seqlens.tolist()
        start = 0
        for pages, queries, keys in zip(attn_metadata.block_offsets, *lengths, strict=True):
            new = slice(start, start + queries)
            start += queries
            positions = torch.arange(keys - queries, keys)
            page, slot = pages[positions // block].long(), positions % block
            k_cache[page, slot] = key[new]
            v_cache[page, slot] = value[new]
            used = pages[: -(-keys // block)].long()
            out[new] = _attend(
                query[new],
                k_cache[used].flatten(0, 1)[:keys],
                v_cache[used].flatten(0, 1)[:keys],
                scale=self.scale,
                causal=self.causal,
            )
        return out


class CachelessAttention(FlashAttentionImpl):  # type: ignore[misc]
    """Attention within each sequence of a packed batch, as vision towers use it."""

    def __init__(self, *, scale: float, causal: bool) -> None:
        self.scale = scale
        self.causal = causal

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        q_start_loc: Tensor,
        q_seqlens: Tensor,
        kv_start_loc: Tensor,
        kv_seqlens: Tensor,
        **_: object,
    ) -> Tensor:
        """[N, H, D], [M, G, D], [M, G, Dv] to [N, H, Dv]; starts and lengths are given per sequence."""
        out = query.new_empty(*query.shape[:-1], value.size(-1))
        bounds = (t.tolist() for t in (q_start_loc, q_seqlens, kv_start_loc, kv_seqlens))
        for q_start, q_len, kv_start, kv_len in zip(*bounds, strict=True):
            q, kv = slice(q_start, q_start + q_len), slice(kv_start, kv_start + kv_len)
            out[q] = _attend(query[q], key[kv], value[kv], scale=self.scale, causal=self.causal)
        return out


class CpuOpsBackend(DefaultOpsBackend):  # type: ignore[misc]
    """LMDeploy's own torch operators, and the two kinds of attention it has for GPUs only."""

    @staticmethod
    def get_name() -> str:
        """For LMDeploy's messages."""
        return "cpu"

    @classmethod
    def build_op(cls, spec: BuildSpec, *, enable_deterministic: bool = False) -> object:
        """The operator for ``spec``; raises EngineError(UNSUPPORTED) naming what is not implemented."""
        if isinstance(spec, PagedAttentionBuildSpec | FlashAttentionBuildSpec):
            _check_attention(spec)
            scale = spec.head_dim**-0.5 if spec.scale is None else spec.scale
            if isinstance(spec, FlashAttentionBuildSpec):
                return CachelessAttention(scale=scale, causal=spec.causal)
            return PagedAttention(
                num_heads=spec.num_heads,
                head_size=spec.head_dim,
                scale=scale,
                num_kv_heads=spec.num_kv_heads,
                v_head_size=spec.v_head_dim,
                causal=spec.causal,
            )
        if isinstance(spec, _LMDEPLOYS_OWN):
            return super().build_op(spec, enable_deterministic=enable_deterministic)
        raise unsupported(f"LMDeploy's operator {type(spec).__name__.removesuffix('BuildSpec')}")

    @staticmethod
    def get_attention_metadata_cls() -> object:
        """What `update_step_context` makes."""
        return AttentionMetadata

    @classmethod
    def update_step_context(cls, step_context: StepContext) -> StepContext:
        """Give the step what `PagedAttention` reads of it."""
        step_context.attn_metadata = AttentionMetadata(
            is_decoding=step_context.is_decoding,
            block_offsets=step_context.block_offsets,
            q_start_loc=step_context.q_start_loc,
            q_seqlens=step_context.q_seqlens,
            kv_seqlens=step_context.kv_seqlens,
            quant_policy=step_context.kv_quant_policy,
        )
        return step_context

    @staticmethod
    def build_graph_runner(
        model: torch.nn.Module,
        model_config: ModelConfig,
        cache_config: CacheConfig,
        backend_config: BackendConfig,
        device: object,
    ) -> GraphRunner:
        """LMDeploy's runner without graphs, once the cache is known to be one that is implemented."""
        if int(cache_config.quant_policy) != 0:
            raise unsupported(f"a quantised KV cache (quant_policy {int(cache_config.quant_policy)})")
        if cache_config.window_size is not None and cache_config.window_size > 0:
            raise unsupported(f"sliding window attention (window {cache_config.window_size})")
        return DefaultOpsBackend.build_graph_runner(model, model_config, cache_config, backend_config, device)


def _check_attention(spec: PagedAttentionBuildSpec | FlashAttentionBuildSpec) -> None:
    window = spec.sliding_window
    reach = max(window) if isinstance(window, tuple | list) else window
    wanted = {
        "ALiBi": getattr(spec, "alibi", False),
        f"sliding window attention (window {window})": reach is not None and reach > 0,
        f"soft-capped attention logits (at {spec.logit_softcapping})": (spec.logit_softcapping or 0) > 0,
        "multi-head latent attention": getattr(spec, "use_flash_mla", False),
        "sparse attention (MLA index)": getattr(spec, "mla_index_topk", None) is not None,
        "attention sinks": getattr(spec, "learnable_sink", False),
        "block-sparse attention": getattr(spec, "block_sparse_size", 1) != 1,
    }
    for feature, asked in wanted.items():
        if asked:
            raise unsupported(feature)


def _on_cpu(value: _T) -> _T | str | torch.device:
    if isinstance(value, str) and value.partition(":")[0] == "cuda":
        return "cpu"
    if isinstance(value, torch.device) and value.type == "cuda":
        return torch.device("cpu")
    return value


class CudaReadAsCpu(TorchFunctionMode):  # type: ignore[misc]
    """Within it every torch call that names the device 'cuda' means the CPU."""

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: Sequence[type],
        args: Sequence[object] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        """Call ``func`` with the device replaced."""
        if func is torch.Tensor.cuda and isinstance(args[0], torch.Tensor):
            # A transfer makes a copy; the host's tensor may be written to while the 'device' works.
            return args[0].clone()
        named = {name: _on_cpu(value) for name, value in (kwargs or {}).items()}
        return func(*map(_on_cpu, args), **named)


def on_cpu(original: Callable[..., object]) -> Callable[..., object]:
    """A function of LMDeploy's with 'cuda' read as 'cpu' inside."""

    def call(*args: object, **kwargs: object) -> object:
        with CudaReadAsCpu():
            return original(*args, **kwargs)

    return call


def all_context_on_cpu(
    original: Callable[[BaseModelAgent], AbstractContextManager[None]],
) -> Callable[[BaseModelAgent], AbstractContextManager[None]]:
    """LMDeploy's ``BaseModelAgent.all_context`` with 'cuda' read as 'cpu' inside."""

    @contextmanager
    def all_context(self: BaseModelAgent) -> Iterator[None]:
        with original(self), CudaReadAsCpu():
            yield

    return all_context


class Stream:
    """Everything is done at once on a CPU, so a stream never has anything to wait for."""

    def __init__(self, *_: object, **__: object) -> None: ...

    def query(self) -> bool:
        """Whether all is done."""
        return True

    def synchronize(self) -> None:
        """Wait until all is done."""

    def wait_event(self, event: object) -> None:
        """Wait for what another stream does."""


class Event:
    """An event that has always happened."""

    def __init__(self, *_: object, **__: object) -> None: ...

    def record(self, stream: object = None) -> None:
        """Happen when all that was queued before is done."""

    def wait(self, stream: object = None) -> None:
        """Let a stream wait."""

    def query(self) -> bool:
        """Whether it has happened."""
        return True

    def synchronize(self) -> None:
        """Wait for it."""


def cuda_stand_ins() -> dict[str, object]:
    """What takes the place of each replaced name of ``torch.cuda``; no function object serves two names."""
    default = Stream()
    page = os.sysconf("SC_PAGE_SIZE")
    memory = page * os.sysconf("SC_PHYS_PAGES")
    properties = SimpleNamespace(
        name=processor_name(),
        major=8,  # the lowest that LMDeploy takes for able to do bfloat16, as every CPU is in torch
        minor=0,
        total_memory=memory,
        multi_processor_count=os.cpu_count() or 1,
    )
    return {
        "Stream": Stream,
        "Event": Event,
        "stream": lambda stream: nullcontext(stream),
        "current_stream": lambda device=None: default,  # noqa: ARG005 - called by that name
        "synchronize": lambda device=None: None,  # noqa: ARG005
        "empty_cache": lambda: None,
        "set_device": lambda device: None,  # noqa: ARG005
        "device": lambda device: nullcontext(device),
        "current_device": lambda: 0,
        "mem_get_info": lambda device=None: (page * os.sysconf("SC_AVPHYS_PAGES"), memory),  # noqa: ARG005
        "get_device_name": lambda device=None: properties.name,  # noqa: ARG005
        "get_device_capability": lambda device=None: (properties.major, properties.minor),  # noqa: ARG005
        "get_device_properties": lambda device=None: properties,  # noqa: ARG005
    }
