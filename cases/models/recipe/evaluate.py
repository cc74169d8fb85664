"""Accuracy and calibration on scenes that training never saw: the figures that the model card shows."""

import hashlib
import itertools
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import (
    AutoModelForImageTextToText,
    AutoProcessor,
    InternVLForConditionalGeneration,
    InternVLProcessor,
)

from .batches import messages_of
from .card import METRICS
from .examples import Mix, sample_wording
from .questions import ANSWER_PREFIX, CHOICES, KINDS, LANGUAGES, STYLES, Question
from .scenes import SIZES, Scene, draw, sample_scene
from .tokenizer import TURN_END

WEIGHTS = "model.safetensors"
BINS = 5
_SIZES = {1: SIZES[:1], 2: SIZES[1:3], 3: SIZES[3:]}
# No system text and the letters A to F, unless a group is about them.
ORDINARY = Mix(system=0.0, any_letters=0.0)


@dataclass(frozen=True)
class Asked:
    """A held-out question and the group it counts in; without a scene it has no image."""

    group: str
    cell: dict[str, Any]
    question: Question
    scene: Scene | None


class Scored(NamedTuple):
    """What the model answered.

    Attributes:
        asked: the question.
        right: the greedy answer is exactly the expected one and the turn ends after it.
        probabilities: of the letters on offer, renormalised, in their order.
        elsewhere: probability of everything else at the letter's row.
    """

    asked: Asked
    right: bool
    probabilities: tuple[float, ...]
    elsewhere: float


def held_out(seed: str, *, each: int) -> list[Asked]:
    """Questions on fresh scenes, `each` of them for every cell of every group."""
    rng = random.Random(f"held out {seed}")
    asked: list[Asked] = []
    for kind, language, style, (tiles, sizes) in itertools.product(KINDS, LANGUAGES, STYLES, _SIZES.items()):
        cell = {"kind": kind, "language": language, "style": style, "tiles": tiles}
        for _ in range(each):
            scene = _scene(rng, kind, size=rng.choice(sizes))
            question = sample_wording(rng, scene, kind, ORDINARY, language=language, style=style)
            asked.append(Asked("image", cell, question, scene))
    for kind, language, style in itertools.product(KINDS, LANGUAGES, STYLES):
        for _ in range(each):
            scene = _scene(rng, kind)
            question = sample_wording(
                rng, scene, kind, ORDINARY, stated=(kind,), language=language, style=style
            )
            asked.append(
                Asked("text only", {"kind": kind, "language": language, "style": style}, question, None)
            )
    for kind in KINDS:
        for number in range(2, min(6, len(CHOICES[kind])) + 1):
            for _ in range(each):
                scene = _scene(rng, kind)
                question = sample_wording(rng, scene, kind, ORDINARY, number=number)
                asked.append(Asked("options", {"kind": kind, "options": number}, question, scene))
        for group, mix in (
            ("any letters", Mix(system=0, any_letters=1)),
            ("system text", Mix(system=1, any_letters=0)),
        ):
            for _ in range(each):
                scene = _scene(rng, kind)
                asked.append(Asked(group, {"kind": kind}, sample_wording(rng, scene, kind, mix), scene))
    for kind in ("colour", "shape"):
        for _ in range(4 * each):
            scene = sample_scene(rng, blended=kind)
            asked.append(
                Asked("ambiguous", {"kind": kind}, sample_wording(rng, scene, kind, ORDINARY), scene)
            )
    return asked


def load(folder: Path) -> tuple[InternVLForConditionalGeneration, InternVLProcessor]:
    """The model in fp32, ready to answer, and its processor."""
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
    return model, AutoProcessor.from_pretrained(folder)


def score(
    model: InternVLForConditionalGeneration,
    processor: InternVLProcessor,
    asked: Sequence[Asked],
    *,
    at_once: int = 64,
) -> list[Scored]:
    """Answer questions, in their order.

    The expected answer is appended to each prompt and scored in one pass; where each of its tokens is the
    most probable at its row, greedy generation writes just these, and otherwise something else.
    """
    scored: list[Scored | None] = [None] * len(asked)
    prepared = [(number, *_prepare(processor, item)) for number, item in enumerate(asked)]
    prepared.sort(key=lambda entry: len(entry[1]))
    for start in range(0, len(prepared), at_once):
        some = prepared[start : start + at_once]
        length = max(len(ids) for _, ids, _, _ in some)
        pixels = [own for _, _, _, own in some if own is not None]
        with torch.no_grad():
            output = model.model(
                input_ids=torch.tensor([ids + [0] * (length - len(ids)) for _, ids, _, _ in some]),
                pixel_values=torch.cat(pixels) if pixels else None,
            )
        for row, (number, ids, answer, _) in enumerate(some):
            rows = output.last_hidden_state[row, len(ids) - len(answer) - 1 : len(ids) - 1]
            logits = model.lm_head(rows).detach()
            scored[number] = _judge(processor, asked[number], answer, logits)
    return [one for one in scored if one is not None]


def evaluate(folder: Path, *, seed: str = "card", each: int = 200) -> dict[str, Any]:
    """Score the folder's model on held-out questions and sum up.

    Returns:
        The weights' sha256, size and number of parameters; per group its cells, each with how many were
        asked and answered right; calibration on clear and on ambiguous images.
    """
    model, processor = load(folder)
    scored = score(model, processor, held_out(seed, each=each))
    clear = [one for one in scored if one.asked.group not in ("ambiguous", "text only")]
    ambiguous = [one for one in scored if one.asked.group == "ambiguous"]
    weights = folder / WEIGHTS
    return {
        "weights": {
            "sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
            "bytes": weights.stat().st_size,
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "tokens": len(processor.tokenizer),
        },
        "held_out": {"seed": seed, "each": each, "asked": len(scored)},
        "groups": _groups(scored),
        "calibration": {"clear": _calibration(clear), "ambiguous": _calibration(ambiguous)},
    }


def write_metrics(folder: Path, metrics: dict[str, Any]) -> None:
    """Write the figures beside the weights."""
    (folder / METRICS).write_text(json.dumps(metrics, indent=1) + "\n", encoding="utf-8")


def _scene(rng: random.Random, kind: str, *, size: tuple[int, int] = SIZES[0]) -> Scene:
    return sample_scene(rng, size=size, count=1 if kind == "position" else None)


def _prepare(processor: InternVLProcessor, item: Asked) -> tuple[list[int], list[int], torch.Tensor | None]:
    """Prompt and answer ids (without the last, which is only predicted), the answer's ids, the pixels."""
    image = None if item.scene is None else draw(item.scene)
    inputs = processor.apply_chat_template(
        messages_of(item.question, image),
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
    )
    answer = processor.tokenizer.encode(item.question.answer + TURN_END)
    return [*inputs["input_ids"][0].tolist(), *answer], answer, inputs.get("pixel_values")


def _judge(processor: InternVLProcessor, item: Asked, answer: list[int], logits: torch.Tensor) -> Scored:
    space = "" if item.question.style == "plain" else " "
    letters = [processor.tokenizer.encode(space + letter)[0] for letter in item.question.letters]
    row = len(processor.tokenizer.encode(ANSWER_PREFIX[item.question.style]))
    mass = logits[row].double().softmax(-1)[letters]
    return Scored(
        asked=item,
        right=logits.argmax(-1).tolist() == answer,
        probabilities=tuple((mass / mass.sum()).tolist()),
        elsewhere=1 - float(mass.sum()),
    )


def _groups(scored: Sequence[Scored]) -> dict[str, list[dict[str, Any]]]:
    groups: dict[str, dict[str, dict[str, Any]]] = {}
    for one in scored:
        cells = groups.setdefault(one.asked.group, {})
        cell = cells.setdefault(json.dumps(one.asked.cell), {**one.asked.cell, "asked": 0, "right": 0})
        cell["asked"] += 1
        cell["right"] += one.right
    return {group: list(cells.values()) for group, cells in groups.items()}


def _calibration(scored: Sequence[Scored]) -> dict[str, Any]:
    """Confidence in the top letter against the probability that it is right, in bins of equal width.

    On an ambiguous image the letter counts as right by its share in the blend. The error is the mean over
    questions of their bin's |confidence - accuracy| (Naeini et al. 2015, expected calibration error).
    """
    confidences = [max(one.probabilities) for one in scored]
    correct = [one.asked.question.targets[one.probabilities.index(max(one.probabilities))] for one in scored]
    margins = [first - second for second, first in (sorted(one.probabilities)[-2:] for one in scored)]
    bins = []
    for number in range(BINS):
        low, high = number / BINS, (number + 1) / BINS
        inside = [at for at, value in enumerate(confidences) if low < value <= high]
        if inside:
            confidence = sum(confidences[at] for at in inside) / len(inside)
            accuracy = sum(correct[at] for at in inside) / len(inside)
            bins.append(
                {
                    "low": low,
                    "high": high,
                    "asked": len(inside),
                    "confidence": confidence,
                    "accuracy": accuracy,
                }
            )
    return {
        "asked": len(scored),
        "error": sum(entry["asked"] * abs(entry["confidence"] - entry["accuracy"]) for entry in bins)
        / len(scored),
        "mean_elsewhere": sum(one.elsewhere for one in scored) / len(scored),
        "near_ties": sum(margin < 0.1 for margin in margins),
        "bins": bins,
    }
