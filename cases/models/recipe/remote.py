"""The embedded model as a checkpoint that ships its own code, in the manner of InternVL's.

Nothing is trained: weights are renamed, queries, keys and values joined, and the first layer takes pixels
normalised by ImageNet's figures, as that architecture's servers give them.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from .architecture import MOST_TILES, PATCH
from .scenes import TILE

MEAN, SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# In plain strings, as that architecture's servers hand messages over: the image is text by then.
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] "
    "+ '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
_RENAMED = (
    ("vision_tower.embeddings.cls_token", "vision_model.embeddings.class_embedding"),
    ("vision_tower.embeddings.patch_embeddings.projection", "vision_model.embeddings.patch_embedding"),
    ("vision_tower.embeddings.position_embeddings", "vision_model.embeddings.position_embedding"),
    ("vision_tower.encoder.layer.", "vision_model.encoder.layers."),
    (".attention.projection_layer.", ".attn.proj."),
    (".attention.", ".attn."),
    (".layernorm_before.", ".norm1."),
    (".layernorm_after.", ".norm2."),
    (".lambda_", ".ls"),
    ("multi_modal_projector.layer_norm.", "mlp1.0."),
    ("multi_modal_projector.linear_1.", "mlp1.1."),
    ("multi_modal_projector.linear_2.", "mlp1.3."),
)


def write_remote(embedded: Path, folder: Path) -> None:
    """Write the checkpoint into ``folder``, which gets the code of the committed one if it has none."""
    folder.mkdir(parents=True, exist_ok=True)
    for source in (embedded.parent / "remote").glob("*.py"):
        if not (folder / source.name).exists():
            shutil.copy(source, folder)
    weights = convert(load_file(embedded / "model.safetensors"))
    target = folder / "model.safetensors"
    save_file(weights, target, metadata={"format": "pt"})
    target.chmod(0o644)
    own = json.loads((embedded / "config.json").read_text())
    _write(folder / "config.json", build_config(own))
    _write(folder / "generation_config.json", {"do_sample": False, **_ends(own["text_config"])})
    _write_tokenizer(embedded, folder)


def convert(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The embedded model's weights under the other architecture's names."""
    renamed = {}
    for name, tensor in weights.items():
        for old, new in _RENAMED:
            # The language model's attention keeps its name.
            if not name.startswith("language_model."):
                name = name.replace(old, new)
        renamed[name] = tensor.clone()
    for name in [name for name in renamed if ".attn.q_proj." in name]:
        parts = [renamed.pop(name.replace(".q_proj.", f".{part}_proj.")) for part in "qkv"]
        renamed[name.replace(".q_proj.", ".qkv.")] = torch.cat(parts)
    # The embedded model sees (p - 1/2) / (1/2), this one (p - mean) / spread of the same pixel p.
    patch = "vision_model.embeddings.patch_embedding"
    kernel, mean, spread = renamed[f"{patch}.weight"].double(), torch.tensor(MEAN), torch.tensor(SPREAD)
    shift = kernel.sum((2, 3)) @ ((mean.double() - 0.5) / 0.5)
    renamed[f"{patch}.weight"] = (kernel * (spread.double() / 0.5).view(1, 3, 1, 1)).float()
    renamed[f"{patch}.bias"] = (renamed[f"{patch}.bias"].double() + shift).float()
    return {name: renamed[name].contiguous() for name in sorted(renamed)}


def build_config(embedded: dict[str, Any]) -> dict[str, Any]:
    """The configuration, in that architecture's own fields, from the embedded model's."""
    vision, text = embedded["vision_config"], embedded["text_config"]
    shared = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    language = (
        *shared, "architectures", "hidden_act", "max_position_embeddings", "model_type",
        "num_key_value_heads", "rms_norm_eps", "sliding_window", "tie_word_embeddings", "use_sliding_window",
        "vocab_size",
    )  # fmt: skip
    return {
        "architectures": ["InternVLChatModel"],
        "auto_map": {
            "AutoConfig": "configuration_chat.InternVLChatConfig",
            "AutoModel": "modeling_chat.InternVLChatModel",
            "AutoModelForCausalLM": "modeling_chat.InternVLChatModel",
        },
        "model_type": "internvl_chat",
        "torch_dtype": "float32",
        "template": "plain",
        "system_message": "",
        "force_image_size": TILE,
        "dynamic_image_size": True,
        "min_dynamic_patch": 1,
        "max_dynamic_patch": MOST_TILES,
        "use_thumbnail": True,
        "downsample_ratio": embedded["downsample_ratio"],
        "select_layer": -1,
        "ps_version": "v2",
        "tie_word_embeddings": False,
        "vision_config": {
            **{name: vision[name] for name in shared},
            "image_size": TILE,
            "patch_size": PATCH,
            "hidden_act": vision["hidden_act"],
            "layer_norm_eps": vision["layer_norm_eps"],
            "norm_type": vision["norm_type"],
            "qkv_bias": vision["attention_bias"],
            "qk_normalization": vision["use_qk_norm"],
            "torch_dtype": "float32",
        },
        "llm_config": {
            **{name: text[name] for name in language},
            **_ends(text),
            "rope_theta": text["rope_parameters"]["rope_theta"],
            "torch_dtype": "float32",
        },
    }


def _ends(text: dict[str, Any]) -> dict[str, Any]:
    return {"bos_token_id": None, "eos_token_id": text["eos_token_id"], "pad_token_id": text["pad_token_id"]}


def _write_tokenizer(embedded: Path, folder: Path) -> None:
    """The same tokenizer in the files and fields that Transformers 4 reads too, slow tokenizers included."""
    shutil.copy(embedded / "tokenizer.json", folder)
    whole = json.loads((embedded / "tokenizer.json").read_text())
    (folder / "vocab.json").write_text(json.dumps(whole["model"]["vocab"], ensure_ascii=False))
    merges = "".join(f"{left} {right}\n" for left, right in whole["model"]["merges"])
    (folder / "merges.txt").write_text(f"#version: 0.2\n{merges}")
    added = {str(token.pop("id")): token for token in whole["added_tokens"]}
    settings = json.loads((embedded / "tokenizer_config.json").read_text())
    kept = ("clean_up_tokenization_spaces", "eos_token", "model_max_length", "pad_token", "unk_token")
    _write(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "Qwen2Tokenizer",
            "add_prefix_space": False,
            "added_tokens_decoder": added,
            "additional_special_tokens": ["<|im_start|>", "<img>", "</img>", "<IMG_CONTEXT>", "<video>"],
            "bos_token": None,
            "chat_template": CHAT_TEMPLATE,
            **{name: settings[name] for name in kept},
        },
    )


def _write(path: Path, data: dict[str, Any]) -> None:
    path.write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n")
