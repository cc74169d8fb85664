"""The paged cache, as it is and in int8 and int4, and attention over it and over prompts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import lmdeploy.messages
import numpy as np
import torch

from harness.engines.kernel_checks import references
from harness.engines.kernel_checks.calls import array, kernel, tensors
from harness.engines.kernel_checks.references import PAGE, Inputs, ends, slots
from harness.engines.kernel_checks.steps import Numbers, Outcome

__all__ = ["decode", "fill", "flatten", "prefill"]

_HEADS, _KV_HEADS = 6, 2  # three query heads to one of the cache's
_LENGTHS: Final = (70, 5, 48, 131)  # a page partly filled, less than one, full ones only, several to a split
_NEW: Final = (40, 5, 16, 131)  # how many of those are a prompt's: with a past, and without
_LEVELS: Final = {8: 255, 4: 15}


class _Cache(NamedTuple):
    """Keys or values in pages, (pages, PAGE, heads, size), and what they are worth in float64.

    In int8 and int4 ``stored`` holds codes, in int4 those of both halves of the size in one byte, and
    ``scales`` has scale and zero of each token and head, (pages, PAGE, heads, 2), in the dtype.
    """

    stored: Numbers
    worth: Numbers
    scales: Numbers


def _cache(inputs: Inputs, pages: int, size: int, bits: int) -> _Cache:
    values = inputs.normal(pages, PAGE, _KV_HEADS, size)
    if not bits:
        return _Cache(values, values.astype(np.float64), np.zeros((pages, PAGE, _KV_HEADS, 2), inputs.dtype))
    told = references.quantised(values, _LEVELS[bits])
    codes = np.clip(np.rint(told.codes), 0, _LEVELS[bits]).astype(np.uint8)
    scales = np.concatenate([told.scale, told.zero], axis=-1).astype(inputs.dtype)
    scale, zero = np.split(scales.astype(np.float64), 2, axis=-1)
    low, high = np.split(codes, 2, axis=-1)
    return _Cache(codes if bits == 8 else low + high * np.uint8(16), (codes - zero) * scale, scales)


def _unpacked(stored: Numbers, bits: int) -> Numbers:
    return np.concatenate([stored & 15, stored >> 4], axis=-1) if bits == 4 else stored


def _quantised(bits: int, *caches: _Cache) -> dict[str, Any]:
    """What says to LMDeploy that the caches are quantised: by a number or, in a newer one, its enum."""
    if not bits:
        return {}
    scales = dict(
        zip(("k_scales_zeros", "v_scales_zeros"), tensors(*(c.scales for c in caches)), strict=True)
    )
    return {"quant_policy": getattr(lmdeploy.messages, "QuantPolicy", int)(bits), **scales}


def fill(inputs: Inputs, *, new: Sequence[int] = _NEW, size: int = 80, bits: int = 0) -> dict[str, Outcome]:
    """``new`` tokens of each sequence into its pages; all other slots stay as they are."""
    table, pages = inputs.pages(_LENGTHS)
    at = ends(new)
    states = [inputs.normal(sum(new), _KV_HEADS, size) for _ in range(2)]
    caches = [_cache(inputs, pages, size, bits) for _ in range(2)]
    stored = tensors(*(cache.stored for cache in caches))
    counts = tensors(at[:-1], np.array(new), np.array(_LENGTHS))
    quantised = _quantised(bits, *caches)
    kernel("fill_kv_cache")(*tensors(*states), *stored, *counts, max(new), *tensors(table), **quantised)
    outcomes: dict[str, Outcome] = {}
    for name, state, cache, left in zip("kv", states, caches, stored, strict=True):
        expected, scales = _unpacked(cache.stored, bits).astype(np.float64), cache.scales.astype(np.float64)
        worth = np.ones((*scales.shape[:-1], 1))
        for sequence, (length, count) in enumerate(zip(_LENGTHS, new, strict=True)):
            place = slots(table, sequence, length - count, length)
            expected[place] = own = state[at[sequence] : at[sequence + 1]]
            if bits:
                expected[place], worth[place], zero = references.quantised(own, _LEVELS[bits])
                scales[place] = np.concatenate([worth[place], zero], axis=-1)
        outcomes[name] = Outcome(_unpacked(array(left), bits), expected, worth if bits else None)
        if bits:
            found = array(quantised[f"{name}_scales_zeros"])
            outcomes[f"{name} scales"] = Outcome(found[..., None], scales[..., None])
    return outcomes


def flatten(inputs: Inputs, *, size: int = 80, bits: int = 0, layout: str = "hsd") -> dict[str, Outcome]:
    """All sequences from their pages, one after another."""
    table, pages = inputs.pages(_LENGTHS)
    caches = [_cache(inputs, pages, size, bits) for _ in range(2)]
    total, at = sum(_LENGTHS), ends(_LENGTHS)
    outs = kernel("flatten_kv_cache")(
        *tensors(*(cache.stored for cache in caches), np.array(_LENGTHS), table, at[:-1]),
        out_size=-(-total // PAGE) * PAGE + PAGE,
        out_dtype=getattr(torch, inputs.dtype),
        flatten_kv_layout=layout,
        **_quantised(bits, *caches),
    )
    outcomes = {}
    for name, cache, out in zip("kv", caches, outs, strict=True):
        own = [cache.worth[slots(table, number, 0, length)] for number, length in enumerate(_LENGTHS)]
        flat = array(out) if layout == "shd" else array(out).swapaxes(0, 1)
        outcomes[name] = Outcome(flat[:total], np.concatenate(own))
    return outcomes


def _bent(inputs: Inputs, softcap: float, window: int | None, sinks: bool) -> tuple[dict[str, Any], ...]:
    """What a variant adds: to LMDeploy's call, and to the reference's."""
    ours: dict[str, Any] = {"softcap": softcap, "window": window}
    theirs: dict[str, Any] = {"softcap": softcap} if softcap else {}
    if window is not None:
        theirs["window_size"] = (window, window)
    if sinks:
        ours["sinks"] = inputs.normal(_HEADS)
        theirs["sinks"] = tensors(ours["sinks"])[0]
    return theirs, ours


def prefill(
    inputs: Inputs,
    *,
    size: int = 32,
    causal: bool = True,
    layout: str = "hsd",
    softcap: float = 0.0,
    window: int | None = None,
    sinks: bool = False,
) -> dict[str, Outcome]:
    """Attention of prompts over what came before and themselves; not ``causal``: without a past."""
    lengths = _LENGTHS if causal else _NEW
    q = inputs.normal(sum(_NEW), _HEADS, size)
    k, v = (inputs.normal(sum(lengths), _KV_HEADS, size) for _ in range(2))
    theirs, ours = _bent(inputs, softcap, window, sinks)
    at, of = ends(_NEW), ends(lengths)
    found = kernel("flash_attn_varlen_func")(
        *tensors(q, *((k, v) if layout == "shd" else (k.swapaxes(0, 1), v.swapaxes(0, 1))), at, of),
        max_seqlen_q=max(_NEW),
        max_seqlen_k=max(lengths),
        softmax_scale=size**-0.5,
        causal=causal,
        kv_layout=layout,
        **theirs,
    )
    expected = [
        references.attention(q[a:b], k[c:d], v[c:d], causal=causal, **ours)
        for a, b, c, d in zip(at, at[1:], of, of[1:], strict=False)
    ]
    return {"out": Outcome(array(found), np.concatenate(expected))}


def decode(
    inputs: Inputs,
    *,
    size: int = 32,
    bits: int = 0,
    softcap: float = 0.0,
    window: int | None = None,
    sinks: bool = False,
) -> dict[str, Outcome]:
    """Attention of one token of each sequence over its pages, split over the card's processors."""
    table, pages = inputs.pages(_LENGTHS)
    q = inputs.normal(len(_LENGTHS), _HEADS, size)
    k, v = (_cache(inputs, pages, size, bits) for _ in range(2))
    theirs, ours = _bent(inputs, softcap, window, sinks)
    found = kernel("flash_attn_with_kvcache")(
        *tensors(q, k.stored, v.stored, np.array(_LENGTHS), table),
        softmax_scale=size**-0.5,
        **theirs,
        **_quantised(bits, k, v),
    )
    places = [slots(table, number, 0, length) for number, length in enumerate(_LENGTHS)]
    each = zip(q[:, None], places, strict=True)
    expected = [references.attention(one, k.worth[at], v.worth[at], **ours) for one, at in each]
    return {"out": Outcome(array(found).reshape(q.shape), np.concatenate(expected))}
