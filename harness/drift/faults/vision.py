"""Faults of the vision tower and of the projector; each function plants the fault of its name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from harness.drift.faults.ground import Ground, bits_kept, on_grid, quick_gelu


def _block(at: Ground, number: int) -> Any:
    return at.parts.vision_tower.encoder.layer[number]


class _Activation(torch.nn.Module):  # type: ignore[misc]
    """Something of the quick GELU in the place of another activation."""

    def __init__(self, other: torch.nn.Module, share: float) -> None:
        super().__init__()
        self.other, self.share = other, share

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        exact = self.other(values)
        return exact + self.share * (quick_gelu(values) - exact)


def patch_weights_scaled(at: Ground, size: float) -> None:  # noqa: D103 - as the module says; so below
    at.scale(at.parts.vision_tower.embeddings.patch_embeddings.projection.weight, 1 + size)


def vision_positions_rolled(at: Ground, size: float) -> None:  # noqa: D103
    del size
    places = at.parts.vision_tower.embeddings.position_embeddings
    at.write(places, torch.cat([places[:, :1], places[:, 1:].roll(1, 1)], 1).detach())


def vision_half(at: Ground, size: float) -> None:  # noqa: D103
    def halved(old: Callable[..., torch.Tensor], *args: Any, **kwargs: Any) -> torch.Tensor:
        return bits_kept(old(*args, **kwargs), size)

    for block in at.parts.vision_tower.encoder.layer:
        at.wrap(block.attention, "forward", halved)
        at.wrap(block.mlp, "forward", halved)


def vision_activation(at: Ground, size: float) -> None:  # noqa: D103
    mlp = _block(at, 0).mlp
    at.put(mlp, "act", _Activation(mlp.act, size))


def vision_epsilon(at: Ground, size: float) -> None:  # noqa: D103
    at.put(_block(at, 1).layernorm_before.impl, "eps", size)


def vision_head_lost(at: Ground, size: float) -> None:  # noqa: D103
    attention = _block(at, 1).attention
    weights = attention.projection_layer.weight
    changed = weights.detach().clone()
    changed[:, : attention.head_dim] *= 1 - size
    at.write(weights, changed)


def vision_int8(at: Ground, size: float) -> None:  # noqa: D103
    weights = _block(at, 1).mlp.fc2.weight
    at.write(weights, on_grid(weights, size))


def shuffle_transposed(at: Ground, size: float) -> None:  # noqa: D103
    del size

    def transposed(old: Callable[..., torch.Tensor], *args: Any, **kwargs: Any) -> torch.Tensor:
        return old(*args, **kwargs).transpose(1, 2).contiguous()

    at.wrap(at.parts, "pixel_shuffle", transposed)


def projector_bias(at: Ground, size: float) -> None:  # noqa: D103
    at.scale(at.parts.multi_modal_projector.linear_2.bias, 1 - size)


def projector_activation(at: Ground, size: float) -> None:  # noqa: D103
    projector = at.parts.multi_modal_projector
    at.put(projector, "act", _Activation(projector.act, size))
