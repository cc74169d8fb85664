"""From the tensors of one case's pass to what is kept of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.engines.taps.sketches import PICTURE_SUMS, SUMS, Sketch, Trace, signs
from harness.engines.taps.stages import EXACT, of_picture

__all__ = ["as_rows", "log_probabilities", "traced"]

_BLOCK_ROWS = 4096
_IMAGE_AXES = 4  # [tiles, channels, height, width]


def as_rows(stage: str, state: Tensor) -> Tensor:
    """A stage's tensor as [rows, columns]: tokens or patches by channels; pixels by tile and colour."""
    if stage in ("prepared", "pixels") and state.ndim == _IMAGE_AXES:
        return state.reshape(state.shape[0] * state.shape[1], -1)
    return state.reshape(-1, state.shape[-1])


def traced(
    states: Mapping[str, Tensor],
    *,
    answer: int | None,
    told: Mapping[str, Any] | None = None,
    error: str = "",
) -> Trace:
    """The trace of one case's ``states``.

    ``answer`` is the answer's row counted from the end, 0 for the last; None where there is none.
    """
    return Trace(
        stages={stage: _sketch(stage, state, answer) for stage, state in states.items()},
        told=dict(told or {}),
        error=error,
    )


def log_probabilities(row: Tensor, ids: Sequence[int]) -> list[float]:
    """Those of ``ids`` in a row of logits [V], natural, over the whole vocabulary."""
    whole = row.double()
    return [float(each) for each in (whole[list(ids)] - whole.logsumexp(-1))]


def _sketch(stage: str, state: Tensor, answer: int | None) -> Sketch:
    if stage in EXACT:
        return Sketch(tuple(state.shape), exact=state.reshape(-1).to(torch.int64).numpy())
    rows = as_rows(stage, state)
    # Sums in 16 bits would be coarser than the noise of such a model; those of a small one need all of
    # float64.
    fine = state.dtype in (torch.float32, torch.float64)
    count = PICTURE_SUMS if of_picture(stage) else SUMS
    signed = _signs(rows.shape[1], count, fine)
    norms, sums = [], []
    for start in range(0, len(rows), _BLOCK_ROWS):
        block = rows[start : start + _BLOCK_ROWS].to(signed.dtype)
        norms.append(block.norm(dim=1))
        sums.append(block @ signed)
    whole = torch.cat(norms) if norms else rows.new_zeros(0)
    kept = np.zeros(0)
    if answer is not None and not of_picture(stage) and len(rows) > answer:
        kept = rows[-1 - answer].float().numpy()
    return Sketch(
        tuple(state.shape),
        norms=whole.numpy(),
        sums=torch.cat(sums).numpy() if sums else np.zeros((0, count)),
        answer=kept,
        finite=bool(torch.isfinite(whole).all()),
    )


@lru_cache(maxsize=64)
def _signs(columns: int, count: int, fine: bool) -> Tensor:
    return torch.from_numpy(signs(columns, count)).to(torch.float64 if fine else torch.float32)
