"""The embedded model with heads of 48: another shape and, but for rounding, the same function.

Ranges of a quantised cache went wrong in LMDeploy where a head's size is no power of two, and where all its
values lie on one side of zero, which none of the small models' do.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

__all__ = ["SIZE", "with_heads_of_48"]

SIZE: Final = 48
_SHIFT: Final = 8.0
"""Added to all values of a head; the embedded model's lie within 8 of zero."""
_WEIGHTS = "model.safetensors"


def with_heads_of_48(model: Path, folder: Path) -> Path:
    """Write a Qwen2-based model in one file of float32, with heads smaller than 48, to ``folder`` anew.

    Lanes that are new hold zero in queries and keys. Turned by RoPE the old ones keep their frequencies, as
    its base grows with the size. What is added to values, also in the new lanes, the first of these takes
    off again in the projection behind attention.
    """
    shutil.copytree(model, folder, ignore=shutil.ignore_patterns(_WEIGHTS), dirs_exist_ok=True)
    config: Any = json.loads((model / "config.json").read_text(encoding="utf-8"))
    text = config["text_config"]
    heads, old = text["num_attention_heads"], text["hidden_size"] // text["num_attention_heads"]
    text["head_dim"] = SIZE
    text["rope_parameters"]["rope_theta"] **= SIZE / old
    (folder / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
    tensors = load_file(model / _WEIGHTS)
    for name in [*tensors]:
        place, _, kind = name.rpartition("self_attn.")
        if "language_model" in place and kind.partition(".")[0] in ("q_proj", "k_proj", "v_proj", "o_proj"):
            tensors[name] = _wider(tensors[name], kind, heads, old)
    save_file(tensors, folder / _WEIGHTS, {"format": "pt"})
    return folder


def _wider(old: NDArray[np.float32], kind: str, heads: int, size: int) -> NDArray[np.float32]:
    """A projection's weights or bias: q, k, v [N * D, ...], o [C, N * D]."""
    lanes = np.arange(size) + (np.arange(size) >= size // 2) * (SIZE - size) // 2  # halves stay halves
    if kind == "o_proj.weight":
        by_head = old.reshape(len(old), heads, size)
        wide = np.zeros((len(old), heads, SIZE), np.float32)
        wide[..., lanes] = by_head
        wide[..., size // 2] = -by_head.sum(-1)
        return wide.reshape(len(old), -1)
    by_head = old.reshape(-1, size, *old.shape[1:])
    wide = np.zeros((len(by_head), SIZE, *old.shape[1:]), np.float32)
    wide[:, lanes] = by_head * (np.sqrt(SIZE / size) if kind.startswith("q") else 1.0)
    if kind == "v_proj.bias":
        wide += _SHIFT
    return wide.reshape(-1, *old.shape[1:])
