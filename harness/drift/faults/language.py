"""Faults of the language model and of its head; each function plants the fault of its name.

Those of attention reach into the CPU device plug-in's own, where keys and values of a sequence lie plain.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn.functional import gelu, scaled_dot_product_attention

from harness.drift.faults.ground import Ground, bits_kept, on_grid

_HERE_AND_ON = 20
_PAGE = 16  # a small one: prompts of the embedded model are short
Attend = Callable[..., torch.Tensor]


def embeddings_scaled(at: Ground, size: float) -> None:  # noqa: D103 - as the module says; so below
    at.scale(at.language.embed_tokens.weight, 1 + size)


def _features(at: Ground, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    at.wrap(at.model, "get_image_features", lambda old, *a, **k: change(old(*a, **k)))


def features_scaled(at: Ground, size: float) -> None:  # noqa: D103
    _features(at, lambda features: features * (1 + size))


def feature_lost(at: Ground, size: float) -> None:  # noqa: D103
    del size

    def lose(features: torch.Tensor) -> torch.Tensor:
        features = features.clone()
        features[0, 0] = 0
        return features

    _features(at, lose)


def rope_base(at: Ground, size: float) -> None:  # noqa: D103
    angles = at.language.rotary_emb.inv_freq  # base ** -(2i / D)
    share = torch.arange(len(angles), dtype=torch.float64) / len(angles)
    at.write(angles, angles.double() * (1 + size) ** -share)


def rope_scaled(at: Ground, size: float) -> None:  # noqa: D103
    angles = at.language.rotary_emb.inv_freq
    at.write(angles, angles.double() / (1 + size))


def rope_offset(at: Ground, size: float) -> None:  # noqa: D103
    def later(
        old: Callable[..., Any], hidden: torch.Tensor, position_ids: torch.Tensor, **kwargs: Any
    ) -> Any:
        places = position_ids.float()
        return old(hidden, position_ids=places + size * (places > _HERE_AND_ON), **kwargs)

    at.wrap(at.language.rotary_emb, "forward", later)


def _attend(at: Ground, layer: int, change: Callable[..., torch.Tensor]) -> None:
    """Change how a layer attends over one sequence; ``change`` gets `ops._attend` and is called as it."""
    from harness.engines.lmdeploy_on_cpu import ops

    def forward(old: Callable[..., torch.Tensor], *args: Any, **kwargs: Any) -> torch.Tensor:
        whole: Any = ops._attend
        ops._attend = lambda *a, **k: change(whole, *a, **k)
        try:
            return old(*args, **kwargs)
        finally:
            ops._attend = whole

    at.wrap(at.language.layers[layer].self_attn.attn_fwd.impl, "forward", forward)


def mask_in_prefill(at: Ground, size: float) -> None:  # noqa: D103
    del size

    def ahead(
        old: Attend,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        *,
        scale: float,
        **others: Any,
    ) -> torch.Tensor:
        queries, keys = len(query), len(key)
        if queries == 1:
            return old(query, key, value, scale=scale, **others)
        found = scaled_dot_product_attention(
            query.transpose(0, 1)[None],
            key.transpose(0, 1)[None],
            value.transpose(0, 1)[None],
            attn_mask=torch.ones(queries, keys, dtype=torch.bool).tril(keys - queries + 1),
            scale=scale,
            enable_gqa=query.size(1) != key.size(1),
        )
        return found[0].transpose(0, 1)

    _attend(at, 0, ahead)


def decoding_scaled(at: Ground, size: float) -> None:  # noqa: D103
    def louder(old: Attend, query: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        return old(query * (1 + size) if len(query) == 1 else query, *args, **kwargs)

    _attend(at, 0, louder)


def padding_attended(at: Ground, size: float) -> None:  # noqa: D103
    del size

    def whole(old: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return old(*args, **{**kwargs, "attention_mask": torch.ones_like(kwargs["attention_mask"])})

    at.wrap(at.model, "forward", whole)


def kv_page_off(at: Ground, size: float) -> None:  # noqa: D103
    del size

    def second(
        old: Attend, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, **kwargs: Any
    ) -> torch.Tensor:
        places = torch.arange(len(key))
        if len(key) >= 2 * _PAGE:
            places[:_PAGE] += _PAGE
        return old(query, key[places], value[places], **kwargs)

    _attend(at, 1, second)


def mask_in_decoding(at: Ground, size: float) -> None:  # noqa: D103
    del size

    def without_itself(
        old: Attend, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, **kwargs: Any
    ) -> torch.Tensor:
        last = -1 if len(query) == 1 else None
        return old(query, key[:last], value[:last], **kwargs)

    _attend(at, 1, without_itself)


def softmax_scale(at: Ground, size: float) -> None:  # noqa: D103
    impl = at.language.layers[1].self_attn.attn_fwd.impl
    at.put(impl, "scale", impl.scale * (1 + size))


def neighbours_cache(at: Ground, size: float) -> None:  # noqa: D103
    impl = at.language.layers[1].self_attn.attn_fwd.impl

    def mixed(
        old: Attend, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor,
        k_cache: torch.Tensor, v_cache: torch.Tensor, attn_metadata: Any, **kwargs: Any,
    ) -> torch.Tensor:  # fmt: skip
        found = old(query, key, value, k_cache, v_cache, attn_metadata, **kwargs).clone()
        if len(attn_metadata.q_seqlens) > 1:
            found[-1] += size * (found[0] - found[-1])
        return found

    at.wrap(impl, "forward", mixed)


def layer_twice(at: Ground, size: float) -> None:  # noqa: D103
    for first, second in zip(*(at.language.layers[i].parameters() for i in (0, 1)), strict=True):
        at.write(second, second.detach() + size * (first.detach() - second.detach()))


def head_lost(at: Ground, size: float) -> None:  # noqa: D103
    weights = at.language.layers[2].self_attn.o_proj.weight
    width = at.language.layers[2].self_attn.attn_fwd.impl.head_size
    changed = weights.detach().clone()
    changed[:, width : 2 * width] *= 1 - size
    at.write(weights, changed)


def kv_half(at: Ground, size: float) -> None:  # noqa: D103
    def coarse(
        old: Attend, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, **kwargs: Any
    ) -> torch.Tensor:
        return old(query, bits_kept(key, size), bits_kept(value, size), **kwargs)

    _attend(at, 2, coarse)


def down_int8(at: Ground, size: float) -> None:  # noqa: D103
    weights = at.language.layers[1].mlp.down_proj.weight
    at.write(weights, on_grid(weights, size))


def mlp_half(at: Ground, size: float) -> None:  # noqa: D103
    at.wrap(at.language.layers[0].mlp, "forward", lambda old, values: bits_kept(old(values), size))


def mlp_epsilon(at: Ground, size: float) -> None:  # noqa: D103
    at.put(at.language.layers[1].post_attention_layernorm, "variance_epsilon", size)


def mlp_activation(at: Ground, size: float) -> None:  # noqa: D103
    def mixed(old: Callable[..., torch.Tensor], values: torch.Tensor) -> torch.Tensor:
        gate, up = values.clone().chunk(2, -1)
        exact = old(values)
        return exact + size * (gelu(gate) * up - exact)

    at.wrap(at.language.layers[2].mlp.act_fn, "forward", mixed)


def norm_epsilon(at: Ground, size: float) -> None:  # noqa: D103
    at.put(at.language.norm.impl, "eps", size)


def tied_head(at: Ground, size: float) -> None:  # noqa: D103
    head, embeddings = at.model.lm_head.weight, at.language.embed_tokens.weight
    at.write(head, head.detach() + size * (embeddings.detach()[: len(head)] - head.detach()))
