"""What a model's config.json says of its size: shapes, and the number of parameters that follow from them.

Standard library only, and no weights are needed. Families whose layers are not known here keep the shapes
that all configurations name alike; their number of parameters is then None and comes from the files alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.engines.dtypes import named_dtype

__all__ = ["Language", "ModelShapes", "ShapesError", "Vision", "read_shapes"]

Config = Mapping[str, Any]

_RGB = 3
_DECODERS = frozenset({
    "internlm2", "llama", "mistral", "qwen2", "qwen2_5_vl", "qwen2_5_vl_text", "qwen2_vl", "qwen2_vl_text",
    "qwen3",
})  # fmt: skip


class ShapesError(ValueError):
    """A config.json that does not say what is needed; the message names what is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """The language model: sizes in entries, ``parameters`` with embedding and head."""

    vocabulary: int
    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    head_size: int
    parameters: int | None

    @property
    def linear(self) -> int:
        """Parameters of the layers' matrices, which are what is quantised, about; 0 where not known."""
        return max(0, (self.parameters or 0) - 2 * self.vocabulary * self.hidden)

    @property
    def cache_entries(self) -> int:
        """Numbers kept per token in the key/value cache: a key and a value of every layer."""
        return 2 * self.layers * self.kv_heads * self.head_size


@dataclass(frozen=True, slots=True, kw_only=True)
class Vision:
    """The vision tower and its projector (``parameters`` of both).

    A model that cuts images into square tiles has ``tile`` pixels on each side of one, ``positions`` in the
    tower and ``tokens`` in the prompt for each, and up to ``most_tiles`` of them, the thumbnail not counted.
    One that takes images as they are has ``tile`` 0, one token in the prompt for every ``token_pixels``
    square, and ``positions`` in the tower for each token; ``most_tiles`` is then 1.
    """

    hidden: int
    intermediate: int
    layers: int
    heads: int
    positions: int
    tokens: int
    tile: int
    token_pixels: int
    most_tiles: int
    parameters: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShapes:
    """A whole model; ``dtype`` is the one that it was saved in, None where its configuration does not say.

    ``sees`` is whether it takes images; ``vision`` is None too where its tower is of no family known here.
    ``quantised`` is the method by which its weights are, such as ``awq``; None where they are not.
    """

    family: str
    language: Language
    vision: Vision | None
    sees: bool
    dtype: str | None
    quantised: str | None = None

    @property
    def parameters(self) -> int | None:
        """Parameters in all; None where a part's are not known."""
        if not self.sees:
            return self.language.parameters
        if self.language.parameters is None or self.vision is None:
            return None
        return self.language.parameters + self.vision.parameters


def read_shapes(config: Config) -> ModelShapes:
    """The shapes that a config.json (as read from it) gives.

    Raises `ShapesError` where it lacks a size of the language model.
    """
    text = _section(config, "text_config", "llm_config") or config
    family = str(config.get("model_type", ""))
    return ModelShapes(
        family=family,
        language=_language(text, config),
        vision=_vision(family, config, _number(text, "hidden_size")),
        sees=_section(config, "vision_config") is not None,
        dtype=named_dtype(config),
        quantised=_quantised(config) or _quantised(text),
    )


def _quantised(config: Config) -> str | None:
    found = _section(config, "quantization_config")
    return None if found is None else str(found.get("quant_method"))


def _section(config: Config, *names: str) -> Config | None:
    for name in names:
        if isinstance(config.get(name), dict):
            return dict(config[name])
    return None


def _number(config: Config, *names: str) -> int:
    for name in names:
        value = config.get(name)
        if isinstance(value, list) and value:  # Transformers 5 writes both sides of a square
            value = value[0]
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    raise ShapesError(f"config.json has no {' or '.join(names)}")


def _language(text: Config, whole: Config) -> Language:
    if "kv_lora_rank" in text:
        raise ShapesError(
            "config.json describes latent attention (kv_lora_rank), whose cache is not known here"
        )
    hidden, heads = _number(text, "hidden_size"), _number(text, "num_attention_heads")
    kv_heads = _number(text, "num_key_value_heads", "num_attention_heads")
    head_size = text["head_dim"] if isinstance(text.get("head_dim"), int) else hidden // heads
    layers, intermediate = _number(text, "num_hidden_layers"), _number(text, "intermediate_size")
    vocabulary = _number(text, "vocab_size")
    parameters = None
    kind = str(text.get("model_type", ""))
    if kind in _DECODERS:
        queries, keys = heads * head_size, kv_heads * head_size
        layer = hidden * (queries + 2 * keys) + queries * hidden + 3 * hidden * intermediate + 2 * hidden
        inner, outer = _biases(kind, text)
        layer += inner * (queries + 2 * keys) + outer * hidden
        if kind == "qwen3":
            layer += 2 * head_size
        # A model's own word on tied embeddings outranks that of its language part.
        tied = whole.get("tie_word_embeddings", text.get("tie_word_embeddings", False)) is True
        parameters = layers * layer + hidden + vocabulary * hidden * (1 if tied else 2)
    return Language(
        vocabulary=vocabulary,
        hidden=hidden,
        intermediate=intermediate,
        layers=layers,
        heads=heads,
        kv_heads=kv_heads,
        head_size=head_size,
        parameters=parameters,
    )


def _biases(kind: str, text: Config) -> tuple[bool, bool]:
    """Whether attention has biases on queries, keys and values, and whether on its output."""
    if kind.startswith("qwen2"):
        return True, False
    both = text.get("bias" if kind == "internlm2" else "attention_bias", kind == "internlm2") is True
    return both, both


def _vision(family: str, config: Config, hidden: int) -> Vision | None:
    vision = _section(config, "vision_config")
    if vision is None:
        return None
    if family in ("internvl", "internvl_chat"):
        return _tiled(vision, config, hidden)
    if family in ("qwen2_vl", "qwen2_5_vl"):
        return _any_size(vision, hidden, newer=family == "qwen2_5_vl")
    return None


def _tiled(vision: Config, config: Config, hidden: int) -> Vision:
    """InternVL: InternViT on square tiles, four neighbours joined, two linear layers."""
    width, layers = _number(vision, "hidden_size"), _number(vision, "num_hidden_layers")
    inner, patch = _number(vision, "intermediate_size"), _number(vision, "patch_size")
    tile = _number({**vision, **config}, "force_image_size", "image_size")
    ratio = float(config.get("downsample_ratio", 0.5))
    patches = (tile // patch) ** 2
    norm = width if vision.get("norm_type") == "rms_norm" else 2 * width
    layer = 4 * width * width + width + 2 * width * inner + inner + width + 2 * norm + 2 * width
    layer += 3 * width * (vision.get("qkv_bias", vision.get("attention_bias", True)) is True)
    layer += 2 * width * (vision.get("qk_normalization", vision.get("use_qk_norm", False)) is True)
    embeddings = width + _RGB * patch * patch * width + width + (patches + 1) * width
    joined = round(width / ratio**2)
    projector = 2 * joined + joined * hidden + hidden + hidden * hidden + hidden
    return Vision(
        hidden=width,
        intermediate=inner,
        layers=layers,
        heads=_number(vision, "num_attention_heads"),
        positions=patches + 1,
        tokens=round(patches * ratio**2),
        tile=tile,
        token_pixels=0,
        most_tiles=_most_tiles(config),
        parameters=embeddings + layers * layer + projector,
    )


def _most_tiles(config: Config) -> int:
    found = config.get("max_dynamic_patch", config.get("max_patches", 12))
    return found if isinstance(found, int) and found > 0 else 12


def _any_size(vision: Config, hidden: int, *, newer: bool) -> Vision:
    """Qwen2-VL and Qwen2.5-VL: patches of the whole image, squares of them merged by two linear layers."""
    width = _number(vision, *(("hidden_size",) if newer else ("embed_dim",)))
    layers, patch = _number(vision, "depth", "num_hidden_layers"), _number(vision, "patch_size")
    merge = _number(vision, "spatial_merge_size")
    inner = _number(vision, "intermediate_size") if newer else width * _number(vision, "mlp_ratio")
    frames = vision.get("temporal_patch_size", 2)
    attention = 4 * width * width + 4 * width
    if newer:
        mlp, norm = 3 * width * inner + 2 * inner + width, width
    else:
        mlp, norm = 2 * width * inner + inner + width, 2 * width
    joined = width * merge * merge
    merger = norm + joined * joined + joined + joined * hidden + hidden
    patches = _RGB * frames * patch * patch * width
    return Vision(
        hidden=width,
        intermediate=inner,
        layers=layers,
        heads=_number(vision, "num_heads", "num_attention_heads"),
        positions=merge * merge,
        tokens=1,
        tile=0,
        token_pixels=patch * merge,
        most_tiles=1,
        parameters=patches + layers * (attention + mlp + 2 * norm) + merger,
    )
