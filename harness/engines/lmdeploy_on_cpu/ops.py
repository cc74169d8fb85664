"""Attention of the CPU device plug-in, in torch only, and what every LMDeploy's backend of operators shares.

`lmdeploy_on_cpu_specs` and `lmdeploy_on_cpu_layers` make the backend of it, each for the LMDeploys that ask
for their operators its way. Imported once the environment is set: importing it imports torch and lmdeploy.
Shapes: N tokens of all sequences in a row, H heads, G key/value heads, D their size.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from lmdeploy.pytorch.backends.attention import AttentionImpl, AttentionMetadata
from lmdeploy.pytorch.backends.default import DefaultOpsBackend
from lmdeploy.pytorch.backends.flash_attention import FlashAttentionImpl
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from harness.engines.lmdeploy_on_cpu.refusal import unsupported

if TYPE_CHECKING:
    from lmdeploy.pytorch.backends.graph_runner import GraphRunner
    from lmdeploy.pytorch.config import BackendConfig, CacheConfig, ModelConfig
    from lmdeploy.pytorch.model_inputs import StepContext

__all__ = ["CachelessAttention", "CpuOps", "PagedAttention", "cacheless_attention", "paged_attention"]

_IMPLEMENTED = frozenset(
    {
        "causal", "head_dim", "head_size", "logit_softcapping", "num_heads", "num_kv_heads", "scale",
        "sliding_window", "v_head_dim", "v_head_size",
        "device",  # where LMDeploy makes the scales of a quantised cache
    }
)  # fmt: skip
"""What LMDeploy may ask of attention by these names is done as it is asked."""

_NAMES = {
    "alibi": "ALiBi",
    "use_flash_mla": "multi-head latent attention",
    "mla_index_topk": "sparse attention (MLA index)",
    "learnable_sink": "attention sinks",
    "block_sparse_size": "block-sparse attention",
}
_OFF = {"block_sparse_size": 1}  # everything else is off where it is None, False, or not above 0


def _attend(
    query: Tensor, key: Tensor, value: Tensor, *, scale: float, causal: bool, window: int, softcap: float
) -> Tensor:
    """Attention of the last queries of one sequence: [q, H, D], [kv, G, D], [kv, G, Dv] to [q, H, Dv].

    As LMDeploy's Triton kernels have it (``kv_min_loc``), a token sees itself and the ``window`` keys before
    it where that is above 0, which is one key more than Transformers' window of the same number has.
    """
    last = key.size(0) - query.size(0)  # queries are the sequence's last tokens, from this position on
    q, k, v = (tensor.transpose(0, 1)[None] for tensor in (query, key, value))
    mask = None
    if causal and (query.size(0) > 1 or 0 < window < last):
        mask = torch.ones(query.size(0), key.size(0), dtype=torch.bool).tril(last)
        if window > 0:
            mask = mask.triu(last - window)
    if softcap > 0:
        groups = query.size(1) // key.size(1)
        k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
        scores = softcap * torch.tanh(q.float() @ k.float().mT * (scale / softcap))
        if mask is not None:
            scores = scores.masked_fill(~mask, -torch.inf)
        out = scores.softmax(-1).to(v.dtype) @ v
    else:
        out = scaled_dot_product_attention(
            q, k, v, attn_mask=mask, scale=scale, enable_gqa=query.size(1) != key.size(1)
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
                window=self.sliding_window,
                softcap=self.logit_softcapping,
            )
        return out


class CachelessAttention(FlashAttentionImpl):  # type: ignore[misc]
    """Attention within each sequence of a packed batch, as vision towers use it."""

    def __init__(self, *, scale: float, causal: bool, window: int, softcap: float) -> None:  # noqa: D107
        self.scale = scale
        self.causal = causal
        self.window = window
        self.softcap = softcap

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
            out[q] = _attend(
                query[q], key[kv], value[kv],
                scale=self.scale, causal=self.causal, window=self.window, softcap=self.softcap,
            )  # fmt: skip
        return out


class CpuOps(DefaultOpsBackend):  # type: ignore[misc]
    """LMDeploy's own torch operators, with what attention needs of a backend beside its operators."""

    @staticmethod
    def get_name() -> str:
        """For LMDeploy's messages."""
        return "cpu"

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
        return DefaultOpsBackend.build_graph_runner(model, model_config, cache_config, backend_config, device)


def paged_attention(asked: Mapping[str, Any]) -> PagedAttention:
    """The attention that LMDeploy describes by its own names; raises EngineError(UNSUPPORTED)."""
    _check(asked)
    return PagedAttention(
        num_heads=asked["num_heads"],
        head_size=asked["head_dim"] if "head_dim" in asked else asked["head_size"],
        scale=asked.get("scale"),
        num_kv_heads=asked.get("num_kv_heads"),
        v_head_size=asked.get("v_head_dim") if "v_head_dim" in asked else asked.get("v_head_size"),
        sliding_window=_window(asked),
        logit_softcapping=asked.get("logit_softcapping") or 0.0,
        causal=asked.get("causal", True),
    )


def cacheless_attention(asked: Mapping[str, Any]) -> CachelessAttention:
    """The same for attention without a cache."""
    _check(asked)
    scale = asked.get("scale")
    return CachelessAttention(
        scale=asked["head_dim"] ** -0.5 if scale is None else scale,
        causal=asked.get("causal", True),
        window=_window(asked),
        softcap=asked.get("logit_softcapping") or 0.0,
    )


def _window(asked: Mapping[str, Any]) -> int:
    """How many keys a token sees before itself, not above 0: all; LMDeploy gives it as N or (N, ahead)."""
    given = asked.get("sliding_window")
    reach = tuple(given) if isinstance(given, tuple | list) else (given or -1,)
    if max(reach) > 0 and not asked.get("causal", True):
        # Its Triton kernels limit what is behind alone, FlashAttention 3 what is ahead, too.
        raise unsupported(f"sliding window attention that is not causal (window {given})")
    return int(reach[0])


def _check(asked: Mapping[str, object]) -> None:
    """Refuse what is not implemented, by its name, known or new."""
    for name, value in asked.items():
        if name in _IMPLEMENTED or value is None or value == _OFF.get(name):
            continue
        if isinstance(value, bool | int | float) and value <= 0:
            continue
        raise unsupported(_NAMES.get(name, f"attention with {name}").format(value))
