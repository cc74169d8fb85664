"""The model card, written from the figures that training and evaluation left beside the weights."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from recipe.examples import Mix
from recipe.questions import CERTAINTY, KINDS, LANGUAGES, STYLES
from recipe.scenes import BLENDABLE, COLOURS, MOST_OBJECTS, SHAPES, SIZES

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
        _training(training, metrics["weights"]),
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
<!-- Written by `python -m recipe card` from metrics.json and training.json: edit those by running their commands. -->
# The embedded model

A tiny InternVL, trained from nothing to answer multiple-choice questions on the colour, shape, number and position of
flat objects. It lets two engines be compared in seconds on any machine: its answers are right for a reason, its
letters compete in earnest, and where an image is ambiguous its probabilities are close on purpose.
"""

_LIMITS = """
## Limits and licence

It knows these scenes and these wordings and nothing else: it says nothing about how good a real model is. Its
rounding errors are those of 128 channels and three layers, so tolerances measured on it are lower bounds for larger
models. It was never shown more than one image, more than one turn, or more than three tiles and their thumbnail.

Weights, tokenizer, data and recipe are made by the code beside this folder and are under the Apache License 2.0; no
other model or data set went into them.
"""


def _what(metrics: dict[str, Any], config: dict[str, Any]) -> str:
    vision, text, weights = config["vision_config"], config["text_config"], metrics["weights"]
    tiles = vision["image_size"][0]
    return f"""
## What it is

| part | |
| --- | --- |
| architecture | `{config["architectures"][0]}`, {weights["parameters"]:,} parameters in fp32, {weights["bytes"]:,} bytes |
| vision | {vision["num_hidden_layers"]} layers, width {vision["hidden_size"]}, {vision["num_attention_heads"]} heads, \
patches of {vision["patch_size"][0]} on tiles of {tiles}×{tiles} pixels |
| projector | pixel shuffle by {config["downsample_ratio"]}, so {config["image_seq_length"]} tokens a tile |
| language model | Qwen2, {text["num_hidden_layers"]} layers, width {text["hidden_size"]}, \
{text["num_attention_heads"]} heads, {text["num_key_value_heads"]} for keys and values, untied |
| tokenizer | byte-level BPE, {weights["tokens"]} tokens, padded to {text["vocab_size"]} |
| sha256 of the weights | `{weights["sha256"]}` |

`A` and ` A` are different tokens, for every letter from A to Z. Asked to answer with the option's letter, the model
writes `B`; asked for the form 'Answer: X', it writes `Answer: B`, whose letter is the other token, in the third row.
The chat template is Qwen2's, with the image first and without a default system text."""


def _data() -> str:
    mix = Mix()
    sizes = ", ".join(f"{width}×{height}" for width, height in SIZES)
    return f"""
## Data

Drawn by `recipe/scenes.py`, asked by `recipe/questions.py`: one to {MOST_OBJECTS} objects of one colour (of
{len(COLOURS)}) and one shape ({", ".join(SHAPES)}) on grey, at {sizes} pixels, which gives one tile, or two or three
and a thumbnail. Two to six options in random order, {mix.chinese:.0%} of the questions in Chinese, {mix.line:.0%} in
the style 'Answer: X', {mix.text_only:.0%} without an image and with the answer stated in words, {mix.system:.0%} with
a system text, {mix.any_letters:.0%} with letters from all of A to Z. A fifth of the scenes is ambiguous: a blend of
two colours ({len(BLENDABLE)} pairs), or a square on its way to a circle. Their targets are soft: with a share b of
the second, its probability is 1 / (1 + exp(-{CERTAINTY:g} (b - 0.5)))."""


def _accuracy(metrics: dict[str, Any]) -> str:
    groups, held_out = metrics["groups"], metrics["held_out"]
    image = [
        [
            kind,
            *(
                _share(_where(groups["image"], kind=kind, language=language, style=style, tiles=tiles))
                for tiles in (1, 2, 3)
            ),
        ]
        for language in LANGUAGES
        for style in STYLES
        for kind in KINDS
    ]
    names = [
        f"{_LANGUAGE_NAMES[language]}, {_STYLE_NAMES[style]}" for language in LANGUAGES for style in STYLES
    ]
    for number, row in enumerate(image):
        row.insert(0, names[number // len(KINDS)])
    text_only = [
        [
            kind,
            *(
                _share(_where(groups["text only"], kind=kind, language=language, style=style))
                for language in LANGUAGES
                for style in STYLES
            ),
        ]
        for kind in KINDS
    ]
    options = [
        [
            kind,
            *(_share(_where(groups["options"], kind=kind, options=number)) for number in range(2, 7)),
            _share(_where(groups["any letters"], kind=kind)),
            _share(_where(groups["system text"], kind=kind)),
        ]
        for kind in KINDS
    ]
    return f"""
## Accuracy

On {held_out["asked"]:,} questions about scenes that training never drew, {held_out["each"]} for each figure. Right
means that the whole greedy answer is the expected one and that the turn ends after it.

{_table(["asked and answered in", "on", "1 tile", "2 tiles and thumbnail", "3 tiles and thumbnail"], image)}

Without an image, the answer stated in words:

{_table(["on", *names], text_only)}

In English, plain style, one tile, by the number of options, with letters from all of A to Z, and with a system text:

{_table(["on", *(f"{number} options" for number in range(2, 7)), "any letters", "system text"], options)}"""


def _calibration(calibration: dict[str, Any]) -> str:
    parts = [
        """
## Calibration

Confidence is the probability of the top letter among the letters on offer. On an ambiguous image a letter counts as
right by the share that its soft target gives it."""
    ]
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
            f"{name.capitalize()} images: {figures['asked']:,} questions, expected calibration error {figures['error']:.3f}, "
            f"{figures['near_ties']} near-ties (the two best letters less than 0.1 apart), {figures['mean_elsewhere']:.1e} "
            f"of the probability on anything but the letters.\n\n"
            + _table(["confidence", "questions", "mean confidence", "right"], rows)
        )
    return "\n\n".join(parts)


def _training(training: dict[str, Any], weights: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in training["versions"].items())
    return f"""
## Making it again

From `cases/models`:

```
{training["command"]}
python -m recipe evaluate embedded
python -m recipe card embedded
```

Seed {training["seed"]}, {training["steps"]} steps of {training["batch"]} questions, {training["threads"]} thread(s),
{training["seconds"] / 60:.0f} minutes with {versions}. The same seed, thread count and versions give the same weights;
others give a model as good with other weights, so the weights are committed and the recipe is their provenance."""


def _where(cells: Iterable[dict[str, Any]], **wanted: Any) -> dict[str, Any] | None:
    return next((cell for cell in cells if all(cell[key] == value for key, value in wanted.items())), None)


def _share(cell: dict[str, Any] | None) -> str:
    return "–" if cell is None else f"{cell['right'] / cell['asked']:.3f}"


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
