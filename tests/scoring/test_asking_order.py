"""Batches are cut from cases of like size, and everybody who asks some of them has them in one order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from harness.cases.problems import Location
from harness.cases.suites import Case
from harness.errors import EngineError, ErrorKind
from harness.scoring.asking_order import asking_order

PLACE = Location(Path("/x.yaml"), 1, 1)


def case(name: str, prompt: str = "x", *images: Path) -> Case:
    return Case(
        id=name, suite="s", prompt=prompt, letters=("A", "B"), expect="A", location=PLACE, images=images
    )


def by_name(one: Case) -> tuple[str, ...]:
    return tuple(image.name for image in one.images)


def ids(cases: Sequence[Case]) -> str:
    return " ".join(one.id for one in asking_order(cases, lambda one: one, by_name))


@pytest.fixture
def pictures(tmp_path: Path) -> dict[str, Path]:
    sizes = {"wide": (300, 100), "wider": (305, 100), "tall": (100, 300), "large": (1200, 400)}
    for name, size in sizes.items():
        Image.new("RGB", size).save(tmp_path / f"{name}.png")
    return {name: tmp_path / f"{name}.png" for name in sizes}


def test_like_pictures_stand_together_then_those_of_one_picture(pictures: dict[str, Path]) -> None:
    shown = ("wide", "tall", "large", "wider", "tall", "wide")
    cases = [case(f"{name}{place}", "x", pictures[name]) for place, name in enumerate(shown)]
    assert ids([*cases, case("text")]) == "text tall1 tall4 wide0 wide5 wider3 large2"


def test_prompts_of_like_length_stand_together(pictures: dict[str, Path]) -> None:
    lengths = (900, 10, 800, 12, 9)
    assert ids([case(str(place), "x" * length) for place, length in enumerate(lengths)]) == "4 1 3 2 0"
    own = [case(str(place), "x" * length, pictures["tall"]) for place, length in enumerate(lengths)]
    assert ids(own) == "4 1 3 2 0"


def test_a_picture_that_cannot_be_read_is_in_nobody_s_way(tmp_path: Path, pictures: dict[str, Path]) -> None:
    (tmp_path / "damaged.png").write_text("no picture")

    def hashes(one: Case) -> tuple[str, ...]:
        if one.id == "gone":
            raise EngineError(ErrorKind.FAILED, "no such file")
        return by_name(one)

    cases = [
        case("tall", "x", pictures["tall"]),
        case("gone", "x", tmp_path / "gone.png"),
        case("damaged", "x", tmp_path / "damaged.png"),
    ]
    assert [one.id for one in asking_order(cases, lambda one: one, hashes)] == ["gone", "tall", "damaged"]


@given(st.lists(st.tuples(st.integers(0, 70), st.booleans()), max_size=30))
def test_some_of_the_cases_are_in_the_order_of_all(drawn: list[tuple[int, bool]]) -> None:
    """Else shards and a resumed run would cut other batches than one process."""
    cases = [case(str(place), "x" * length) for place, (length, _) in enumerate(drawn)]
    mine = {one.id for one, (_, is_mine) in zip(cases, drawn, strict=True) if is_mine}
    of_all = [name for name in ids(cases).split() if name in mine]
    assert ids([one for one in cases if one.id in mine]).split() == of_all
