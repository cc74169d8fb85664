"""The committed suites and their images are what the recipe draws and writes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from PIL import Image, ImageChops

CASES = Path(__file__).resolve().parents[2] / "cases"


@pytest.fixture(scope="module", autouse=True)
def recipe_importable() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(CASES / "models"), *sys.path])
        yield


@pytest.fixture(scope="module")
def made_again(recipe_importable: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from recipe.catalogue import SUITES
    from recipe.suites import write_suites

    folder = tmp_path_factory.mktemp("cases")
    write_suites(folder, SUITES)
    return folder


def different(first: Path, second: Path) -> bool:
    with Image.open(first) as one, Image.open(second) as other:
        return one.size != other.size or ImageChops.difference(one, other).getbbox() is not None


def test_suites_are_the_written_ones(made_again: Path) -> None:
    written = {file.name: file.read_text(encoding="utf-8") for file in made_again.glob("*.yaml")}
    assert len(written) >= 4
    for name, text in written.items():
        assert (CASES / name).read_text(encoding="utf-8") == text, f"{name}: run `python -m recipe cases`"


def test_images_are_the_drawn_ones(made_again: Path) -> None:
    drawn = {file.name for file in (made_again / "images").iterdir()}
    assert drawn == {file.name for file in (CASES / "images").iterdir()}
    assert [name for name in drawn if different(made_again / "images" / name, CASES / "images" / name)] == []


def test_a_changed_pixel_is_a_difference(made_again: Path, tmp_path: Path) -> None:
    original = next(iter(sorted((made_again / "images").iterdir())))
    with Image.open(original) as image:
        image.putpixel((3, 3), (255, 0, 255))
        image.save(tmp_path / original.name)
    assert different(original, tmp_path / original.name)


def test_two_scenes_never_share_an_image_name() -> None:
    from recipe.catalogue import SUITES
    from recipe.suites import Case, image_name

    scenes = [case.scene for suite in SUITES for case in suite.cases if isinstance(case, Case) and case.image]
    by_name: dict[str, set[object]] = {}
    for scene in scenes:
        by_name.setdefault(image_name(scene), set()).add(scene)
    assert [name for name, own in by_name.items() if len(own) > 1] == []


def test_what_the_suites_must_contain(made_again: Path) -> None:
    suites = [yaml.safe_load(file.read_text(encoding="utf-8")) for file in made_again.glob("*.yaml")]
    cases = [case for suite in suites for case in suite["cases"]]
    assert len(cases) >= 64
    assert sum("near-tie" in case.get("tags", ()) for case in cases) >= 4
    assert sum("multi-tile" in case.get("tags", ()) for case in cases) >= 4
    assert sum(case["image"] is None for case in cases) >= 2
    assert 1 <= sum("known_failure" in case for case in cases) <= 4
    assert {suite["defaults"]["answer_prefix"] for suite in suites} == {"", "Answer: "}
    assert any("颜色" in case["prompt"] for case in cases)
