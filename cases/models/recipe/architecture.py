"""The model's shape, its processor and its chat template: all of the folder but what training finds."""

from pathlib import Path

from transformers import GenerationConfig, InternVLConfig, InternVLProcessor, Qwen2Tokenizer
from transformers.models.got_ocr2.image_processing_got_ocr2 import GotOcr2ImageProcessor
from transformers.models.internvl.video_processing_internvl import InternVLVideoProcessor

from .scenes import TILE
from .tokenizer import END_OF_TEXT, IMAGE_TOKENS, TURN_END

PATCH = 14
IMAGE_TOKENS_PER_TILE = (TILE // PATCH // 2) ** 2
# About 1 / sqrt(128), the width; at the usual 0.02 all attention starts even and long stays so.
INITIAL_SPREAD = 0.08
# Three tiles and the thumbnail at most; a square image of any size stays one tile.
MOST_TILES = 3

# The processor puts <img> and </img> around the image; other programs hand the same text over as a string.
CHAT_TEMPLATE = """\
{%- for message in messages %}
{{- '<|im_start|>' + message['role'] + '\\n' }}
{%- if message['content'] is string %}
{{- message['content'] }}
{%- else %}
{%- for part in message['content'] %}
{%- if part['type'] == 'image' %}
{{- '<IMG_CONTEXT>\\n' }}
{%- elif part['type'] == 'text' %}
{{- part['text'] }}
{%- endif %}
{%- endfor %}
{%- endif %}
{{- '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""


def build_config(tokenizer: Qwen2Tokenizer) -> InternVLConfig:
    """The configuration for a tokenizer, its vocabulary padded to a multiple of 64."""
    end, pad = tokenizer.convert_tokens_to_ids([TURN_END, END_OF_TEXT])
    config = InternVLConfig(
        vision_config={
            "hidden_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 256,
            "attention_bias": True,
            "image_size": [TILE, TILE],
            "patch_size": [PATCH, PATCH],
            "layer_scale_init_value": 1.0,
            "initializer_range": INITIAL_SPREAD,
        },
        text_config={
            "model_type": "qwen2",
            # LMDeploy builds the language model by this name.
            "architectures": ["Qwen2ForCausalLM"],
            "vocab_size": -(-len(tokenizer) // 64) * 64,
            "hidden_size": 128,
            "intermediate_size": 256,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 2048,
            "tie_word_embeddings": False,
            "initializer_range": INITIAL_SPREAD,
            "eos_token_id": end,
            "pad_token_id": pad,
            "bos_token_id": None,
        },
        image_token_id=tokenizer.convert_tokens_to_ids(IMAGE_TOKENS["context_image_token"]),
        image_seq_length=IMAGE_TOKENS_PER_TILE,
        tie_word_embeddings=False,
    )
    config.architectures = ["InternVLForConditionalGeneration"]
    config.dtype = "float32"
    return config


def build_processor(tokenizer: Qwen2Tokenizer) -> InternVLProcessor:
    """The processor: tiles of 56 pixels, a thumbnail when there is more than one, values from -1 to 1."""
    shared = {"size": {"height": TILE, "width": TILE}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    return InternVLProcessor(
        image_processor=GotOcr2ImageProcessor(
            **shared, crop_to_patches=True, min_patches=1, max_patches=MOST_TILES
        ),
        tokenizer=tokenizer,
        video_processor=InternVLVideoProcessor(**shared),
        image_seq_length=IMAGE_TOKENS_PER_TILE,
        chat_template=CHAT_TEMPLATE,
    )


def build_generation_config(tokenizer: Qwen2Tokenizer) -> GenerationConfig:
    """Greedy decoding that ends with the turn."""
    end, pad = tokenizer.convert_tokens_to_ids([TURN_END, END_OF_TEXT])
    return GenerationConfig(do_sample=False, eos_token_id=end, pad_token_id=pad, max_new_tokens=8)


def save_all_but_weights(tokenizer: Qwen2Tokenizer, folder: Path) -> None:
    """Write the configuration, processor, tokenizer and chat template into a folder."""
    build_config(tokenizer).save_pretrained(folder)
    build_processor(tokenizer).save_pretrained(folder)
    build_generation_config(tokenizer).save_pretrained(folder)
