"""The embedded model with a larger language model and random weights: about 100 million parameters.

Run as ``python -m benchmarks.random_weights EMBEDDED FOLDER`` in an engine's interpreter.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Final

__all__ = ["write_model"]

_LARGER: Final = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "num_key_value_heads": 12,
}


def write_model(embedded: Path, folder: Path) -> Path:
    """A copy of ``embedded`` in ``folder``, with another language model, drawn from one seed.

    Tokenizer, template, processor and vision stay as they are.
    """
    import torch
    from transformers import AutoConfig, InternVLForConditionalGeneration

    shutil.copytree(embedded, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    config = AutoConfig.from_pretrained(folder)
    for name, value in _LARGER.items():
        setattr(config.text_config, name, value)
    config.text_config.layer_types = ["full_attention"] * _LARGER["num_hidden_layers"]
    torch.manual_seed(0)
    InternVLForConditionalGeneration(config).save_pretrained(folder)
    return folder


if __name__ == "__main__":
    write_model(*map(Path, sys.argv[1:]))
