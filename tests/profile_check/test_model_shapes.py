"""Numbers of parameters from config.json alone, against published ones and a real file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.profile_check.model_shapes import ShapesError, read_shapes
from harness.profile_check.published import PUBLISHED

EMBEDDED = Path(__file__).parents[2] / "cases" / "models" / "embedded" / "config.json"

INTERNVL2_8B = PUBLISHED["OpenGVLab/InternVL2-8B"]
QWEN25_VL_7B = PUBLISHED["Qwen/Qwen2.5-VL-7B-Instruct"]


def test_internvl2_8b_has_its_published_size() -> None:
    shapes = read_shapes(INTERNVL2_8B)
    assert shapes.vision is not None
    assert shapes.language.parameters == pytest.approx(7.74e9, abs=5e6)
    assert shapes.parameters == pytest.approx(8.08e9, abs=5e6)
    assert shapes.language.vocabulary == 92553
    assert (shapes.vision.tokens, shapes.vision.positions, shapes.vision.most_tiles) == (256, 1025, 12)
    assert shapes.language.cache_entries == 2 * 32 * 8 * 128
    assert shapes.dtype == "bfloat16"


def test_its_vision_tower_is_the_published_300m() -> None:
    vision = read_shapes(INTERNVL2_8B).vision
    projector = 2 * 4096 + 2 * (4096 * 4096 + 4096)
    assert vision is not None
    assert vision.parameters == 304_012_288 + projector


# Of the models that Transformers 5.23.0 builds without weights from these configurations.
def test_qwen25_vl_7b_has_its_published_size() -> None:
    shapes = read_shapes(QWEN25_VL_7B)
    assert shapes.parameters == 8_292_166_656
    assert shapes.vision is not None
    assert shapes.vision.parameters == 676_550_144
    assert shapes.vision.token_pixels == 28


def test_internvl3_2b_hf_has_its_published_size() -> None:
    assert read_shapes(PUBLISHED["OpenGVLab/InternVL3-2B-hf"]).parameters == 2_088_957_440


def test_qwen2_vl_2b_has_its_published_size() -> None:
    shapes = read_shapes(
        {
            "model_type": "qwen2_vl",
            "hidden_size": 1536,
            "intermediate_size": 8960,
            "num_hidden_layers": 28,
            "num_attention_heads": 12,
            "num_key_value_heads": 2,
            "vocab_size": 151936,
            "tie_word_embeddings": True,
            "vision_config": {
                "depth": 32,
                "embed_dim": 1280,
                "num_heads": 16,
                "mlp_ratio": 4,
                "patch_size": 14,
                "spatial_merge_size": 2,
            },
        }
    )
    assert shapes.parameters == 2_208_985_600


def test_the_embedded_model_is_counted_exactly() -> None:
    assert read_shapes(json.loads(EMBEDDED.read_text())).parameters == 813_248


@pytest.mark.parametrize(
    ("changed", "message"),
    [({"hidden_size": None}, "no hidden_size"), ({"kv_lora_rank": 512}, "latent attention")],
)
def test_what_is_missing_is_named(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ShapesError, match=message):
        read_shapes({**QWEN25_VL_7B, **changed})


def test_an_unknown_vision_tower_leaves_the_language_model() -> None:
    shapes = read_shapes({**QWEN25_VL_7B, "model_type": "llava"})
    assert (shapes.sees, shapes.vision, shapes.parameters) == (True, None, None)
    assert shapes.language.cache_entries == 2 * 28 * 4 * 128


def test_an_unknown_language_model_keeps_its_cache() -> None:
    shapes = read_shapes(
        {**QWEN25_VL_7B["vision_config"], **QWEN25_VL_7B, "vision_config": None, "model_type": "x"}
    )
    assert shapes.parameters is None
    assert shapes.language.cache_entries == 2 * 28 * 4 * 128


def test_qwen3_and_llama_differ_by_biases_and_norms() -> None:
    base = {key: value for key, value in QWEN25_VL_7B.items() if key != "vision_config"}
    sizes = {
        kind: read_shapes({**base, "model_type": kind}).parameters for kind in ("llama", "qwen2", "qwen3")
    }
    assert sizes["qwen3"] - sizes["llama"] == 28 * 2 * 128  # type: ignore[operator]
    assert sizes["qwen2"] - sizes["llama"] == 28 * (28 + 8) * 128  # type: ignore[operator]
