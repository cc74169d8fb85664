"""Makes small random checkpoints of several families, as Transformers' own classes save them.

A script of its own, `python tiny_families.py FOLDER FAMILY...`, so that an interpreter with another release
of Transformers can make them in its own format. Each goes into FOLDER/FAMILY.
"""

from __future__ import annotations

import string
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import torch
import transformers
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

__all__ = ["FAMILIES", "hub_names", "make", "tokenizer_of"]

_TEMPLATE: Final = (
    "{%- for message in messages -%}<|{{ message['role'] }}|>{%- if message['content'] is string -%}"
    "{{ message['content'] }}{%- else -%}{%- for part in message['content'] -%}"
    "{%- if part['type'] == 'image' -%}IMAGE{%- else -%}{{ part['text'] }}{%- endif -%}"
    "{%- endfor -%}{%- endif -%}{%- endfor -%}{%- if add_generation_prompt -%}<|assistant|>{%- endif -%}"
)
_TEXT: Final = {
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "tie_word_embeddings": False,
}
_VISION: Final = {
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}
_SIDE: Final = {"height": 28, "width": 28}


def make(family: str, folder: Path) -> None:
    """A checkpoint of ``family`` in ``folder``, with weights spread wide lest its choices be near-ties."""
    torch.manual_seed(1)
    model, processor, tokenizer = FAMILIES[family]()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, 0.25)
        # Specials are not to be written: a prompt with a place for an image that is not there is no prompt.
        model.get_output_embeddings().weight[tokenizer.convert_tokens_to_ids("<|user|>") :] *= 0.1
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    if family == "gemma3":
        hub_names(folder / "model.safetensors")


def hub_names(weights: Path) -> None:
    """LMDeploy knows a tower of CLIP or SigLIP by the names it has on the hub, not by Transformers 5's."""
    from safetensors.torch import load_file, save_file

    old, new = "vision_tower.", "vision_tower.vision_model."
    renamed = {name.replace(old, new, 1): values for name, values in load_file(weights).items()}
    save_file(renamed, weights, metadata={"format": "pt"})


def _qwen2_vl() -> tuple[Any, Any, Any]:
    """One array of patches per image, whatever its size, and positions in three dimensions."""
    start, end, place, video = "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"
    tokenizer = tokenizer_of(start + place + end, start, end, place, video)
    ids = {
        "vision_start_token_id": tokenizer.convert_tokens_to_ids(start),
        "vision_end_token_id": tokenizer.convert_tokens_to_ids(end),
        "image_token_id": tokenizer.convert_tokens_to_ids(place),
        "video_token_id": tokenizer.convert_tokens_to_ids(video),
    }
    rope = {"type": "mrope", "rope_type": "default", "mrope_section": [2, 3, 3]}
    text = {**_text(tokenizer), "rope_scaling": rope}
    vision = {
        "depth": 2,
        "embed_dim": 32,
        "num_heads": 2,
        "hidden_size": 32,
        "mlp_ratio": 2,
        "patch_size": 14,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "in_channels": 3,
    }
    config = transformers.Qwen2VLConfig(text_config=text, vision_config=vision, **ids)
    if not isinstance(getattr(config, "text_config", None), transformers.PretrainedConfig):
        # Transformers before 4.52: the text model's settings are the whole's.
        config = transformers.Qwen2VLConfig(vision_config=vision, **text, **ids)
    images = transformers.Qwen2VLImageProcessor(min_pixels=28 * 28, max_pixels=8 * 28 * 28)
    processor = transformers.Qwen2VLProcessor(
        image_processor=images,
        tokenizer=tokenizer,
        chat_template=tokenizer.chat_template,
        **_video("qwen2_vl", "Qwen2VLVideoProcessor", needed=False),
    )
    return transformers.Qwen2VLForConditionalGeneration(config), processor, tokenizer


def _qwen3_vl() -> tuple[Any, Any, Any]:
    """As Qwen2-VL, its pixels entering several layers; LMDeploy prepares its images in the newer way."""
    start, end, place, video = "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"
    tokenizer = tokenizer_of(start + place + end, start, end, place, video)
    names = {"vision_start": start, "vision_end": end, "image": place, "video": video}
    ids = {f"{name}_token_id": tokenizer.convert_tokens_to_ids(token) for name, token in names.items()}
    for name, token in names.items():
        setattr(tokenizer, f"{name}_token", token)
        setattr(tokenizer, f"{name}_token_id", ids[f"{name}_token_id"])
    rope = {"rope_type": "default", "mrope_section": [2, 3, 3], "mrope_interleaved": True}
    text = {**_text(tokenizer), "head_dim": 16, "architectures": ["Qwen3ForCausalLM"]}
    vision = {
        "depth": 2,
        "hidden_size": 32,
        "out_hidden_size": 32,
        "num_heads": 2,
        "intermediate_size": 32,
        "patch_size": 14,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "in_channels": 3,
        "num_position_embeddings": 16,
        "deepstack_visual_indexes": [0],
    }
    config = transformers.Qwen3VLConfig(
        text_config={**text, "rope_scaling": rope, "rope_parameters": rope}, vision_config=vision, **ids
    )
    images = transformers.Qwen2VLImageProcessor(
        patch_size=14, min_pixels=28 * 28, max_pixels=8 * 28 * 28, image_mean=[0.5] * 3, image_std=[0.5] * 3
    )
    processor = transformers.Qwen3VLProcessor(
        image_processor=images,
        tokenizer=tokenizer,
        chat_template=tokenizer.chat_template,
        **_video("qwen3_vl", "Qwen3VLVideoProcessor"),
    )
    return transformers.Qwen3VLForConditionalGeneration(config), processor, tokenizer


def _llava() -> tuple[Any, Any, Any]:
    """One array of pixels of one size, and a line's end behind the image, as LMDeploy writes it too."""
    tokenizer = tokenizer_of("{{ '<image>\\n' }}", "<image>")
    place = tokenizer.convert_tokens_to_ids("<image>")
    config = transformers.LlavaConfig(
        text_config={"model_type": "llama", "architectures": ["LlamaForCausalLM"], **_text(tokenizer)},
        vision_config={"model_type": "clip_vision_model", "projection_dim": 32, **_VISION},
        image_token_index=place,
        image_seq_length=4,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=False,
    )
    processor = transformers.LlavaProcessor(
        image_processor=transformers.CLIPImageProcessor(size={"shortest_edge": 28}, crop_size=_SIDE),
        tokenizer=tokenizer,
        patch_size=14,
        num_additional_image_tokens=1,
        vision_feature_select_strategy="default",
        chat_template=tokenizer.chat_template,
    )
    return transformers.LlavaForConditionalGeneration(config), processor, tokenizer


def _llava_onevision() -> tuple[Any, Any, Any]:
    """Tiles of an image in an axis of their own, the whole image first."""
    tokenizer = tokenizer_of("<image>", "<image>", "<video>")
    places = [[28, 28], [28, 56], [56, 28], [56, 56]]
    ids = {name: tokenizer.convert_tokens_to_ids(f"<{name}>") for name in ("image", "video")}
    config = transformers.LlavaOnevisionConfig(
        text_config={"model_type": "qwen2", **_text(tokenizer)},
        vision_config={"model_type": "siglip_vision_model", "vision_use_head": False, **_VISION},
        **{f"{name}_token_{what}": i for name, i in ids.items() for what in ("id", "index")},
        image_grid_pinpoints=places,
        vision_feature_select_strategy="full",
        tie_word_embeddings=False,
    )
    processor = transformers.LlavaOnevisionProcessor(
        image_processor=transformers.LlavaOnevisionImageProcessor(size=_SIDE, image_grid_pinpoints=places),
        tokenizer=tokenizer,
        num_image_tokens=4,
        vision_feature_select_strategy="full",
        chat_template=tokenizer.chat_template,
        **_video("llava_onevision", "LlavaOnevisionVideoProcessor", size=_SIDE),
    )
    return transformers.LlavaOnevisionForConditionalGeneration(config), processor, tokenizer


def _idefics3() -> tuple[Any, Any, Any]:
    """Tiles in rows and columns that the prompt names, and a mask of their pixels; so is SmolVLM."""
    around, place, whole = "<fake_token_around_image>", "<image>", "<global-img>"
    rows = [f"<row_{row}_col_{column}>" for row in range(1, 5) for column in range(1, 5)]
    tokenizer = tokenizer_of(place, around, place, "<end_of_utterance>", whole, *rows)
    place_id = tokenizer.convert_tokens_to_ids(place)
    # The processor of Transformers 5 reads them from the tokenizer.
    for name, value in {
        "image_token": place,
        "image_token_id": place_id,
        "fake_image_token": around,
        "global_image_token": whole,
    }.items():
        setattr(tokenizer, name, value)
    config = transformers.Idefics3Config(
        text_config={"model_type": "llama", **_text(tokenizer)},
        vision_config=_VISION,
        scale_factor=2,
        image_token_id=place_id,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=False,
    )
    images = transformers.Idefics3ImageProcessor(
        size={"longest_edge": 56}, max_image_size={"longest_edge": 28}
    )
    processor = transformers.Idefics3Processor(
        image_processor=images,
        tokenizer=tokenizer,
        image_seq_len=1,
        chat_template=tokenizer.chat_template,
    )
    return transformers.Idefics3ForConditionalGeneration(config), processor, tokenizer


def _qwen2() -> tuple[Any, Any, Any]:
    """Text only."""
    tokenizer = tokenizer_of("")
    model = transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**_text(tokenizer)))
    return model, tokenizer, tokenizer


WINDOW: Final = 8
"""How many tokens the windowed families see, which is less than any question has."""


def _mistral() -> tuple[Any, Any, Any]:
    """Text only, a sliding window in every layer."""
    tokenizer = tokenizer_of("")
    config = transformers.MistralConfig(**_text(tokenizer), sliding_window=WINDOW)
    return transformers.MistralForCausalLM(config), tokenizer, tokenizer


def _gemma2() -> tuple[Any, Any, Any]:
    """Text only, a sliding window in every other layer, soft-capped attention and final logits."""
    tokenizer = tokenizer_of("")
    text = {**_text(tokenizer), "head_dim": 16, "query_pre_attn_scalar": 16, "tie_word_embeddings": True}
    capped = {"attn_logit_softcapping": 1.0, "final_logit_softcapping": 30.0}
    config = transformers.Gemma2Config(**text, **capped, sliding_window=WINDOW)
    return transformers.Gemma2ForCausalLM(config), tokenizer, tokenizer


def _gemma3_text() -> tuple[Any, Any, Any]:
    """Text only, a sliding window and a rotary base of their own in every layer but each sixth."""
    tokenizer = tokenizer_of("")
    config = transformers.Gemma3TextConfig(**_gemma3_language(tokenizer))
    return transformers.Gemma3ForCausalLM(config), tokenizer, tokenizer


def _gemma3() -> tuple[Any, Any, Any]:
    """The same with images, whose places see one another."""
    tokens = {"boi": "<start_of_image>", "eoi": "<end_of_image>", "image": "<image_soft_token>"}
    named = {f"{name}_token": token for name, token in tokens.items()}
    tokenizer = tokenizer_of(tokens["boi"], *tokens.values(), extra_special_tokens=named)
    ids = {name: tokenizer.convert_tokens_to_ids(token) for name, token in tokens.items()}
    config = transformers.Gemma3Config(
        text_config={"architectures": ["Gemma3ForCausalLM"], **_gemma3_language(tokenizer)},
        vision_config={"model_type": "siglip_vision_model", "vision_use_head": False, **_VISION},
        mm_tokens_per_image=4,
        **{f"{name}_token_index": i for name, i in ids.items()},
    )
    processor = transformers.Gemma3Processor(
        image_processor=transformers.Gemma3ImageProcessor(size=_SIDE),
        tokenizer=tokenizer,
        image_seq_length=4,
        chat_template=tokenizer.chat_template,
    )
    return transformers.Gemma3ForConditionalGeneration(config), processor, tokenizer


def _gemma3_language(tokenizer: Any) -> dict[str, Any]:
    linear = {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6}  # LMDeploy 0.18 needs the factor
    ropes = {"full_attention": linear, "sliding_attention": {"rope_type": "default", "rope_theta": 1e4}}
    own = {"head_dim": 16, "query_pre_attn_scalar": 16, "num_hidden_layers": 6, "tie_word_embeddings": True}
    return {**_text(tokenizer), **own, "rope_parameters": ropes, "sliding_window": WINDOW}


FAMILIES: Final[Mapping[str, Callable[[], tuple[Any, Any, Any]]]] = {
    "gemma2": _gemma2,
    "gemma3": _gemma3,
    "gemma3_text": _gemma3_text,
    "idefics3": _idefics3,
    "llava": _llava,
    "llava_onevision": _llava_onevision,
    "mistral": _mistral,
    "qwen2": _qwen2,
    "qwen2_vl": _qwen2_vl,
    "qwen3_vl": _qwen3_vl,
}
"""What makes a family's model, processor and tokenizer."""


def _text(tokenizer: Any) -> dict[str, Any]:
    return {
        **_TEXT,
        "vocab_size": len(tokenizer),
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }


def tokenizer_of(image: str, *specials: str, **options: Any) -> Any:
    """One token per printable character and ' A' to ' Z'; the template puts ``image`` for an image."""
    characters = [*string.ascii_letters, *string.digits, *string.punctuation, "Ġ", "Ċ"]
    spaced = [("Ġ", letter) for letter in string.ascii_uppercase]
    tokens = [*characters, *(left + right for left, right in spaced)]
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, spaced))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    roles = ("<|user|>", "<|system|>", "<|assistant|>")
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in (*roles, *specials)])
    # Before Transformers 5 a processor of Qwen2-VL refuses a tokenizer of no particular model.
    plain = int(transformers.__version__.partition(".")[0]) >= 5 or "<|image_pad|>" not in specials
    kind = transformers.PreTrainedTokenizerFast if plain else transformers.Qwen2TokenizerFast
    return kind(
        tokenizer_object=tokenizer,
        eos_token="<|end|>",
        pad_token="<|pad|>",
        chat_template=_TEMPLATE.replace("IMAGE", image),
        **options,
    )


def _video(module: str, name: str, *, needed: bool = True, **options: Any) -> dict[str, Any]:
    """The processor's part for videos, which it does not do without where there is one."""
    from importlib import import_module

    try:
        kind = getattr(import_module(f"transformers.models.{module}.video_processing_{module}"), name)
    except ImportError:
        if needed:
            raise
        return {}
    return {"video_processor": kind(**options)}


if __name__ == "__main__":
    for _family in sys.argv[2:]:
        make(_family, Path(sys.argv[1]) / _family)
