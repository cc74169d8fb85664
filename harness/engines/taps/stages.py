"""The stages of a pass, from the rendered prompt to the letters, in the order in which they come about.

A stage is known by its name, the same on both sides. Standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

__all__ = [
    "ANSWERS",
    "EXACT",
    "PARTS",
    "before",
    "in_order",
    "named",
    "of_picture",
    "part_of",
    "residual",
]

_BEFORE_BLOCKS: Final = (
    "rendered",
    "image",
    "tiles",
    "prepared",
    "ids",
    "positions",
    "pixels",
    "patch",
    "vision.embeddings",
)
_BEHIND_VISION: Final = ("vision.out", "shuffle", "projected", "tokens", "inputs", "rope")
_BEHIND_LAYERS: Final = ("norm", "logits", "handed", "reading")
_HALVES: Final = ("attention", "mlp")
_BLOCK: Final = re.compile(r"(vision|layer)\.(\d+)\.(attention|mlp)")

PARTS: Final = ("question", "pixels", "vision", "projector", "language", "head", "reading")
"""The parts of a model and its way, in order; see `part_of`."""
EXACT: Final = frozenset({"rendered", "image", "tiles", "ids", "positions"})
"""Stages that are equal or not: no rounding is in them."""
ANSWERS: Final = frozenset({"logits", "handed", "reading"})
"""Stages whose rows are those of generated tokens only."""

_PARTS: Final = {
    "rendered": "question", "ids": "question", "positions": "question",
    "image": "pixels", "tiles": "pixels", "prepared": "pixels", "pixels": "pixels",
    "patch": "vision", "shuffle": "projector", "projected": "projector",
    "tokens": "language", "inputs": "language", "rope": "language", "norm": "language",
    "logits": "head", "handed": "reading", "reading": "reading",
}  # fmt: skip
_WORDS: Final = {
    "rendered": "the rendered prompt",
    "image": "the image's bytes",
    "tiles": "the tiles of the image",
    "prepared": "the pixels as prepared",
    "ids": "the token ids",
    "positions": "the tokens' positions",
    "pixels": "the pixels that enter the model",
    "patch": "the patch embeddings",
    "vision.embeddings": "the vision tower's embeddings",
    "vision.out": "the vision tower's output",
    "shuffle": "the features behind the pixel shuffle",
    "projected": "the projected features",
    "tokens": "the token embeddings",
    "inputs": "the input embeddings",
    "rope": "the rotary embedding's cosines and sines",
    "norm": "the final norm",
    "logits": "the logits",
    "handed": "the rows of logits as handed out",
    "reading": "the reading of the letters",
}


def _place(stage: str) -> tuple[int, int, int]:
    if found := _BLOCK.fullmatch(stage):
        kind, number, half = found.groups()
        return (1 if kind == "vision" else 3, int(number), _HALVES.index(half))
    for group, names in ((0, _BEFORE_BLOCKS), (2, _BEHIND_VISION), (4, _BEHIND_LAYERS)):
        if stage in names:
            return (group, names.index(stage), 0)
    raise ValueError(f"there is no stage {stage!r}")


def in_order(stages: Iterable[str]) -> list[str]:
    """``stages`` in the order of a pass; raises ValueError for what is none."""
    return sorted(stages, key=_place)


def part_of(stage: str) -> str:
    """The one of `PARTS` to which a stage belongs."""
    if (part := _PARTS.get(stage)) is not None:
        return part
    return "vision" if stage.startswith("vision.") else "language"


def of_picture(stage: str) -> bool:
    """Whether a stage's rows are pieces of the image, and not tokens."""
    return part_of(stage) in ("pixels", "vision", "projector")


def residual(stage: str) -> str | None:
    """The stage whose sum this one adds to, None for one that replaces what it was given."""
    found = _BLOCK.fullmatch(stage)
    if found is None:
        return None
    kind, number, half = found.group(1), int(found.group(2)), found.group(3)
    if half == "mlp":
        return f"{kind}.{number}.attention"
    if number:
        return f"{kind}.{number - 1}.mlp"
    return "vision.embeddings" if kind == "vision" else "inputs"


def before(stage: str, known: Iterable[str]) -> str | None:
    """Of the stages ``known``, the last before this one; None for the first."""
    earlier = [each for each in in_order(known) if _place(each) < _place(stage)]
    return earlier[-1] if earlier else None


def named(stage: str) -> str:
    """The stage in words."""
    if found := _BLOCK.fullmatch(stage):
        kind, number, half = found.groups()
        where = "vision block" if kind == "vision" else "language layer"
        return f"{where} {number}, behind its {'attention' if half == 'attention' else 'MLP'}"
    return _WORDS[stage]
