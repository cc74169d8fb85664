"""A model with wider heads is the same function, and its values lie on one side of zero."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from harness.drift.selftest.heads import SIZE, with_heads_of_48

HEADS, KEYS, WIDTH, TOKENS = 4, 2, 128, 7
PLACE = "language_model.model.layers.0.self_attn."
Floats = NDArray[np.float64]


def small(folder: Path) -> Path:
    random = np.random.default_rng(1)
    folder.mkdir()
    text = {"hidden_size": WIDTH, "num_attention_heads": HEADS, "num_key_value_heads": KEYS}
    config = {"text_config": {**text, "rope_parameters": {"rope_theta": 10000.0}}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text("{}")
    shapes = {"q": HEADS, "k": KEYS, "v": KEYS}
    tensors = {
        "vision.k_proj.weight": random.normal(size=(3, 3)),
        f"{PLACE}o_proj.weight": random.normal(size=(WIDTH, WIDTH)),
    }
    for name, heads in shapes.items():
        tensors[f"{PLACE}{name}_proj.weight"] = random.normal(size=(heads * 32, WIDTH)) / 10
        tensors[f"{PLACE}{name}_proj.bias"] = random.normal(size=heads * 32)
    save_file({name: each.astype(np.float32) for name, each in tensors.items()}, folder / "model.safetensors")
    return folder


def attended(model: Path, size: int, x: Floats) -> tuple[Floats, Floats]:
    """What attention over the tokens x [T, C] gives [T, C], and its values [T, N, D]."""
    tensors = {name: each.astype(np.float64) for name, each in load_file(model / "model.safetensors").items()}
    config: Any = json.loads((model / "config.json").read_text())
    assert config["text_config"].get("head_dim", 32) == size
    base = config["text_config"]["rope_parameters"]["rope_theta"]
    angles = np.outer(np.arange(len(x)), base ** (-np.arange(size // 2) / (size // 2)))[:, None]

    def projected(name: str) -> Floats:
        found: Floats = x @ tensors[f"{PLACE}{name}_proj.weight"].T + tensors[f"{PLACE}{name}_proj.bias"]
        return found.reshape(len(x), -1, size)

    def turned(states: Floats) -> Floats:
        low, high = states[..., : size // 2], states[..., size // 2 :]
        cos, sin = np.cos(angles), np.sin(angles)
        return np.concatenate([low * cos - high * sin, high * cos + low * sin], -1)

    q, k, v = turned(projected("q")), turned(projected("k")), projected("v")
    k, wide = (np.repeat(each, HEADS // KEYS, axis=1) for each in (k, v))
    scores = np.einsum("qhd,khd->hqk", q, k) / np.sqrt(size)
    scores = np.where(np.tri(len(x), dtype=bool), scores, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    heads: Floats = np.einsum("hqk,khd->qhd", weights, wide).reshape(len(x), -1)
    answer: Floats = heads @ tensors[f"{PLACE}o_proj.weight"].T
    return answer, v


def test_wider_heads_attend_alike_and_have_values_above_zero(tmp_path: Path) -> None:
    model = small(tmp_path / "model")
    wide = with_heads_of_48(model, tmp_path / "wide")
    x = np.random.default_rng(2).normal(size=(TOKENS, WIDTH))
    (before, values), (after, above) = attended(model, 32, x), attended(wide, SIZE, x)
    assert np.abs(before - after).max() < 1e-4 < np.abs(before).max()
    assert values.min() < 0 < above.min()
    assert above.shape == (TOKENS, KEYS, SIZE)
    assert (wide / "tokenizer.json").exists()
    seen = [load_file(each / "model.safetensors")["vision.k_proj.weight"] for each in (model, wide)]
    assert np.array_equal(seen[0], seen[1])
