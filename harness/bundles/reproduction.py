"""A script that puts one case to Transformers and to LMDeploy by their public functions alone.

It imports nothing of the harness, so that people can run it who have never heard of it. What a few lines
cannot do as the profile does it is refused by name; no script is written that would ask another question.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from packaging.version import Version

from harness.bundles.making import packages_of
from harness.engines.codec import settings_from_json
from harness.engines.contract import EngineSettings, Request
from harness.engines.lmdeploy_pipeline.options import engine_options, is_turbomind
from harness.recordings.store import Recording

__all__ = ["Half", "half_of", "script"]

_NOT_A_FEW_LINES: Final = {
    "chat_template_config", "gemm_tuning", "max_pixels", "min_pixels", "prefix_cache", "template",
    "template_date", "threads", "vision_config",
}  # fmt: skip
_OF_THE_HARNESS: Final = {"enable_metrics", "logprobs_mode", "max_batch_size"}
_DTYPE_SINCE: Final = Version("4.56")  # Transformers called it torch_dtype before


class Half(NamedTuple):
    """One side's part of a script: its ``side`` on the command line, its body, or what it ``lacks``."""

    side: str
    body: str = ""
    lacks: str = ""


_HEAD = '''"""{case}: the ids of the prompt, and each letter's probability. MODEL is the model's folder.

{usage}
"""

import json
import sys
from pathlib import Path

HERE = Path(__file__).parent
PROMPT = (HERE / "prompt.txt").read_bytes().decode()


def tell(side, ids, rows, written):
    """Print what came, beside what ids.json has; the letter is drawn from the row [V] at `answer_step`."""
    known = json.loads((HERE / "ids.json").read_text(encoding="utf-8"))[side]
    print("prompt ids:", f"{{len(ids)}}, as recorded" if ids == known["prompt_ids"] else ids)
    print("written ids:", written)
    if known["answer_step"] is not None:
        shares = rows[known["answer_step"]].float().softmax(-1)
        for letter, token in known["letter_ids"].items():
            print(letter, format(float(shares[token]), ".9g"))


def messages(system, content):
    user = {{"role": "user", "content": content}}
    return [user] if system is None else [{{"role": "system", "content": system}}, user]
'''

_TRANSFORMERS = """
    import torch
    import transformers
    from PIL import Image

    processor = transformers.AutoProcessor.from_pretrained(model)
    net = transformers.AutoModelForImageTextToText.from_pretrained(model, {options}).to({device!r}).eval()
    asked = messages({system}, {content})
    template = processor.chat_template or processor.tokenizer.chat_template
    text = processor.apply_chat_template(
        asked, chat_template=template, add_generation_prompt=True, tokenize=False
    )
    begin = processor.tokenizer.bos_token
    once = {{"add_special_tokens": False}} if begin and text.startswith(begin) else {{}}
    inputs = processor(text=[text], {images}truncation=False, return_tensors="pt", **once)
    inputs = inputs.to(net.device, net.dtype)
    out = net.generate(
        **inputs, max_new_tokens={count}, do_sample=False, output_logits=True, return_dict_in_generate=True
    )
    ids = inputs["input_ids"][0].tolist()
    tell(side, ids, [row[0] for row in out.logits], out.sequences[0, len(ids) :].tolist())
"""

_LMDEPLOY = """
    from lmdeploy import GenerationConfig, {config}, pipeline
    from PIL import Image

    prompts, rows = [], []

    def look(ids, logits):  # those of the next token, before anything is done to them
        prompts.append(ids.tolist())
        rows.append(logits.float().cpu().clone())
        return logits

    config = {config}({options})
    pipe = pipeline(model, backend_config=config{trust})
    asked = messages({system}, {content})
    how = GenerationConfig(max_new_tokens={count}, do_sample=False, {look})
    (out,) = pipe([asked], gen_config=how)
    tell(side, {told}, out.token_ids)
    pipe.close()
"""


def half_of(side: str, recording: Recording, request: Request, images: Sequence[str]) -> Half:
    """The part of ``recording``'s engine; ``images`` are the names of the images' files beside the script."""
    told: Any = recording.fingerprint.get("settings")
    settings = settings_from_json({"model": "", **told})
    loaded: Any = recording.fingerprint.get("loaded") or {}
    if lacks := _lacking(settings, loaded, request):
        return Half(side, lacks=lacks)
    opened = [f'Image.open(HERE / "{image}").convert("RGB")' for image in images]
    text, places = '{"type": "text", "text": PROMPT}', ['{"type": "image"}'] * len(images)
    count, system = len(recording.answer.generated_ids), repr(request.system)
    if settings.kind == "torch":
        since = Version(packages_of(recording.fingerprint).get("transformers", "5")) >= _DTYPE_SINCE
        dtype = '"auto"' if settings.dtype == "auto" else f"torch.{settings.dtype}"
        options = {"dtype" if since else "torch_dtype": dtype}
        if attention := settings.options.get("attention"):
            options["attn_implementation"] = repr(attention)
        body = _TRANSFORMERS.format(
            options=", ".join(f"{name}={value}" for name, value in options.items()),
            device=settings.device,
            system=system if request.system is None else f'[{{"type": "text", "text": {system}}}]',
            content=f"[{', '.join([*places, text])}]",
            images=f"images=[[{', '.join(opened)}]], " if images else "",
            count=count,
        )
        return Half(side, body=body)
    turbomind = is_turbomind(settings)
    made = engine_options(settings, loaded.get("engine_config", {}))
    own_code = settings.options.get("trust_remote_code") is True
    most = f', "max_dynamic_patch": {settings.max_tiles}' if settings.max_tiles is not None else ""
    shown = [f'{{"type": "image_data", "image_data": {{"data": {each}{most}}}}}' for each in opened]
    body = _LMDEPLOY.format(
        config="TurbomindEngineConfig" if turbomind else "PytorchEngineConfig",
        options=", ".join(f"{name}={value!r}" for name, value in made.items() if name not in _OF_THE_HARNESS),
        trust=", trust_remote_code=True" if own_code else "",
        system=system,
        content=f"[{', '.join([*shown, text])}]",
        count=count,
        # TurboMind takes no function, and tells the prompt's length only.
        look='output_logits="generation"' if turbomind else "logits_processors=[look]",
        told='f"{out.input_token_len} of them", out.logits' if turbomind else "prompts[0], rows",
    )
    return Half(side, body=body)


def script(case: str, halves: list[Half]) -> str:
    """The script of those halves that there are; '' where there is none."""
    bodies = {f"by_{half.side.replace('-', '_')}": half for half in halves if half.body}
    if not bodies:
        return ""
    usage = "\n".join(f"    python reproduce.py {half.side} MODEL" for half in bodies.values())
    functions = [f"\n\ndef {name}(side, model):{half.body}" for name, half in bodies.items()]
    table = ", ".join(f'"{half.side}": {name}' for name, half in bodies.items())
    end = '\n\nif __name__ == "__main__":  # LMDeploy may start processes, which import this file\n'
    head = _HEAD.format(case=case, usage=usage)
    return f"{head}{''.join(functions)}{end}    {{{table}}}[sys.argv[1]](*sys.argv[1:])\n"


def _lacking(settings: EngineSettings, loaded: dict[str, Any], request: Request) -> str:
    """Why the settings take more than a few lines, '' where they do not."""
    own_code = settings.options.get("trust_remote_code") is True
    if settings.kind == "api":
        return "its engine is a server, which is asked by its own protocol"
    if settings.kind == "torch" and own_code:
        return (
            "the model runs by code of its own (trust_remote_code), which is asked in its own way: follow "
            "the model's card, with prompt.txt, and compare with rendered-transformers.txt and ids.json"
        )
    if settings.kind == "torch" and loaded.get("image_processor_class", "NoneType") == "NoneType":
        return "the model takes text only"
    if request.marked:
        return "the prompt names the places of its images, which each model writes in words of its own"
    odd = {*settings.options} & _NOT_A_FEW_LINES
    if settings.max_tiles is not None and not (settings.kind == "lmdeploy" and own_code):
        odd.add(
            "max_tiles"
        )  # LMDeploy takes it with each image of models such as InternVL2-8B, and no others
    return f"the profile sets {', '.join(sorted(odd))}, which takes more than a few lines" if odd else ""
