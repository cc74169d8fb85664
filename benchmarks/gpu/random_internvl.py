"""A larger InternVL with random weights, made on the spot: a real model's shape, and nothing to download.

    python -m benchmarks.gpu.random_internvl FOLDER [--size large|tiny]

The processor, the chat template and the tokenizer are the embedded model's, the vocabulary filled up to
Qwen2's size with tokens that no text contains, so that every id that the model may write can be read. Weights
are drawn from a seed, on the CPU, so that a size has the same weights everywhere, and saved as float32: what
is loaded in another dtype rounds the same numbers.

Random weights know no answers. What is compared on them is engines, never letters with what is expected. So
that the letters are in question all the same, whatever the prompt, the last layer's attention adds the same
vector to every token's state, and the letters' rows of the head lean towards it.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

__all__ = ["EMBEDDED", "SIZES", "Size", "main", "make_model"]

EMBEDDED: Final = Path(__file__).resolve().parents[2] / "cases" / "models" / "embedded"
_SEED: Final = 20448
_PATCH: Final = 14
_HEAD_WIDTH: Final = 64
_SPREAD: Final = 1.2  # of a product of weights with a normed state, and so of a logit
_LETTERS: Final = "ABCDEF"  # those of the suite 'chinese', which is asked of this model
_USUAL_LETTERS: Final = 4
_LEAN: Final = 0.75  # about the last state's cosine with the vector; measured, both sizes: 0.77 to 0.86
_LEAN_LENGTH: Final = 1.4  # of the vector, by the square root of layers times inner width, as states grow


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """A shape: layers and widths of the language model and the vision tower, and pixels of a tile's side."""

    vocabulary: int
    layers: int
    width: int
    inner: int
    key_value_heads: int
    vision_layers: int
    vision_width: int
    tile: int

    @property
    def tile_tokens(self) -> int:
        """Placeholders for one tile: a token for each 2 × 2 patches."""
        return (self.tile // _PATCH // 2) ** 2


SIZES: Final = {
    # The language model is of Qwen2-0.5B's shape with a head of its own, the tower half of InternViT-300M.
    "large": Size(
        vocabulary=151_936,
        layers=24,
        width=896,
        inner=4864,
        key_value_heads=2,
        vision_layers=12,
        vision_width=1024,
        tile=448,
    ),
    "tiny": Size(
        vocabulary=1024,
        layers=2,
        width=128,
        inner=256,
        key_value_heads=1,
        vision_layers=2,
        vision_width=64,
        tile=56,
    ),
}


def make_model(folder: Path, size: Size) -> int:
    """Write the whole checkpoint into ``folder``, and return its number of parameters."""
    import torch
    from transformers import InternVLForConditionalGeneration

    folder.mkdir(parents=True, exist_ok=True)
    letters, stop = _save_processor(folder, size)
    config = _config(folder, size, stop)
    torch.manual_seed(_SEED)
    model = InternVLForConditionalGeneration(config)
    with torch.no_grad():
        towards = _one_vector(model.model.language_model.layers[-1].self_attn, size)
        # As they are, all logits are of the order of 1: among so many tokens no letter would matter. So much
        # more makes a question's letters together about as probable as all the rest.
        more = math.log(size.vocabulary / _USUAL_LETTERS)
        model.lm_head.weight[letters] += more / (_LEAN * size.width**0.5) * towards
    model.generation_config.do_sample = False
    model.generation_config.eos_token_id = stop
    model.save_pretrained(folder)
    return sum(parameter.numel() for parameter in model.parameters())


def _one_vector(attention: Any, size: Size) -> Any:  # noqa: ANN401 - a module and a tensor
    """Have ``attention`` add a vector that no prompt changes, by a bias of its values; its direction.

    Its weights sum to 1 over the tokens, so that of a bias that all values share all of it comes out.
    """
    import torch

    bias = torch.randn(size.key_value_heads, _HEAD_WIDTH)
    shared = size.width // _HEAD_WIDTH // size.key_value_heads
    added = attention.o_proj.weight @ bias.repeat_interleave(shared, dim=0).flatten()
    length = added.norm()
    attention.v_proj.bias.copy_(bias.flatten() * _LEAN_LENGTH * (size.layers * size.inner) ** 0.5 / length)
    return added / length


def _save_processor(folder: Path, size: Size) -> tuple[list[int], int]:
    """Save processor and tokenizer; the ids of the letters, and the one that ends a turn."""
    from transformers import AutoProcessor

    processor = AutoProcessor.from_pretrained(EMBEDDED)
    sides = {"height": size.tile, "width": size.tile}
    processor.image_processor.size = sides
    processor.image_seq_length = size.tile_tokens
    processor.save_pretrained(folder)
    file = folder / "tokenizer.json"
    tokenizer = json.loads(file.read_text(encoding="utf-8"))
    used = len(processor.tokenizer)
    vocabulary: dict[str, int] = tokenizer["model"]["vocab"]
    # Else Transformers would number the special tokens anew, behind all others.
    vocabulary.update({token["content"]: token["id"] for token in tokenizer["added_tokens"]})
    # Entries of the vocabulary without merges: the tokenizer reads them, and never writes them.
    vocabulary.update({f"<unused_{n}>": n for n in range(used, size.vocabulary)})
    file.write_text(json.dumps(tokenizer, ensure_ascii=False), encoding="utf-8")
    ids = processor.tokenizer.convert_tokens_to_ids
    return [int(ids(letter)) for letter in _LETTERS], int(processor.tokenizer.eos_token_id)


def _config(folder: Path, size: Size, stop: int) -> Any:  # noqa: ANN401 - a class of Transformers
    """The embedded model's configuration with another shape."""
    from transformers import InternVLConfig

    embedded = json.loads((EMBEDDED / "config.json").read_text(encoding="utf-8"))
    # At the usual 0.02 all attention is nearly even, and every prompt gets nearly the same answer.
    spread = _SPREAD / size.width**0.5
    vision = {
        **embedded["vision_config"],
        "hidden_size": size.vision_width,
        "intermediate_size": 4 * size.vision_width,
        "num_hidden_layers": size.vision_layers,
        "num_attention_heads": max(1, size.vision_width // _HEAD_WIDTH),
        "image_size": [size.tile, size.tile],
        "initializer_range": spread,
    }
    text = {
        **embedded["text_config"],
        "vocab_size": size.vocabulary,
        "hidden_size": size.width,
        "intermediate_size": size.inner,
        "num_hidden_layers": size.layers,
        "layer_types": ["full_attention"] * size.layers,
        "num_attention_heads": size.width // _HEAD_WIDTH,
        "num_key_value_heads": size.key_value_heads,
        "max_position_embeddings": 4096,
        "initializer_range": spread,
        "eos_token_id": stop,
    }
    config = InternVLConfig(
        vision_config=vision,
        text_config=text,
        image_token_id=embedded["image_token_id"],
        image_seq_length=size.tile_tokens,
        tie_word_embeddings=False,
    )
    config.architectures = ["InternVLForConditionalGeneration"]
    config.dtype = "float32"
    config.save_pretrained(folder)
    return config


def main(arguments: Sequence[str] | None = None) -> int:
    """Make a model and say how large it is."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu.random_internvl")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", choices=list(SIZES), default="large")
    options = parser.parse_args(arguments)
    began = time.perf_counter()
    parameters = make_model(options.folder, SIZES[options.size])
    print(json.dumps({"parameters": parameters, "seconds": round(time.perf_counter() - began, 1)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
