"""Each of LMDeploy's functions, under its own name, called on generated inputs beside its reference.

Importing it imports LMDeploy's kernels, so Triton's interpreter has to be mended before.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import lmdeploy.messages
import numpy as np
import torch
from lmdeploy.pytorch.kernels import cuda
from lmdeploy.pytorch.kernels.cuda import activation

from harness.engines.kernel_checks import references
from harness.engines.kernel_checks.references import PAGE, Inputs, ends, slots
from harness.engines.kernel_checks.steps import Numbers, Outcome

__all__ = ["Lacking", "check_of", "signature"]

Outcomes = dict[str, Outcome]

_EPS: Final = 1e-6
_HEADS, _KV_HEADS = 6, 2  # three query heads to one of the cache's
_LENGTHS: Final = (70, 5, 48, 131)  # a page partly filled, less than one, full ones only, several to a split
_NEW: Final = (40, 5, 16, 131)  # how many of those are a prompt's: with a past, and without
_LEVELS: Final = {8: 255, 4: 15}


class Lacking(Exception):  # noqa: N818 - it is no error: a version need not have every kernel
    """This LMDeploy has no function of that name."""


def check_of(function: str) -> Callable[..., Outcomes]:
    """What calls a function of LMDeploy's: takes `Inputs` and what the variant says."""
    return globals()[f"_{function}"]  # type: ignore[no-any-return]


def signature(function: str) -> list[str]:
    """Its parameters, each as ``name`` or ``name=default``; raises `Lacking`."""
    parameters = inspect.signature(_kernel(function)).parameters.values()
    return [str(one.replace(annotation=inspect.Parameter.empty)) for one in parameters]


def _kernel(name: str) -> Callable[..., Any]:
    for place in (cuda, activation):
        if callable(found := getattr(place, name, None)):
            return found  # type: ignore[no-any-return]
    raise Lacking(name)


def _tensors(*values: Numbers) -> list[torch.Tensor]:
    """Copies, to which a kernel may write."""
    return [torch.from_numpy(np.array(one, order="C")) for one in values]


def _rms_norm(inputs: Inputs, *, residual: bool = False) -> Outcomes:
    x, weight, before = inputs.normal(7, 96), inputs.normal(96), inputs.normal(7, 96)
    if not residual:
        found = _kernel("rms_norm")(*_tensors(x, weight), _EPS)
        return {"out": Outcome(found.numpy(), references.rms_norm(x, weight, _EPS))}
    found, total = _kernel("rms_norm")(*_tensors(x, weight), _EPS, *_tensors(before))
    summed = x + before  # in the dtype, as the stream that it is added to is
    out = Outcome(found.numpy(), references.rms_norm(summed, weight, _EPS))
    return {"out": out, "residual": Outcome(total.numpy(), summed.astype(np.float64))}


def _silu_and_mul(inputs: Inputs) -> Outcomes:
    x = inputs.normal(5, 2 * 600, scale=3.0)  # more than one block, the last not full
    return {"out": Outcome(_kernel("silu_and_mul")(*_tensors(x)).numpy(), references.silu_and_mul(x))}


def _apply_rotary_pos_emb(inputs: Inputs, *, size: int = 32) -> Outcomes:
    q, k = inputs.normal(37, 6, size), inputs.normal(37, 2, size)
    angles = np.arange(100, 137)[:, None] * 10000.0 ** (-np.arange(size // 2) / (size // 2))
    cos, sin = (np.tile(f(angles), 2).astype(inputs.dtype) for f in (np.cos, np.sin))
    outs = _kernel("apply_rotary_pos_emb")(*_tensors(q, k, cos, sin))
    each = zip("qk", outs, (q, k), strict=True)
    return {name: Outcome(out.numpy(), references.rotated(x, cos, sin)) for name, out, x in each}


def _fused_moe(inputs: Inputs) -> Outcomes:
    x, down = inputs.normal(11, 64, scale=0.3), inputs.normal(8, 64, 80, scale=0.2)
    gate_up = inputs.normal(8, 2 * 80, 64, scale=0.2)
    weights = inputs.draw.uniform(0.1, 1.0, (11, 2)).astype(np.float32)
    chosen = np.stack([inputs.draw.permutation(8)[:2] for _ in range(11)])
    found = _kernel("fused_moe")(*_tensors(x, gate_up, down, weights, chosen), topk=2, renormalize=True)
    return {"out": Outcome(found.numpy(), references.experts(x, gate_up, down, weights, chosen))}


def _per_token_quant_int8(inputs: Inputs) -> Outcomes:
    x = inputs.normal(9, 100)
    codes, scales = _kernel("per_token_quant_int8")(*_tensors(x), 1e-7)
    scale = np.abs(x.astype(np.float64)).max(-1, keepdims=True) / 127
    return {"codes": Outcome(codes.numpy(), x / scale, scale), "scales": Outcome(scales.numpy(), scale)}


def _matmul_kernel_dynamic_quant(inputs: Inputs) -> Outcomes:
    a, b = (inputs.draw.randint(-127, 128, (rows, 200)).astype(np.int8) for rows in (9, 48))
    scales = [np.abs(inputs.normal(rows, 1, scale=0.01)).astype(np.float32) for rows in (9, 48)]
    dtype = getattr(torch, inputs.dtype)
    found = _kernel("matmul_kernel_dynamic_quant")(*_tensors(a, b, *scales), output_dtype=dtype)
    products = a.astype(np.float64) @ b.astype(np.float64).T
    return {"out": Outcome(found.numpy(), products * scales[0].astype(np.float64) * scales[1].T)}


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
    """What tells LMDeploy of quantised caches: a number or, in a newer one, its enum, and the scales."""
    if not bits:
        return {}
    k, v = _tensors(*(cache.scales for cache in caches))
    policy = getattr(lmdeploy.messages, "QuantPolicy", int)(bits)
    return {"quant_policy": policy, "k_scales_zeros": k, "v_scales_zeros": v}


def _fill_kv_cache(inputs: Inputs, *, new: Sequence[int] = _NEW, bits: int = 0) -> Outcomes:
    """``new`` tokens of each sequence into its pages; all other slots stay as they are."""
    table, pages = inputs.pages(_LENGTHS)
    at = ends(new)
    states = [inputs.normal(sum(new), _KV_HEADS, 80) for _ in range(2)]
    caches = [_cache(inputs, pages, 80, bits) for _ in range(2)]
    stored = _tensors(*(cache.stored for cache in caches))
    counts = _tensors(at[:-1], np.array(new), np.array(_LENGTHS))
    quantised = _quantised(bits, *caches)
    _kernel("fill_kv_cache")(*_tensors(*states), *stored, *counts, max(new), *_tensors(table), **quantised)
    outcomes: Outcomes = {}
    for name, state, cache, left in zip("kv", states, caches, stored, strict=True):
        expected, scales = _unpacked(cache.stored, bits).astype(np.float64), cache.scales.astype(np.float64)
        worth = np.ones((*scales.shape[:-1], 1))
        for sequence, (length, count) in enumerate(zip(_LENGTHS, new, strict=True)):
            place = slots(table, sequence, length - count, length)
            expected[place] = own = state[at[sequence] : at[sequence + 1]]
            if bits:
                expected[place], worth[place], zero = references.quantised(own, _LEVELS[bits])
                scales[place] = np.concatenate([worth[place], zero], axis=-1)
        outcomes[name] = Outcome(_unpacked(left.numpy(), bits), expected, worth if bits else None)
        if bits:
            found = quantised[f"{name}_scales_zeros"].numpy()
            outcomes[f"{name} scales"] = Outcome(found[..., None], scales[..., None])
    return outcomes


def _flatten_kv_cache(inputs: Inputs, *, bits: int = 0, layout: str = "hsd") -> Outcomes:
    """All sequences from their pages, one after another."""
    table, pages = inputs.pages(_LENGTHS)
    caches = [_cache(inputs, pages, 80, bits) for _ in range(2)]
    total, at = sum(_LENGTHS), ends(_LENGTHS)
    outs = _kernel("flatten_kv_cache")(
        *_tensors(*(cache.stored for cache in caches), np.array(_LENGTHS), table, at[:-1]),
        out_size=-(-total // PAGE) * PAGE + PAGE,
        out_dtype=getattr(torch, inputs.dtype),
        flatten_kv_layout=layout,
        **_quantised(bits, *caches),
    )
    outcomes = {}
    for name, cache, out in zip("kv", caches, outs, strict=True):
        own = [cache.worth[slots(table, number, 0, length)] for number, length in enumerate(_LENGTHS)]
        flat = out.numpy() if layout == "shd" else out.numpy().swapaxes(0, 1)
        outcomes[name] = Outcome(flat[:total], np.concatenate(own))
    return outcomes


def _bent(inputs: Inputs, bent: dict[str, float]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a variant (``softcap``, ``window``, ``sinks``) is to LMDeploy's function, and to the reference."""
    theirs, ours = dict[str, Any](bent), dict[str, Any](bent)
    if "window" in bent:
        theirs["window_size"] = (theirs.pop("window"),) * 2
    if "sinks" in bent:
        ours["sinks"] = inputs.normal(_HEADS)
        theirs["sinks"] = _tensors(ours["sinks"])[0]
    return theirs, ours


def _flash_attn_varlen_func(
    inputs: Inputs, *, size: int = 32, causal: bool = True, layout: str = "hsd", **bent: float
) -> Outcomes:
    """Prompts over what came before and themselves; not ``causal``: without a past, as in a vision tower."""
    lengths = _LENGTHS if causal else _NEW
    q = inputs.normal(sum(_NEW), _HEADS, size)
    k, v = (inputs.normal(sum(lengths), _KV_HEADS, size) for _ in range(2))
    theirs, ours = _bent(inputs, bent)
    at, of = ends(_NEW), ends(lengths)
    found = _kernel("flash_attn_varlen_func")(
        *_tensors(q, *((k, v) if layout == "shd" else (k.swapaxes(0, 1), v.swapaxes(0, 1))), at, of),
        max_seqlen_q=max(_NEW),
        max_seqlen_k=max(lengths),
        softmax_scale=size**-0.5,
        causal=causal,
        kv_layout=layout,
        **theirs,
    )
    each = zip(at[:-1], at[1:], of[:-1], of[1:], strict=True)
    expected = [references.attention(q[a:b], k[c:d], v[c:d], causal=causal, **ours) for a, b, c, d in each]
    return {"out": Outcome(found.numpy(), np.concatenate(expected))}


def _flash_attn_with_kvcache(inputs: Inputs, *, size: int = 32, bits: int = 0, **bent: float) -> Outcomes:
    """One token of each sequence over its pages, which the card's processors share."""
    table, pages = inputs.pages(_LENGTHS)
    q = inputs.normal(len(_LENGTHS), _HEADS, size)
    k, v = (_cache(inputs, pages, size, bits) for _ in range(2))
    theirs, ours = _bent(inputs, bent)
    given = _tensors(q, k.stored, v.stored, np.array(_LENGTHS), table)
    theirs |= {"softmax_scale": size**-0.5, **_quantised(bits, k, v)}
    found = _kernel("flash_attn_with_kvcache")(*given, **theirs)
    places = [slots(table, number, 0, length) for number, length in enumerate(_LENGTHS)]
    each = zip(q[:, None], places, strict=True)
    expected = [references.attention(one, k.worth[at], v.worth[at], **ours) for one, at in each]
    return {"out": Outcome(found.numpy().reshape(q.shape), np.concatenate(expected))}
