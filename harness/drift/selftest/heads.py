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

__all__ = ["SIZE", "with_heads_of_48"]

SIZE: Final = 48
_SHIFT: Final = 8.0
"""Added to all values of a head; the embedded model's lie within 8 of zero."""
_WEIGHTS = "model.safetensors"

Tensors = dict[str, NDArray[np.float32]]


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
    tensors = _read(model / _WEIGHTS)
    for name in [*tensors]:
        place, _, kind = name.rpartition("self_attn.")
        if "language_model" in place and kind.partition(".")[0] in ("q_proj", "k_proj", "v_proj", "o_proj"):
            tensors[name] = _wider(tensors[name], kind, heads, old)
    _write(folder / _WEIGHTS, tensors)
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


def _read(path: Path) -> Tensors:
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header: dict[str, Any] = json.loads(data[8:start])
    header.pop("__metadata__", None)
    return {
        name: np.frombuffer(
            data[start + at["data_offsets"][0] : start + at["data_offsets"][1]], "<f4"
        ).reshape(at["shape"])
        for name, at in header.items()
    }


def _write(path: Path, tensors: Tensors) -> None:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, tensor in tensors.items():
        header[name] = {"dtype": "F32", "shape": tensor.shape, "data_offsets": [end, end + tensor.nbytes]}
        end += tensor.nbytes
    head = json.dumps(header).encode()
    body = (np.ascontiguousarray(tensor, "<f4").tobytes() for tensor in tensors.values())
    path.write_bytes(b"".join([len(head).to_bytes(8, "little"), head, *body]))
