"""The model card, written from the figures that training and evaluation left beside the weights."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .examples import BLENDED, Mix
from .questions import CERTAINTY, KINDS, LANGUAGES, MOST_OPTIONS, STYLES
from .scenes import BLENDABLE, COLOURS, MOST_OBJECTS, SHAPES, SIZES

CARD = "README.md"
METRICS = "metrics.json"
TRAINING = "training.json"
_LANGUAGE_NAMES = {"en": "English", "zh": "Chinese"}
_STYLE_NAMES = {"plain": "`B`", "line": "`Answer: B`"}


def write_card(folder: Path) -> None:
    """Write the folder's card from its own figures."""
    (folder / CARD).write_text(render_card(folder), encoding="utf-8")


def render_card(folder: Path) -> str:
    """The card as it must read for the figures in `metrics.json`, `training.json` and `config.json`."""
    metrics, training, config = (
        json.loads((folder / name).read_text(encoding="utf-8")) for name in (METRICS, TRAINING, "config.json")
    )
    sections = (
        _HEADER,
        _what(metrics, config),
        _data(),
        _accuracy(metrics),
        _calibration(metrics["calibration"]),
        _training(training),
        _LIMITS,
    )
    return "\n\n".join(section.strip() for section in sections) + "\n"


_HEADER = """
---
license: apache-2.0
language: [en, zh]
library_name: transformers
pipeline_tag: image-text-to-text
---
<!-- Written by `python -m recipe card` from the JSON files beside it; not to be edited. -->
# The embedded model

A tiny InternVL, trained from nothing to answer multiple-choice questions on the colour, shape, number and
position of flat objects. It lets two engines be compared in seconds on any machine: its answers are right
for a reason, its letters compete in earnest, and where an image is ambiguous its probabilities are close.
"""

_LIMITS = """
## Limits and licence

It knows these scenes and these wordings and nothing else, and says nothing about how good a real model is.
Its rounding errors are those of 128 channels and three layers: tolerances measured on it are lower bounds
for larger models. It was never shown more than one image, more than one turn, more than three tiles with
their thumbnail, or more than four objects.

Weights, tokenizer, data and recipe are made by the code beside this folder and are under the Apache License
2.0; no other model or data set went into them.
"""


def _what(metrics: dict[str, Any], config: dict[str, Any]) -> str:
    vision, text, weights = config["vision_config"], config["text_config"], metrics["weights"]
    tile, patch = vision["image_size"][0], vision["patch_size"][0]
    rows = [
        ["architecture", f"`{config['architectures'][0]}`, {weights['parameters']:,} parameters in fp32"],
        ["vision", f"{_size(vision)}; patches of {patch} on tiles of {tile}×{tile} pixels"],
        [
            "projector",
            f"pixel shuffle by {config['downsample_ratio']}: {config['image_seq_length']} tokens a tile",
        ],
        [
            "language model",
            f"Qwen2, {_size(text)}, {text['num_key_value_heads']} for keys and values; untied",
        ],
        ["tokenizer", f"byte-level BPE, {weights['tokens']} tokens, padded to {text['vocab_size']}"],
        ["weights", f"{weights['bytes']:,} bytes, sha256 `{weights['sha256']}`"],
    ]
    return f"""
## What it is

{_table(["part", "as built"], rows)}

`A` and ` A` are different tokens, for every letter from A to Z. Asked to answer with the option's letter, the
model writes `B`; asked for the form 'Answer: X', it writes `Answer: B`, whose letter is the other token and
comes third. The chat template is Qwen2's, without a default system text; the image comes first."""


def _size(part: dict[str, Any]) -> str:
    layers, width, heads = part["num_hidden_layers"], part["hidden_size"], part["num_attention_heads"]
    return f"{layers} layers, width {width}, {heads} heads"


def _data() -> str:
    mix = Mix()
    sizes = ", ".join(f"{width}×{height}" for width, height in SIZES)
    return f"""
## Data

Drawn by `recipe/scenes.py`, asked by `recipe/questions.py`: one to {MOST_OBJECTS} objects of one colour
(of {len(COLOURS)}) and one shape ({", ".join(SHAPES)}) on grey.
Images are {sizes} pixels, which gives one tile, or two or three and a thumbnail.
Two to {MOST_OPTIONS} options in random order. Of the questions {mix.chinese:.0%} are in Chinese,
{mix.line:.0%} in the style 'Answer: X', {mix.text_only:.0%} without an image, the answer stated in words,
{mix.system:.0%} with a system text, {mix.any_letters:.0%} with letters from all of A to Z.
Of the scenes {BLENDED:.0%} are ambiguous: a blend of two colours ({len(BLENDABLE)} pairs), or a square on its
way to a circle. Their targets are soft: with a share b of the second, its probability is
1 / (1 + exp(-{CERTAINTY:g} (b - 0.5)))."""


def _accuracy(metrics: dict[str, Any]) -> str:
    groups, held_out = metrics["groups"], metrics["held_out"]
    styles = [(language, style) for language in LANGUAGES for style in STYLES]
    names = [f"{_LANGUAGE_NAMES[language]}, {_STYLE_NAMES[style]}" for language, style in styles]
    image = [
        [
            name,
            kind,
            *(_share(groups["image"], kind=kind, language=language, style=style, tiles=n) for n in (1, 2, 3)),
        ]
        for name, (language, style) in zip(names, styles, strict=True)
        for kind in KINDS
    ]
    text_only = [
        [kind, *(_share(groups["text only"], kind=kind, language=la, style=style) for la, style in styles)]
        for kind in KINDS
    ]
    numbers = range(2, MOST_OPTIONS + 1)
    options = [
        [
            kind,
            *(_share(groups["options"], kind=kind, options=number) for number in numbers),
            _share(groups["any letters"], kind=kind),
            _share(groups["system text"], kind=kind),
        ]
        for kind in KINDS
    ]
    option_head = ["on", *(f"{number} options" for number in numbers), "any letters", "system text"]
    return f"""
## Accuracy

On {held_out["asked"]:,} questions about scenes that training never drew, {held_out["each"]} for each figure.
Right means that the whole greedy answer is the expected one and that the turn ends after it.

{_table(["asked and answered in", "on", "1 tile", "2 tiles and thumbnail", "3 tiles and thumbnail"], image)}

Without an image, the answer stated in words:

{_table(["on", *names], text_only)}

In English, plain style, one tile: by the number of options, with any letters, with a system text:

{_table(option_head, options)}"""


def _calibration(calibration: dict[str, Any]) -> str:
    parts = [_CALIBRATION]
    for name, figures in calibration.items():
        rows = [
            [
                f"{entry['low']:.1f} to {entry['high']:.1f}",
                str(entry["asked"]),
                f"{entry['confidence']:.3f}",
                f"{entry['accuracy']:.3f}",
            ]
            for entry in figures["bins"]
        ]
        parts.append(
            f"{name.capitalize()} images: {figures['asked']:,} questions, expected calibration error "
            f"{figures['error']:.3f}, {figures['near_ties']} near-ties (best letters less than 0.1 apart),\n"
            f"{figures['mean_elsewhere']:.1e} of the probability on anything but the letters on offer.\n\n"
            + _table(["confidence", "questions", "mean confidence", "right"], rows)
        )
    return "\n\n".join(parts)


_CALIBRATION = """
## Calibration

Confidence is the probability of the top letter among the letters on offer. On an ambiguous image a letter
counts as right by the share that its soft target gives it."""


def _training(training: dict[str, Any]) -> str:
    threads = "one thread" if training["threads"] == 1 else f"{training['threads']} threads"
    versions = ", ".join(f"{name} {version}" for name, version in training["versions"].items())
    return f"""
## Making it again

From `cases/models`:

```
{training["command"]}
python -m recipe evaluate
python -m recipe card
```

Seed {training["seed"]}, {training["steps"]} steps of {training["batch"]} questions, {threads}:
{training["processor_seconds"] / 60:.0f} minutes of processor time with {versions}.
The same seed, thread count and versions give the same weights; others give another model of the same kind.
So the weights are committed, and the recipe says where they come from."""


def _share(cells: Iterable[dict[str, Any]], **wanted: str | int) -> str:
    for cell in cells:
        if all(cell[key] == value for key, value in wanted.items()):
            return f"{cell['right'] / cell['asked']:.3f}"
    return "–"


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
