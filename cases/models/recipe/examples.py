"""What is asked about which scenes while training: the shares of each kind, and how they change."""

import random
import string
from dataclasses import dataclass, replace

from .questions import (
    LANGUAGES,
    MOST_OPTIONS,
    STYLES,
    SYSTEM_TEXTS,
    Question,
    ask,
    kinds_of,
    sample_options,
)
from .scenes import COLOURS, SIZES, TILE, Scene, sample_scene

# Share of the scenes to train on that are ambiguous.
BLENDED = 0.2
# Until this share of the training, questions have no image: to match an option with a picture and to copy its
# letter each help only once the other works, and together from the start they were not learnt in 3,000 steps.
IMAGES_FROM = 0.12


@dataclass(frozen=True)
class Mix:
    """Shares, 0 to 1, of what makes up the training examples.

    Attributes:
        text_only: questions without an image, whose answer is stated in words.
        chinese: questions in Chinese.
        line: questions that ask for 'Answer: X'.
        system: questions with a system text.
        any_letters: questions whose letters come from all of A to Z.
        positions: among questions on scenes of one object, those on its position.
        most_options: the longest list of options.
    """

    text_only: float = 0.1
    chinese: float = 0.4
    line: float = 0.35
    system: float = 0.2
    any_letters: float = 0.15
    positions: float = 0.45
    most_options: int = MOST_OPTIONS


def mix_at(progress: float) -> Mix:
    """The mix at a share of the training, 0 to 1: at first without images, with short lists of options."""
    if progress < IMAGES_FROM:
        return Mix(text_only=1.0, any_letters=0.0, most_options=3 if progress < 0.6 * IMAGES_FROM else 4)
    return Mix()


def sample_question(rng: random.Random, scene: Scene, mix: Mix, *, image: bool = True) -> Question:
    """A question on a scene; without an image its answer is always stated in words.

    Args:
        rng: the only source of chance.
        scene: what is asked about.
        mix: the shares to sample by.
        image: whether the model sees the scene.
    """
    if not image:
        scene = replace(scene, second=None)
    kinds = kinds_of(scene)
    if scene.second is not None and rng.random() < 0.8:
        kind = "colour" if scene.second in COLOURS else "shape"
    elif len(kinds) == 4 and rng.random() < mix.positions:
        kind = "position"
    else:
        kind = rng.choice(kinds[:3])
    stated: list[str] = []
    if not image:
        stated = [kind, *rng.sample([other for other in kinds if other != kind], rng.randint(0, 2))]
        rng.shuffle(stated)
    return sample_wording(rng, scene, kind, mix, stated=tuple(stated))


def sample_wording(
    rng: random.Random,
    scene: Scene,
    kind: str,
    mix: Mix,
    *,
    stated: tuple[str, ...] = (),
    language: str | None = None,
    style: str | None = None,
    number: int | None = None,
) -> Question:
    """Word a question of a given kind at random; what is not None is not left to chance."""
    options, letters = sample_options(
        rng,
        scene,
        kind,
        rng.randint(2, mix.most_options) if number is None else number,
        letters_from=string.ascii_uppercase[: None if rng.random() < mix.any_letters else MOST_OPTIONS],
    )
    return ask(
        scene,
        kind,
        options,
        language=language or LANGUAGES[rng.random() < mix.chinese],
        style=style or STYLES[rng.random() < mix.line],
        letters=letters,
        wording=rng.randrange(2),
        statements=stated,
        system=rng.choice(SYSTEM_TEXTS) if rng.random() < mix.system else None,
    )


def sample_pool(
    rng: random.Random, number: int, *, large: float = 0.4, blended: float = BLENDED
) -> list[Scene]:
    """Scenes to train on: a share `large` of several tiles, `blended` ambiguous in colour or shape."""
    return [
        sample_scene(
            rng,
            size=rng.choice(SIZES[1:]) if rng.random() < large else (TILE, TILE),
            count=rng.choice((None, 1)),
            blended=rng.choice(("colour", "shape")) if rng.random() < blended else None,
        )
        for _ in range(number)
    ]
