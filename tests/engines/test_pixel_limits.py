"""Limits of pixels, on the image processors of the real Transformers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from harness.engines.pixel_limits import limit_pixels
from harness.errors import EngineError, ErrorKind

SQUARE = Image.new("RGB", (280, 280), "red")
PIECE = 28 * 28


def _pieces(processor: Any) -> int:
    grid = processor(images=[SQUARE], return_tensors="pt")["image_grid_thw"]
    return int(grid.prod()) // 4


@pytest.mark.parametrize(
    ("pixels", "pieces"),
    [
        ({"max_pixels": 16 * PIECE}, 16),
        ({"min_pixels": 400 * PIECE}, 400),
        ({"min_pixels": PIECE, "max_pixels": 4 * PIECE}, 4),
        ({"max_pixels": 10**8}, 100),
    ],
)
def test_images_that_are_taken_as_they_are_keep_to_the_limits(pixels: dict[str, int], pieces: int) -> None:
    import transformers

    processor = transformers.Qwen2VLImageProcessor(min_pixels=4 * PIECE, max_pixels=1280 * PIECE)
    assert _pieces(processor) == 100
    limits = limit_pixels(processor, pixels)
    assert limits == {"min_pixels": 4 * PIECE, "max_pixels": 1280 * PIECE, **pixels}
    assert _pieces(processor) == pieces


def test_processors_that_read_attributes_have_them_set() -> None:
    """As Qwen2-VL's is in Transformers 4.46 to 4.48 (image_processing_qwen2_vl.py)."""
    own = {"min_pixels": 3136, "max_pixels": 12845056}
    processor = SimpleNamespace(merge_size=2, size=dict(own), **own)
    assert limit_pixels(processor, {"max_pixels": 9000}) == {"min_pixels": 3136, "max_pixels": 9000}
    assert (processor.min_pixels, processor.max_pixels) == (3136, 9000)
    assert processor.size == {"min_pixels": 3136, "max_pixels": 9000}


@pytest.mark.parametrize(
    "name", ["GotOcr2ImageProcessor", "CLIPImageProcessor", "DetrImageProcessor", "Idefics3ImageProcessor"]
)
def test_processors_without_such_limits_are_refused_by_name(name: str) -> None:
    import transformers

    with pytest.raises(EngineError, match=rf"max_pixels: this model's {name}\w* has no limits") as caught:
        limit_pixels(getattr(transformers, name)(), {"max_pixels": 9000})
    assert caught.value.kind is ErrorKind.UNSUPPORTED


def test_a_limit_on_the_wrong_side_of_the_models_own_is_refused() -> None:
    import transformers

    processor = transformers.Qwen2VLImageProcessor(min_pixels=4 * PIECE, max_pixels=1280 * PIECE)
    with pytest.raises(EngineError, match=r"would have .*'min_pixels': 3136, 'max_pixels': 784"):
        limit_pixels(processor, {"max_pixels": PIECE})
    assert _pieces(processor) == 100
