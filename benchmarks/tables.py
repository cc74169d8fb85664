"""Tables of questions on drawn shapes, laid out as VLMEvalKit's are.

python -m benchmarks.tables FOLDER [ROWS]

writes mmbench.tsv of 1,000 rows, or as many as given, and mmmu.tsv of 40 with several pictures each.
"""

from __future__ import annotations

import argparse
import base64
import csv
import io
import random
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recipe.scenes import Scene

__all__ = ["draw_mmbench", "draw_mmmu", "draw_table", "mmbench_rows", "mmmu_rows"]

_RECIPE = Path(__file__).parents[1] / "cases" / "models"
_LETTERS = "ABCD"
_TURNED = 1_000_000  # what MMBench adds to the index of a row whose options stand in another order


def draw_mmbench(file: Path, rows: int) -> None:
    """A table in the layout of MMBench's: one picture a row, every other row a copy with its options turned.

    A copy has in place of the picture the index of the row that has it.
    """
    draw_table(file, mmbench_rows(rows))


def draw_mmmu(file: Path, rows: int) -> None:
    """A table in the layout of MMMU's: two to four pictures a row, as a list, named within the question."""
    draw_table(file, mmmu_rows(rows))


def mmbench_rows(rows: int) -> Iterator[dict[str, str]]:
    """The rows of `draw_mmbench`, by column."""
    rng, sample_scene, kinds_of, sample_options = _recipe(seed=1)
    for number in range((rows + 1) // 2):
        scene = sample_scene(rng, size=rng.choice(((56, 56), (112, 56))))
        kind = rng.choice(kinds_of(scene))
        options, letters = sample_options(rng, scene, kind, rng.choice((2, 3, 4, 4)))
        for turned in (False, True)[: rows - 2 * number]:
            own = (*options[1:], options[0]) if turned else options
            yield {
                "index": str(number + turned * _TURNED),
                "question": _question(kind),
                "hint": "" if number % 3 else "The shapes are flat.",
                **dict.fromkeys(_LETTERS, ""),
                **dict(zip(letters, own, strict=True)),
                "answer": letters[own.index(scene.truth(kind))],
                "category": f"{kind} perception",
                "image": str(number) if turned else base64.b64encode(_png(scene)).decode(),
                "source": "drawn",
                "l2-category": "coarse" if kind == "count" else "fine grained",
                "comment": "",
                "split": "dev" if number % 5 else "test",
            }


def mmmu_rows(rows: int) -> Iterator[dict[str, str]]:
    """The rows of `draw_mmmu`, by column."""
    rng, sample_scene, _, sample_options = _recipe(seed=2)
    for number in range(rows):
        scenes = [sample_scene(rng, count=1) for _ in range(rng.randint(2, 4))]
        asked = rng.randrange(len(scenes))
        options, letters = sample_options(rng, scenes[asked], "colour", 4)
        named = " ".join(f"<image {place}>" for place in range(1, len(scenes) + 1))
        yield {
            "index": str(number),
            "id": f"validation_Shapes_{number}",
            "question": f"{named} What colour is the shape in picture {asked + 1}?",
            **dict(zip(letters, options, strict=True)),
            "answer": letters[options.index(scenes[asked].truth("colour"))],
            "category": "Shapes",
            "l2-category": "Art & Design",
            "split": "validation",
            "image": str([base64.b64encode(_png(scene)).decode() for scene in scenes]),
            "image_path": str([f"{number}_{place}.png" for place in range(1, len(scenes) + 1)]),
        }


def _recipe(*, seed: int) -> tuple[random.Random, Any, Any, Any]:
    if str(_RECIPE) not in sys.path:
        sys.path.append(str(_RECIPE))
    from recipe.questions import kinds_of, sample_options
    from recipe.scenes import sample_scene

    return random.Random(seed), sample_scene, kinds_of, sample_options  # noqa: S311 - drawings


def _question(kind: str) -> str:
    from recipe.questions import QUESTIONS

    return QUESTIONS["en"][kind][0]


def _png(scene: Scene) -> bytes:
    from recipe.scenes import draw

    out = io.BytesIO()
    draw(scene).save(out, format="PNG")
    return out.getvalue()


def draw_table(file: Path, rows: Iterator[Mapping[str, str]]) -> None:
    """The rows as a TSV."""
    first = next(rows)
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, first, delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerow(first)
        writer.writerows(rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("rows", type=int, nargs="?", default=1000)
    options = parser.parse_args()
    folder: Path = options.folder
    folder.mkdir(parents=True, exist_ok=True)
    draw_mmbench(folder / "mmbench.tsv", options.rows)
    draw_mmmu(folder / "mmmu.tsv", 40)
