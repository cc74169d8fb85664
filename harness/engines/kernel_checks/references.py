"""What the kernels are given, and what each computes, in float64 and plainly. Needs numpy only."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from harness.engines.kernel_checks.steps import Numbers

__all__ = [
    "PAGE", "Inputs", "Quantised", "attention", "ends", "experts", "quantised", "rms_norm", "rotated",
    "silu_and_mul", "slots",
]  # fmt: skip

PAGE: Final = 16
"""Tokens in a page of the cache: few, so that sequences have several pages, the last partly filled."""


class Inputs:
    """Draws what one check needs, by its name: the same for every LMDeploy and, up to rounding, dtype."""

    def __init__(self, check: str, dtype: str) -> None:
        """``dtype`` is float32 or float16."""
        # The legacy one, whose stream is the same in every NumPy.
        self.draw = np.random.RandomState(zlib.crc32(check.encode()))
        self.dtype = dtype

    def normal(self, *shape: int, scale: float = 1.0) -> Numbers:
        """Normally distributed numbers, rounded to the dtype."""
        return (self.draw.standard_normal(shape) * scale).astype(self.dtype)

    def pages(self, lengths: Sequence[int]) -> tuple[Numbers, int]:
        """Which pages hold sequences of these lengths, (sequences, most pages), and how many pages there are.

        They are in no order, and one is no sequence's.
        """
        needed = [-(-length // PAGE) for length in lengths]
        free = iter(self.draw.permutation(sum(needed) + 1).tolist())
        table = np.zeros((len(lengths), max(needed)), dtype=np.int32)
        for row, pages in zip(table, needed, strict=True):
            row[:pages] = [next(free) for _ in range(pages)]
        return table, sum(needed) + 1


def ends(lengths: Sequence[int]) -> Numbers:
    """Where each of several sequences that follow one another starts, and where the last ends."""
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)


def slots(table: Numbers, sequence: int, start: int, stop: int) -> tuple[Numbers, Numbers]:
    """Page, and place in it, of the positions ``start`` to ``stop`` of a sequence."""
    positions = np.arange(start, stop)
    return table[sequence, positions // PAGE], positions % PAGE


class Quantised(NamedTuple):
    """Values as codes: value = (code - zero) * scale. ``codes`` are not rounded; the others are (..., 1)."""

    codes: Numbers
    scale: Numbers
    zero: Numbers


def quantised(x: Numbers, levels: int) -> Quantised:
    """The last axis of ``x`` as codes: its smallest value is 0, its largest ``levels``."""
    x = x.astype(np.float64)
    low, high = x.min(-1, keepdims=True), x.max(-1, keepdims=True)
    scale = (high - low) / levels
    return Quantised(x / scale - low / scale, scale, -low / scale)


def rms_norm(x: Numbers, weight: Numbers, eps: float) -> Numbers:
    """Root mean square norm over the last axis."""
    x = x.astype(np.float64)
    return np.asarray(x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * weight.astype(np.float64))


def silu_and_mul(x: Numbers) -> Numbers:
    """SiLU of the first half of the last axis, times the second half."""
    gate, up = np.split(x.astype(np.float64), 2, axis=-1)
    return np.asarray(gate / (1 + np.exp(-gate)) * up)


def rotated(x: Numbers, cos: Numbers, sin: Numbers) -> Numbers:
    """Rotary embedding of ``x``, (tokens, heads, size), by ``cos`` and ``sin``, (tokens, size): by halves."""
    x, cos, sin = x.astype(np.float64), cos.astype(np.float64)[:, None], sin.astype(np.float64)[:, None]
    first, second = np.split(x, 2, axis=-1)
    return np.asarray(x * cos + np.concatenate([-second, first], axis=-1) * sin)


def attention(
    q: Numbers,
    k: Numbers,
    v: Numbers,
    *,
    causal: bool = True,
    softcap: float = 0.0,
    window: int | None = None,
    sinks: Numbers | None = None,
) -> Numbers:
    """Attention of one sequence: ``q`` (queries, heads, size), ``k`` and ``v`` (keys, fewer heads, size).

    The queries are at the last positions of the keys. With ``window`` a query sees that many keys before its
    own; ``softcap`` bounds the scores; a head's sink is one more score, whose value is zero.
    """
    group = q.shape[1] // k.shape[1]
    queries = q.astype(np.float64).swapaxes(0, 1)
    keys, values = (np.repeat(x.astype(np.float64).swapaxes(0, 1), group, axis=0) for x in (k, v))
    scores = queries @ keys.swapaxes(1, 2) / np.sqrt(q.shape[-1])
    if softcap:
        scores = np.tanh(scores / softcap) * softcap
    at, key = np.arange(len(q))[:, None] + len(k) - len(q), np.arange(len(k))[None]
    seen = (key <= at) | (not causal)
    if window is not None:
        seen &= key >= at - window
    weights = np.exp(np.where(seen, scores, -np.inf))
    total = weights.sum(-1, keepdims=True)
    if sinks is not None:
        total = total + np.exp(sinks.astype(np.float64))[:, None, None]
    return np.asarray((weights / total @ values).swapaxes(0, 1))


def experts(x: Numbers, gate_up: Numbers, down: Numbers, weights: Numbers, chosen: Numbers) -> Numbers:
    """A mixture of experts: ``x`` (tokens, size), ``gate_up`` (experts, 2 * inner, size), ``down`` back.

    ``weights`` and ``chosen`` are (tokens, experts of a token); the weights are made to sum to one.
    """
    x, gate_up, down, weights = (each.astype(np.float64) for each in (x, gate_up, down, weights))
    weights = weights / weights.sum(-1, keepdims=True)
    inner = silu_and_mul(np.einsum("tcis,ts->tci", gate_up[chosen], x))
    return np.asarray(np.einsum("tc,tcsi,tci->ts", weights, down[chosen], inner))
