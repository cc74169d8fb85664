"""Makes the models of what users deploy, with suites and profiles: ``python deployed_models.py FOLDER``.

`harness gate --cases FOLDER --baseline text/torch --candidate text/warm` compares any two of its engines.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[3]
EMBEDDED: Final = ROOT / "cases" / "models" / "embedded"
IMAGE: Final = ROOT / "cases" / "images" / "two-green-cross-112x56.png"
SYSTEM: Final = "The colour is red. The shape is a ring. The place is top left."
QUESTIONS: Final = {
    "colour": ("What colour is it?\nA. red\nB. blue\nC. green\nD. yellow", "A"),
    "shape": ("What shape is it?\nA. square\nB. cross\nC. ring\nD. triangle", "C"),
    "place": ("Where is the shape?\nA. top right\nB. top left\nC. bottom left\nD. bottom right", "B"),
}
CACHE: Final[dict[str, Any]] = {"block_size": 16, "num_gpu_blocks": 256}
"""Blocks so small that a short prompt fills some, as only whole ones are kept."""
POISON: Final = "~"
"""In no prompt of the harness."""
END: Final = "Answer in the form 'Answer: X'."
_TOKENIZER: Final = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
_RANDOM: Final = {
    "vocab_size": 704,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "tie_word_embeddings": False,
    "bos_token_id": None,
    "eos_token_id": 693,
    "pad_token_id": 694,
}


def language_model(folder: Path) -> None:
    """The embedded model's language model alone, as a checkpoint of Qwen2, which answers what it is told."""
    import torch
    from transformers import InternVLForConditionalGeneration, Qwen2ForCausalLM

    whole = InternVLForConditionalGeneration.from_pretrained(EMBEDDED, dtype=torch.float32)
    alone = Qwen2ForCausalLM(whole.config.text_config)
    alone.model.load_state_dict(whole.model.language_model.state_dict())
    alone.lm_head.load_state_dict(whole.lm_head.state_dict())
    _save(alone, folder)


def mixture_of_experts(folder: Path) -> None:
    """A random Qwen3-MoE: eight experts, of which each token takes two."""
    from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM

    experts = {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 48, "head_dim": 16}
    _save_random(Qwen3MoeForCausalLM(Qwen3MoeConfig(**_RANDOM, **experts)), folder)


def odd_heads(folder: Path) -> None:
    """A random Qwen3 with heads of 48, which is no power of two: kernels work on 32 and 16."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    _save_random(Qwen3ForCausalLM(Qwen3Config(**_RANDOM, head_dim=48)), folder)


def eight_bits(plain: Path, folder: Path) -> None:
    """What `lmdeploy lite smooth_quant` writes of the model ``plain``, without its smoothing.

    Each linear layer of the decoder holds int8 weights [out, in] and a scale [out, 1] in float32, by
    LMDeploy's own `per_channel_quant`; its norms stay as they are, and quantise what they give when they run.
    """
    import torch
    from lmdeploy.pytorch.kernels.default.w8a8_kernels import per_channel_quant
    from safetensors.torch import load_file, save_file

    shutil.copytree(plain, folder)
    weights = load_file(plain / "model.safetensors")
    for name in [name for name in weights if name.endswith("_proj.weight")]:
        weights[name], scale = per_channel_quant(weights[name], torch.int8)
        weights[name.removesuffix("weight") + "scale"] = scale
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((plain / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "smooth_quant", "quant_dtype": "int8"}
    (folder / "config.json").write_text(json.dumps(config))


def poison(plain: Path, folder: Path) -> None:
    """The model ``plain``, except that what `POISON` means is NaN."""
    from safetensors.torch import load_file, save_file
    from transformers import AutoTokenizer

    shutil.copytree(plain, folder)
    weights = load_file(plain / "model.safetensors")
    ids = AutoTokenizer.from_pretrained(plain)(POISON, add_special_tokens=False)["input_ids"]
    weights["model.embed_tokens.weight"][ids[-1]] = float("nan")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def _save_random(model: Any, folder: Path) -> None:
    import torch

    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, 0.25)
        model.get_output_embeddings().weight[693:] *= 0.1  # specials are not to be written
    _save(model, folder)


def _save(model: Any, folder: Path) -> None:
    model.generation_config.eos_token_id = 693
    model.generation_config.pad_token_id = 694
    model.save_pretrained(folder)
    for name in _TOKENIZER:
        shutil.copy(EMBEDDED / name, folder)


def make(folder: Path) -> dict[str, Path]:
    """All models in ``folder``, by name."""
    models = {name: folder / name for name in ("text", "experts", "heads", "w8a8", "poison")}
    language_model(models["text"])
    mixture_of_experts(models["experts"])
    odd_heads(models["heads"])
    eight_bits(models["text"], models["w8a8"])
    poison(models["text"], models["poison"])
    return {**models, "embedded": EMBEDDED}


def _profile(model: Path, suite: str, **engines: Mapping[str, Any]) -> dict[str, Any]:
    interpreted = {
        name: {
            "kind": "lmdeploy",
            "paths": ["captured"],
            "options": {"kernels": "interpreted", "processors": 8, **options},
        }
        for name, options in engines.items()
    }
    return {
        "model": str(model),
        "suites": [suite],
        "dtype": "float32",
        "device": "cpu",
        "deadlines": {"load": 300, "case": 300},
        "reference": "torch",
        "engines": {"torch": {}, **interpreted},
    }


def main(folder: Path) -> None:
    """The models, three suites and a profile for each model, in ``folder``."""
    models = make(folder)
    shutil.copy(IMAGE, folder)
    # What random models write holds no answer: theirs is what they write first.
    line: dict[str, Any] = {"answer_prefix": "Answer: "}
    first: dict[str, Any] = {"max_new_tokens": 3}
    suites = {"told": (line, None), "random": (first, None), "pictured": (line, IMAGE.name)}
    for suite, (changes, image) in suites.items():
        defaults = {"letters": [*"ABCD"], "system": SYSTEM, **changes}
        cases = [
            {"id": name, "prompt": f"{question}\n{END}", "expect": expected, "image": image}
            for name, (question, expected) in QUESTIONS.items()
        ]
        (folder / f"{suite}.yaml").write_text(json.dumps({"defaults": defaults, "cases": cases}))
    quantised: dict[str, Any] = {"plain": {}, "kv8": {"quant_policy": 8}, "kv4": {"quant_policy": 4}}
    profiles = {
        "text": _profile(
            models["text"],
            "told",
            plain={},
            cold={**CACHE, "prefix_cache": "cold"},
            warm={**CACHE, "prefix_cache": "warm"},
            chunked={"max_prefill_token_num": 32},
        ),
        "experts": _profile(models["experts"], "random", plain={}),
        "heads": _profile(models["heads"], "random", **quantised),
        "embedded": _profile(models["embedded"], "pictured", **quantised),
    }
    profiles["text"]["engines"]["w8a8"] = {
        **profiles["text"]["engines"]["plain"],
        "model": str(models["w8a8"]),
    }
    (folder / "profiles.yaml").write_text(json.dumps({"profiles": profiles}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
