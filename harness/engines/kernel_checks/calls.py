"""LMDeploy's kernels called, and their norm, activation, rotary embedding, experts and linear layer in int8.

Importing it imports LMDeploy's kernels, so Triton's interpreter has to be mended before.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from lmdeploy.pytorch.kernels import cuda
from lmdeploy.pytorch.kernels.cuda import activation

from harness.engines.kernel_checks import references
from harness.engines.kernel_checks.references import Inputs
from harness.engines.kernel_checks.steps import Numbers, Outcome

__all__ = [
    "Lacking", "array", "experts", "kernel", "linear", "quantised_tokens", "rms_norm", "rotary", "signature",
    "silu_and_mul", "tensors",
]  # fmt: skip

_EPS = 1e-6


class Lacking(Exception):  # noqa: N818 - it is no error: a version need not have every kernel
    """This LMDeploy has no function of that name."""


def kernel(name: str) -> Callable[..., Any]:
    """The function that launches a kernel; raises `Lacking`."""
    for place in (cuda, activation):
        if callable(found := getattr(place, name, None)):
            return found  # type: ignore[no-any-return]
    raise Lacking(name)


def signature(name: str) -> list[str]:
    """The parameters of such a function, each as ``name`` or ``name=default``; raises `Lacking`."""
    parameters = inspect.signature(kernel(name)).parameters.values()
    return [str(one.replace(annotation=inspect.Parameter.empty)) for one in parameters]


def tensors(*values: Numbers) -> list[torch.Tensor]:
    """Copies of arrays, to which a kernel may write."""
    return [torch.from_numpy(np.array(one, order="C")) for one in values]


def array(values: torch.Tensor) -> Numbers:
    """What a kernel left."""
    return np.array(values.numpy())


def rms_norm(inputs: Inputs, *, residual: bool = False) -> dict[str, Outcome]:
    """Of a size that is no power of two."""
    x, weight, before = inputs.normal(7, 96), inputs.normal(96), inputs.normal(7, 96)
    if not residual:
        found = kernel("rms_norm")(*tensors(x, weight), _EPS)
        return {"out": Outcome(array(found), references.rms_norm(x, weight, _EPS))}
    found, total = kernel("rms_norm")(*tensors(x, weight), _EPS, *tensors(before))
    summed = x + before  # in the dtype, as the stream that it is added to is
    return {
        "out": Outcome(array(found), references.rms_norm(summed, weight, _EPS)),
        "residual": Outcome(array(total), summed.astype(np.float64)),
    }


def silu_and_mul(inputs: Inputs) -> dict[str, Outcome]:
    """Of more than one block, the last not full."""
    x = inputs.normal(5, 2 * 600, scale=3.0)
    return {"out": Outcome(array(kernel("silu_and_mul")(*tensors(x))), references.silu_and_mul(x))}


def rotary(inputs: Inputs, *, size: int = 32) -> dict[str, Outcome]:
    """Of an odd number of tokens, at late positions."""
    q, k = inputs.normal(37, 6, size), inputs.normal(37, 2, size)
    angles = np.arange(100, 137)[:, None] * 10000.0 ** (-np.arange(size // 2) / (size // 2))
    cos, sin = (np.tile(f(angles), 2).astype(inputs.dtype) for f in (np.cos, np.sin))
    outs = kernel("apply_rotary_pos_emb")(*tensors(q, k, cos, sin))
    return {
        name: Outcome(array(out), references.rotated(x, cos, sin))
        for name, out, x in zip("qk", outs, (q, k), strict=True)
    }


def experts(inputs: Inputs) -> dict[str, Outcome]:
    """Two of eight for each of an odd number of tokens."""
    x, down = inputs.normal(11, 64, scale=0.3), inputs.normal(8, 64, 80, scale=0.2)
    gate_up = inputs.normal(8, 2 * 80, 64, scale=0.2)
    weights = inputs.draw.uniform(0.1, 1.0, (11, 2)).astype(np.float32)
    chosen = np.stack([inputs.draw.permutation(8)[:2] for _ in range(11)])
    found = kernel("fused_moe")(*tensors(x, gate_up, down, weights, chosen), topk=2, renormalize=True)
    return {"out": Outcome(array(found), references.experts(x, gate_up, down, weights, chosen))}


def quantised_tokens(inputs: Inputs) -> dict[str, Outcome]:
    """Each token by its largest magnitude."""
    x = inputs.normal(9, 100)
    codes, scales = kernel("per_token_quant_int8")(*tensors(x), 1e-7)
    scale = np.abs(x.astype(np.float64)).max(-1, keepdims=True) / 127
    return {"codes": Outcome(array(codes), x / scale, scale), "scales": Outcome(array(scales), scale)}


def linear(inputs: Inputs) -> dict[str, Outcome]:
    """W8A8, with more inputs than a block has."""
    a, b = (inputs.draw.randint(-127, 128, (rows, 200)).astype(np.int8) for rows in (9, 48))
    scales = [np.abs(inputs.normal(rows, 1, scale=0.01)).astype(np.float32) for rows in (9, 48)]
    dtype = getattr(torch, inputs.dtype)
    found = kernel("matmul_kernel_dynamic_quant")(*tensors(a, b, *scales), output_dtype=dtype)
    products = a.astype(np.float64) @ b.astype(np.float64).T
    return {"out": Outcome(array(found), products * scales[0].astype(np.float64) * scales[1].T)}
