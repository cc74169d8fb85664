"""How much of what a batched forward computes is padding, by the order in which cases are asked.

Run as ``python -m benchmarks.padding [CASES]``. Pictures are drawn in the sizes that photographs,
screenshots, pages and charts have. The tiles are those of InternVL (12 at most, and a thumbnail), 256 tokens
each; prompts have 40 to 400 tokens, and some pictures are asked about four times. Nothing is run: cases are
grouped as the torch engine groups them, and tokens are counted.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image
from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import get_optimal_tiled_canvas

from harness.cases.problems import Location
from harness.cases.suites import Case
from harness.scoring.asking_order import asking_order

_SIZES = ((640, 480), (480, 640), (1024, 768), (1920, 1080), (512, 512), (1240, 1754), (800, 400), (300, 900))
_BATCHES = (4, 8, 16)


def drawn(folder: Path, count: int) -> list[tuple[Case, int]]:
    """``count`` cases with the number of tokens of each, always the same ones."""
    dice = random.Random(1)  # noqa: S311 - nothing is to be kept secret
    cases: list[tuple[Case, int]] = []
    while len(cases) < count:
        wide, high = dice.choice(_SIZES)
        size = (round(wide * dice.uniform(0.8, 1.2)), round(high * dice.uniform(0.8, 1.2)))
        image = folder / f"{len(cases)}.png"
        Image.new("1", size).save(image)
        across, down = get_optimal_tiled_canvas((size[1], size[0]), (448, 448), 1, 12)
        tiles = across * down + (across * down > 1)
        for _ in range(dice.choice((1, 4))):
            words = dice.randint(40, 400)
            name = f"{len(cases)}"
            place = Location(folder / "drawn.yaml", 1, 1)
            case = Case(
                id=name,
                suite="drawn",
                prompt="word " * words,
                letters=("A", "B"),
                expect="A",
                location=place,
                images=(image,),
            )
            cases.append((case, 256 * tiles + words))
    return cases[:count]


def computed(lengths: Sequence[int], size: int) -> tuple[int, int]:
    """Tokens that are computed, and the number of passes, where ``size`` cases are prepared together."""
    tokens = passes = 0
    for first in range(0, len(lengths), size):
        groups: dict[int, list[int]] = {}
        for length in lengths[first : first + size]:
            groups.setdefault(length.bit_length(), []).append(length)
        tokens += sum(len(group) * max(group) for group in groups.values())
        passes += len(groups)
    return tokens, passes


def main(count: int) -> None:
    """Print a row for each batch size."""
    with TemporaryDirectory() as folder:
        cases = drawn(Path(folder), count)
        sorted_ = asking_order(cases, lambda one: one[0], lambda case: tuple(map(str, case.images)))
    real = sum(length for _, length in cases)
    for size in _BATCHES:
        for name, order in (("as written", cases), ("as asked", sorted_)):
            tokens, passes = computed([length for _, length in order], size)
            share = f"{tokens / real:.3f} tokens computed for one asked"
            print(f"batches of {size}, {name}: {share}, {passes} passes")


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 2_000)
