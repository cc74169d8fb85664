"""The committed cases: which scenes are drawn, what is asked about them, and the YAML files that say so."""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from .questions import ANSWER_PREFIX, ask
from .scenes import CORNERS, TILE, Scene, draw

WIDE, TALL = (2 * TILE, TILE), (TILE, 2 * TILE)
WIDEST, TALLEST = (3 * TILE, TILE), (TILE, 3 * TILE)
FOUR_COLOURS = ("red", "blue", "green", "yellow")
FOUR_SHAPES = ("circle", "square", "triangle", "cross")
FOUR_COUNTS = ("one", "two", "three", "four")
FOUR_PLACES = ("top left", "top right", "bottom left", "bottom right")
SIX_COLOURS = ("orange", "black", "purple", "white", "green", "red")
SIX_COUNTS = ("six", "four", "two", "one", "five", "three")
FIVE_SHAPES = ("ring", "triangle", "circle", "cross", "square")
FIVE_PLACES = ("bottom right", "centre", "top left", "bottom left", "top right")
NEAR_TIE = ("near-tie",)
MULTI_TILE = ("multi-tile",)
TEXT_ONLY = ("text-only",)
KERNELS = ("kernels",)  # decoding, lengths and tiles of all sorts, for engines that take their time

_FIRST_LINE = "# yaml-language-server: $schema=../harness/schemas/suite.schema.json"
_MADE_BY = "# Images and this file: `python -m recipe cases`, from cases/models/recipe/suite_*.py."


@dataclass(frozen=True)
class Case:
    """One case as it will stand in a suite.

    Attributes:
        id: unique within its suite.
        scene: what the image shows; in a case without an image, what the statements state.
        kind, options: what is asked, and the keys on offer in their order.
        image: whether the scene is drawn.
        letters, wording, statements, system: as in `recipe.questions.ask`.
        prompt, expect: instead of what `ask` words, and of the scene's truth.
        tags: besides the suite's.
        known_failure: why the model gets it wrong.
    """

    id: str
    scene: Scene
    kind: str
    options: tuple[str, ...]
    image: bool = True
    letters: str | None = None
    wording: int = 0
    statements: tuple[str, ...] = ()
    system: str | None = None
    prompt: str | None = None
    expect: str | None = None
    tags: tuple[str, ...] = ()
    known_failure: str | None = None


@dataclass(frozen=True)
class Suite:
    """Cases that share a language and an answer style; each with the comment that stands above it, if any."""

    name: str
    description: str
    language: str
    style: str
    tags: tuple[str, ...]
    cases: tuple[Case | str, ...]


def place(
    colour: str,
    shape: str,
    where: str | int = "centre",
    *,
    size: tuple[int, int] = (TILE, TILE),
    second: str | None = None,
    blend: float = 0.0,
    radius: float = 9.5,
) -> Scene:
    """A scene in plain words: one object somewhere, or a number of them in the first corners.

    The shifts come from the words themselves, so a scene is the same wherever it is used.
    """
    rng = random.Random(f"{colour} {shape} {where} {size}")
    positions = (where,) if isinstance(where, str) else (*CORNERS, "centre")[:where]
    reach = (size[0] / 4 - 12, size[1] / 4 - 12)
    scene = Scene(
        colour=colour,
        shape=shape,
        positions=positions,
        width=size[0],
        height=size[1],
        background=rng.randint(110, 146),
        radius=radius,
        second=second,
        blend=blend,
    )
    shifts = tuple(
        (0.0, 0.0)
        if position == "centre"
        else (rng.uniform(-reach[0], reach[0]), rng.uniform(-reach[1], reach[1]))
        for position in positions
    )
    return replace(scene, shifts=shifts)


def image_name(scene: Scene) -> str:
    """The file name that says what the image shows."""
    words = [scene.colour, scene.shape]
    if len(scene.positions) == 1:
        words += scene.positions[0].split()
    else:
        words.insert(0, scene.count)
    if (scene.width, scene.height) != (TILE, TILE):
        words.append(f"{scene.width}x{scene.height}")
    if scene.second is not None:
        words.append(f"towards-{scene.second}-{round(scene.blend * 1000)}")
    return "-".join(words) + ".png"


def write_suites(folder: Path, suites: Sequence[Suite]) -> None:
    """Write each suite's YAML into the folder and its images into `images/` below it."""
    images = folder / "images"
    images.mkdir(parents=True, exist_ok=True)
    for suite in suites:
        for case in suite.cases:
            if isinstance(case, Case) and case.image:
                draw(case.scene).save(images / image_name(case.scene), optimize=True)
        (folder / f"{suite.name}.yaml").write_text(render_suite(suite), encoding="utf-8")


def render_suite(suite: Suite) -> str:
    """The suite's YAML, laid out to be read."""
    lines = [
        _FIRST_LINE,
        _MADE_BY,
        f"description: {_text(suite.description)}",
        "defaults:",
        "  letters: [A, B, C, D]",
        f'  answer_prefix: "{answer_prefix(suite.style)}"',
        f"  tags: [{', '.join(suite.tags)}]",
        "cases:",
    ]
    for case in suite.cases:
        if isinstance(case, str):
            lines += ["", f"  # {case}"]
        else:
            lines += _render_case(suite, case)
    return "\n".join(lines) + "\n"


def answer_prefix(style: str) -> str:
    """What the model writes before the letter, the space that belongs to the letter's token included."""
    return ANSWER_PREFIX[style] and ANSWER_PREFIX[style] + " "


def _render_case(suite: Suite, case: Case) -> list[str]:
    question = ask(
        case.scene,
        case.kind,
        case.options,
        language=suite.language if not case.id.endswith("-zh") else "zh",
        style=suite.style,
        letters=case.letters,
        wording=case.wording,
        statements=case.statements,
    )
    lines = [f"  - id: {case.id}"]
    lines.append(f"    image: images/{image_name(case.scene)}" if case.image else "    image: null")
    if case.system is not None:
        lines.append(f"    system: {_text(case.system)}")
    lines.append("    prompt: |-")
    lines += [f"      {line}" for line in (case.prompt or question.prompt).split("\n")]
    lines.append(f"    expect: {_letter(case.expect or question.expected)}")
    if "".join(question.letters) != "ABCD":
        lines.append(f"    letters: [{', '.join(map(_letter, question.letters))}]")
    if case.tags:
        lines.append(f"    tags: [{', '.join(case.tags)}]")
    if case.known_failure is not None:
        lines.append(f"    known_failure: {_text(case.known_failure)}")
    return lines


def _text(text: str) -> str:
    """A plain scalar where YAML would read it back as it is."""
    return json.dumps(text, ensure_ascii=False) if ": " in text or " #" in text else text


def _letter(letter: str) -> str:
    """YAML 1.1 reads N and Y as booleans."""
    return f'"{letter}"' if letter in "NY" else letter
