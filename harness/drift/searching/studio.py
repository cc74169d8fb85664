"""What is drawn for a search, its pictures, and the requests and suites that are made of it."""

from __future__ import annotations

import hashlib
import string
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import yaml
from PIL import Image, ImageDraw

from harness.cases.profiles import Profile
from harness.cases.suites import load_suite
from harness.engines.contract import Request
from harness.errors import HarnessError

__all__ = ["Drawn", "Picture", "paint", "requests_of", "write_suite"]


class Picture(NamedTuple):
    """A picture by its size in pixels, the number of its shapes, and the seed of their kinds and colours."""

    width: int
    height: int
    shapes: int
    seed: int


class Drawn(NamedTuple):
    """A case without its name; ``system`` and ``new_tokens`` None leave it to the profile and the letter."""

    picture: Picture | None
    question: str
    options: tuple[str, ...]
    prefix: str = ""
    system: str | None = None
    new_tokens: int | None = None

    @property
    def letters(self) -> tuple[str, ...]:
        """The letters on offer, one for each option."""
        return tuple(string.ascii_uppercase[: len(self.options)])

    @property
    def prompt(self) -> str:
        """The question, its options, and in which form to answer."""
        options = [f"{letter}. {option}" for letter, option in zip(self.letters, self.options, strict=True)]
        form = f"Answer in the form '{self.prefix}X'." if self.prefix else "Answer with the option's letter."
        return "\n".join([self.question, *options, form])


def paint(picture: Picture, file: Path) -> Path:
    """Save the picture, the same each time, without loss in the format that the file's name says."""
    random = np.random.default_rng(picture.seed)
    size = (picture.width, picture.height)
    image = Image.new("RGB", size, tuple(random.integers(0, 256, 3).tolist()))
    canvas = ImageDraw.Draw(image)
    for _ in range(picture.shapes):
        corners = [sorted(random.integers(0, side, 2).tolist()) for side in size]
        shape = (canvas.ellipse, canvas.rectangle, canvas.line)[int(random.integers(3))]
        shape([*zip(*corners, strict=True)], fill=tuple(random.integers(0, 256, 3).tolist()))
    file.parent.mkdir(parents=True, exist_ok=True)
    image.save(file, lossless=True)
    return file


def requests_of(drawn: Sequence[Drawn], profile: Profile, folder: Path) -> list[Request]:
    """The cases ``case-1``, ``case-2`` and so on as engines of the profile are asked them."""
    return [
        Request(
            case=f"case-{number}",
            prompt=one.prompt,
            letters=one.letters,
            images=(str(paint(one.picture, folder / _file_name(one.picture))),) if one.picture else (),
            system=profile.system if one.system is None else one.system,
            answer_prefix=one.prefix,
            max_new_tokens=one.new_tokens,
        )
        for number, one in enumerate(drawn, 1)
    ]


def _file_name(picture: Picture) -> str:
    # By what is on it: an engine that goes by names is not to take it for another one.
    return f"{'-'.join(map(str, picture))}.png"


def write_suite(folder: Path, drawn: Sequence[Drawn], expect: Sequence[str], about: str) -> list[Path]:
    """Write a suite of the cases ``case-1``, ``case-2`` and so on; returns its files, the suite first.

    It is named by ``about``, its description, and what was drawn; ``expect`` are the letters to expect.
    Raises HarnessError where one of its name has another content, CaseFileError where `harness check` would.
    """
    name = f"found_{hashlib.sha256(repr((about, *drawn)).encode()).hexdigest()[:8]}"
    cases: list[dict[str, object]] = []
    images = {
        f"images/{name}-{number}.png": one.picture for number, one in enumerate(drawn, 1) if one.picture
    }
    for number, (one, letter) in enumerate(zip(drawn, expect, strict=True), 1):
        case = {
            "id": f"case-{number}",
            "image": f"images/{name}-{number}.png" if one.picture else None,
            "prompt": one.prompt,
            "letters": [*one.letters],
            "expect": letter,
            "answer_prefix": one.prefix,
            "system": one.system,
            "max_new_tokens": one.new_tokens,
        }
        cases.append({field: value for field, value in case.items() if value})
    content = {"description": about, "cases": cases}
    text = yaml.dump(content, Dumper=_Blocks, allow_unicode=True, sort_keys=False, width=110)
    suite = folder / f"{name}.yaml"
    if suite.exists() and suite.read_text(encoding="utf-8") != text:
        raise HarnessError(f"{suite}: found another suite; nothing is overwritten: move it, or name --out")
    files = [paint(picture, folder / image) for image, picture in images.items()]
    folder.mkdir(parents=True, exist_ok=True)
    suite.write_text(text, encoding="utf-8")
    load_suite(suite)
    return [suite, *files]


class _Blocks(yaml.SafeDumper):
    """Text of several lines as a block."""

    def represent_text(self, text: str) -> yaml.ScalarNode:
        return self.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Blocks.add_representer(str, _Blocks.represent_text)
