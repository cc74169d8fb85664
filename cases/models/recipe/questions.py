"""Questions on scenes: their wording in two languages and two answer styles, their options and targets."""

import math
import random
import string
from collections.abc import Sequence
from dataclasses import dataclass

from .scenes import COLOURS, COUNTS, POSITIONS, SHAPES, Scene

KINDS = ("colour", "shape", "count", "position")
LANGUAGES = ("en", "zh")
STYLES = ("plain", "line")
CHOICES: dict[str, tuple[str, ...]] = {
    "colour": tuple(COLOURS),
    "shape": SHAPES,
    "count": COUNTS,
    "position": POSITIONS,
}
MOST_OPTIONS = 6

# What the model writes before the letter, per style: in the second the letter's token has a leading space.
ANSWER_PREFIX = {"plain": "", "line": "Answer:"}

QUESTIONS: dict[str, dict[str, tuple[str, ...]]] = {
    "en": {
        "colour": ("What colour is it?", "Which colour do you see?"),
        "shape": ("What shape is it?", "Which shape do you see?"),
        "count": ("How many shapes are there?", "How many shapes do you see?"),
        "position": ("Where is the shape?", "In which part of the image is the shape?"),
    },
    "zh": {
        "colour": ("这是什么颜色？", "图中是什么颜色？"),
        "shape": ("这是什么形状？", "图中是什么形状？"),
        "count": ("图中有几个形状？", "一共有几个形状？"),
        "position": ("形状在哪里？", "形状在图中的哪个位置？"),
    },
}
INSTRUCTIONS: dict[str, dict[str, str]] = {
    "en": {"plain": "Answer with the option's letter.", "line": "Answer in the form 'Answer: X'."},
    "zh": {"plain": "请回答选项的字母。", "line": "请按'Answer: X'的格式回答。"},
}
STATEMENTS: dict[str, dict[str, str]] = {
    "en": {
        "colour": "The colour is {}.",
        "shape": "The shape is a {}.",
        "count": "The number of shapes is {}.",
        "position": "The place is {}.",
    },
    "zh": {"colour": "颜色: {}。", "shape": "形状: {}。", "count": "个数: {}。", "position": "位置: {}。"},
}
SYSTEM_TEXTS = (
    "You are a helpful assistant.",
    "You answer questions about images.",
    "Answer briefly.",
    "你是一个有用的助手。",
    "请简短回答。",
)
_CHINESE: dict[str, str] = {
    "red": "红色",
    "green": "绿色",
    "blue": "蓝色",
    "yellow": "黄色",
    "purple": "紫色",
    "orange": "橙色",
    "black": "黑色",
    "white": "白色",
    "circle": "圆形",
    "square": "方形",
    "triangle": "三角形",
    "cross": "十字形",
    "ring": "圆环",
    "one": "一个",
    "two": "两个",
    "three": "三个",
    "four": "四个",
    "five": "五个",
    "six": "六个",
    "top left": "左上角",
    "top right": "右上角",
    "bottom left": "左下角",
    "bottom right": "右下角",
    "centre": "中间",
}

# How quickly certainty grows with the blend's distance from one half: 0.98 at a share of 0.3 or 0.7.
CERTAINTY = 20.0


@dataclass(frozen=True)
class Question:
    """A question with its options and what a well-calibrated reader would answer.

    Attributes:
        kind, language, style: one of `KINDS`, `LANGUAGES`, `STYLES`.
        prompt: the user's text, without the image.
        system: the system text, or None.
        letters: one per option.
        targets: probability of each letter, summing to 1.
        expected: the letter of the truth.
        stated: kinds whose answer a sentence before the question gives away.
    """

    kind: str
    language: str
    style: str
    prompt: str
    system: str | None
    letters: tuple[str, ...]
    targets: tuple[float, ...]
    expected: str
    stated: tuple[str, ...] = ()

    @property
    def answer(self) -> str:
        """What the model is to write, in full."""
        return self.expected if self.style == "plain" else f"{ANSWER_PREFIX[self.style]} {self.expected}"


def word(key: str, language: str) -> str:
    """A colour's, shape's, count's or position's name in a language."""
    return _CHINESE[key] if language == "zh" else key


def statement(scene: Scene, kind: str, language: str) -> str:
    """A sentence that gives the answer away."""
    return STATEMENTS[language][kind].format(word(scene.truth(kind), language))


def kinds_of(scene: Scene) -> tuple[str, ...]:
    """The kinds of question that have an answer in this scene."""
    return KINDS if len(scene.positions) == 1 else KINDS[:3]


def ask(
    scene: Scene,
    kind: str,
    options: Sequence[str],
    *,
    language: str = "en",
    style: str = "plain",
    letters: Sequence[str] | None = None,
    wording: int = 0,
    statements: Sequence[str] = (),
    system: str | None = None,
) -> Question:
    """Word a question with these options, in this order.

    Args:
        scene: what the image shows, or would show in a question without one.
        kind: one of `KINDS`.
        options: keys out of `CHOICES[kind]`, the truth among them.
        language, style: see `Question`.
        letters: one for each option; A, B, C … if None.
        wording: which of the two wordings in `QUESTIONS`.
        statements: kinds that a sentence before the question states.
        system: the system text, if any.
    """
    named = tuple(letters) if letters is not None else tuple(string.ascii_uppercase[: len(options)])
    lines = [f"{letter}. {word(option, language)}" for letter, option in zip(named, options, strict=True)]
    gap = " " if language == "en" else ""
    first = gap.join(
        [statement(scene, stated, language) for stated in statements] + [QUESTIONS[language][kind][wording]]
    )
    weights = _weights(scene, kind)
    targets = tuple(weights.get(option, 0.0) for option in options)
    total = sum(targets)
    return Question(
        kind=kind,
        language=language,
        style=style,
        prompt="\n".join([first, *lines, INSTRUCTIONS[language][style]]),
        system=system,
        letters=named,
        targets=tuple(target / total for target in targets),
        expected=named[list(options).index(scene.truth(kind))],
        stated=tuple(statements),
    )


def sample_options(
    rng: random.Random,
    scene: Scene,
    kind: str,
    number: int,
    *,
    letters_from: str = string.ascii_uppercase[:6],
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Shuffled options, the truth (and what it is blended with) among them, and their letters in order.

    Args:
        rng: the only source of chance.
        scene, kind: what is asked of what.
        number: of options; fewer are returned where `CHOICES[kind]` has fewer.
        letters_from: the first `number` of "ABCDEF", or as many at random, in order, of a longer string.
    """
    wanted = list(_weights(scene, kind))
    others = [choice for choice in CHOICES[kind] if choice not in wanted]
    options = wanted + rng.sample(others, min(len(others), max(0, number - len(wanted))))
    rng.shuffle(options)
    letters = (
        letters_from[: len(options)]
        if len(letters_from) <= MOST_OPTIONS
        else sorted(rng.sample(letters_from, len(options)))
    )
    return tuple(options), tuple(letters)


def _weights(scene: Scene, kind: str) -> dict[str, float]:
    among = CHOICES[kind]
    if kind in ("colour", "shape") and scene.second in among:
        second = 1 / (1 + math.exp(-CERTAINTY * (scene.blend - 0.5)))
        return {(scene.colour if kind == "colour" else scene.shape): 1 - second, scene.second: second}
    return {scene.truth(kind): 1.0}
