"""Pictures, the embedded model, and a small random one for what that model never does."""

from __future__ import annotations

import json
import shutil
import string
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.engines.torch_native.asking import (
    EMBEDDED,
    loaded,
    picture,
)


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    folder = tmp_path_factory.mktemp("pictures")
    return SimpleNamespace(
        square=picture(folder / "square.png", (56, 56), "red"),
        other=picture(folder / "other.png", (56, 56), "#3060d0"),
        wide=picture(folder / "wide.png", (112, 56), "green"),
    )


@pytest.fixture(scope="session")
def embedded() -> Any:
    return loaded(EMBEDDED)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random InternVL with logits spread wide, so that it writes readable nonsense without near-ties."""
    import torch
    from transformers import InternVLConfig, InternVLForConditionalGeneration, InternVLProcessor
    from transformers.models.got_ocr2.image_processing_got_ocr2 import GotOcr2ImageProcessor
    from transformers.models.internvl.video_processing_internvl import InternVLVideoProcessor

    from tests.engines.torch_native.tiny_families import tokenizer_of

    folder = tmp_path_factory.mktemp("tiny")
    tokenizer = tokenizer_of(
        "<IMG_CONTEXT>",
        extra_special_tokens={
            "start_image_token": "<img>",
            "end_image_token": "</img>",
            "context_image_token": "<IMG_CONTEXT>",
            "video_token": "<video>",
        },
    )
    size = {"height": 28, "width": 28}
    InternVLProcessor(
        image_processor=GotOcr2ImageProcessor(size=size, crop_to_patches=True, min_patches=1, max_patches=3),
        tokenizer=tokenizer,
        video_processor=InternVLVideoProcessor(size=size),
        image_seq_length=1,
        chat_template=tokenizer.chat_template,
    ).save_pretrained(folder)
    config = InternVLConfig(
        vision_config={
            "hidden_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 16,
            "image_size": [28, 28],
            "patch_size": [14, 14],
        },
        text_config={
            "model_type": "qwen2",
            "vocab_size": len(tokenizer),
            "hidden_size": 32,
            "intermediate_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
            "tie_word_embeddings": False,
        },
        image_token_id=tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"),
        image_seq_length=1,
        tie_word_embeddings=False,
    )
    torch.manual_seed(4)
    model = InternVLForConditionalGeneration(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0.0, 0.35)
        # Of special tokens only the end may be written, and that seldom.
        model.lm_head.weight[len(string.printable) - 4 + 26 :] *= 0.1
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_engine(tiny: Path) -> Any:
    return loaded(tiny)


@pytest.fixture
def changed(tiny: Path, tmp_path: Path) -> Callable[..., Path]:
    """A copy of the tiny model with one file rewritten: JSON files as dictionaries, others as text."""

    def change(name: str, change: Callable[[Any], Any]) -> Path:
        folder = tmp_path / "changed"
        shutil.copytree(tiny, folder)
        file = folder / name
        if name.endswith(".safetensors"):
            from safetensors.torch import load_file, save_file

            save_file(change(load_file(file)), file, metadata={"format": "pt"})
        elif name.endswith(".json"):
            file.write_text(json.dumps(change(json.loads(file.read_text()))))
        else:
            file.write_text(change(file.read_text()))
        return folder

    return change
