"""Shapes of the models of the ready profiles, as published, for as long as their files are not here.

Entries of their config.json that `harness.profile_check.model_shapes` reads, and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["PUBLISHED"]

_INTERN_VIT: Mapping[str, Any] = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "image_size": 448,
    "patch_size": 14,
    "norm_type": "layer_norm",
    "qkv_bias": True,
}

PUBLISHED: Mapping[str, Mapping[str, Any]] = {
    "OpenGVLab/InternVL2-8B": {
        "model_type": "internvl_chat",
        "torch_dtype": "bfloat16",
        "downsample_ratio": 0.5,
        "force_image_size": 448,
        "max_dynamic_patch": 12,
        "vision_config": {**_INTERN_VIT},
        "llm_config": {
            "model_type": "internlm2",
            "bias": False,
            "hidden_size": 4096,
            "intermediate_size": 14336,
            "num_hidden_layers": 32,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "vocab_size": 92553,
            "tie_word_embeddings": False,
        },
    },
    "OpenGVLab/InternVL3-2B-hf": {
        "model_type": "internvl",
        "torch_dtype": "bfloat16",
        "downsample_ratio": 0.5,
        "vision_config": {**_INTERN_VIT},
        "text_config": {
            "model_type": "qwen2",
            "hidden_size": 1536,
            "intermediate_size": 8960,
            "num_hidden_layers": 28,
            "num_attention_heads": 12,
            "num_key_value_heads": 2,
            "vocab_size": 151674,
            "tie_word_embeddings": False,
        },
    },
    "Qwen/Qwen2.5-VL-7B-Instruct": {
        "model_type": "qwen2_5_vl",
        "torch_dtype": "bfloat16",
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "vocab_size": 152064,
        "tie_word_embeddings": False,
        "vision_config": {
            "depth": 32,
            "hidden_size": 1280,
            "intermediate_size": 3420,
            "num_heads": 16,
            "patch_size": 14,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
        },
    },
}
