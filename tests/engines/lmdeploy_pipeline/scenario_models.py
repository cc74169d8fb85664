"""Models, pictures and requests of scenarios.py, made in its FOLDER."""

from __future__ import annotations

import json
import shutil
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from harness.engines.contract import Request

EMBEDDED = Path(__file__).parents[3] / "cases" / "models" / "embedded"
CONFIG = json.loads((EMBEDDED / "config.json").read_text())
BOTH = ("two-stage", "captured")
COLOURS = "A. red\nB. blue\nC. green\nAnswer with the option's letter."

FOLDER = Path(sys.argv[1]) if len(sys.argv) == 2 else Path()
facts: dict[str, Any] = {}


def images() -> dict[str, str]:
    """One tile; two and a thumbnail, wide and high; and one that is resized and has an alpha channel."""
    from PIL import Image

    found = {}
    for name, (width, height) in {
        "square": (56, 56),
        "wide": (112, 56),
        "high": (56, 130),
        "large": (300, 170),
    }.items():
        y, x = np.mgrid[0:height, 0:width]
        inside = (x - width / 2) ** 2 + (y - height / 3) ** 2 < (height / 4) ** 2
        picture = np.where(inside[..., None], [220, 30, 40], [90, 90, 90]).astype(np.uint8)
        image = Image.fromarray(picture)
        if name == "large":
            image.putalpha(200)
        found[name] = str(FOLDER / f"{name}.png")
        image.save(found[name])
    return found


def requests(pictures: dict[str, str], tokens: int | None) -> list[Request]:
    """Each picture, text only, several pictures; with a system message or without; English and Chinese."""
    made = []
    for number, picture in enumerate((*pictures, None, *pictures)):
        question = "图中的形状是什么颜色？" if number % 3 == 1 else "What colour is the shape?"
        made.append(
            Request(
                case=f"{number}-{picture or 'text'}",
                prompt=f"{question}\n{COLOURS}",
                letters=("A", "B", "C"),
                images=() if picture is None else (pictures[picture],),
                system="You look at pictures." if number % 2 else None,
                max_new_tokens=tokens,
            )
        )
    several = (*pictures.values(), *pictures.values())[1:4]
    placed = "{image:3} is not {image:1}, nor is " + made[0].prompt + " Look at {image:2}."
    made += [
        replace(made[0], case="several", images=several[:2]),
        replace(made[1], case="placed", images=several, prompt=placed),
    ]
    return made


def later(request: Request) -> Request:
    """The same in the second answer style: three tokens, of which the letter is the last."""
    prompt = request.prompt.replace("the option's letter.", "'Answer: ' and the option's letter.")
    return replace(request, case=f"{request.case}-later", prompt=prompt, answer_prefix="Answer: ")


def random_model() -> Path:
    """The embedded model's shape with random weights, which goes on generating for as long as it may."""
    import torch
    from transformers import AutoConfig, AutoTokenizer, InternVLForConditionalGeneration

    folder = FOLDER / "random"
    shutil.copytree(EMBEDDED, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    config = AutoConfig.from_pretrained(folder)
    torch.manual_seed(0)
    model = InternVLForConditionalGeneration(config).eval()
    # Neither an end nor a placeholder among what it generates: of hundreds of logits one is above 0.
    never = AutoTokenizer.from_pretrained(folder).all_special_ids
    model.lm_head.weight.data[[config.image_token_id, *never]] = 0
    model.generation_config.eos_token_id = None
    model.save_pretrained(folder)
    return folder


def random_stopping(random: Path, answers: dict[str, Any]) -> Path:
    """The random model, told to stop at an id that some of its answers have in their middle, some never."""
    folder = FOLDER / "stopping"
    shutil.copytree(random, folder)
    written = [answer["g"] for answer in answers.values()]
    middle = Counter(token for ids in written for token in set(ids[1:-1]) - {ids[0]})
    path = folder / "generation_config.json"
    stop, _ = next(found for found in middle.most_common() if found[1] < len(written))
    path.write_text(
        json.dumps(
            {**json.loads(path.read_text()), "eos_token_id": [CONFIG["text_config"]["eos_token_id"], stop]}
        )
    )
    facts["stop_id"] = stop
    return folder


def in_bfloat16() -> Path:
    """The embedded model as a checkpoint whose own dtype is bfloat16."""
    from transformers import InternVLForConditionalGeneration

    folder = FOLDER / "bfloat16"
    shutil.copytree(EMBEDDED, folder, ignore=shutil.ignore_patterns("*.safetensors", "config.json"))
    InternVLForConditionalGeneration.from_pretrained(EMBEDDED, dtype="bfloat16").save_pretrained(folder)
    return folder


def with_config(name: str, text: dict[str, Any] | None = None, **changes: Any) -> Path:
    """The embedded model with a changed config.json."""
    folder = FOLDER / name
    shutil.copytree(EMBEDDED, folder)
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config.update(changes)
    config["text_config"].update(text or {})
    path.write_text(json.dumps(config))
    return folder


def newer_items() -> dict[str, Any]:
    """What LMDeploy's own Qwen3VLModel makes of a picture: an item of the newer form, for a made-up model."""
    from lmdeploy.vl.model.qwen3 import Qwen3VLModel
    from PIL import Image
    from transformers import Qwen2VLImageProcessor, Qwen3VLConfig, Qwen3VLProcessor, Qwen3VLVideoProcessor

    from tests.engines.torch_native.tiny_families import tokenizer_of

    folder, mark = FOLDER / "qwen3", "<|image_pad|>"
    marks = {
        "image_token": mark,
        "video_token": "<|video_pad|>",
        "vision_bos_token": "<|vision_start|>",
        "vision_eos_token": "<|vision_end|>",
    }
    Qwen3VLProcessor(
        image_processor=Qwen2VLImageProcessor(patch_size=16, merge_size=2),
        tokenizer=tokenizer_of(mark, extra_special_tokens=marks),
        video_processor=Qwen3VLVideoProcessor(),
    ).save_pretrained(folder)
    config = Qwen3VLConfig(architectures=["Qwen3VLForConditionalGeneration"])
    config.save_pretrained(folder)
    vision = Qwen3VLModel(str(folder), hf_config=config, backend="pytorch")
    vision.build_preprocessor()
    content = [{"type": "image", "data": Image.new("RGB", (128, 64), "red")}]
    made: dict[str, Any] = vision.preprocess([{"role": "user", "content": content}], f"a {mark} b")
    return {**made, "placeholder": vision.image_token_id}
