"""A limit of tiles, on the image processors of the real Transformers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from harness.engines.images import trial_pictures
from harness.engines.tile_limits import limit_tiles, most_tiles
from harness.errors import EngineError

WIDE = Image.new("RGB", (896, 64), "red")
SIZE = {"height": 28, "width": 28}


def _tiles(processor: Any, image: Image.Image = WIDE) -> int:
    return int(processor(images=[image], return_tensors="pt")["pixel_values"].shape[0])


@pytest.mark.parametrize("most", [1, 2, 6])
@pytest.mark.parametrize("name", ["GotOcr2ImageProcessor", "Cohere2VisionImageProcessor"])
def test_processors_that_crop_keep_to_the_limit(name: str, most: int) -> None:
    import transformers

    processor = getattr(transformers, name)(size=SIZE, crop_to_patches=True, max_patches=12)
    assert _tiles(processor) == 13  # with the thumbnail
    limit_tiles(processor, most)
    assert _tiles(processor) == (1 if most == 1 else most + 1)


def test_llama_4_keeps_to_the_limit() -> None:
    import transformers

    processor = transformers.Llama4ImageProcessor(size=SIZE, max_patches=12)
    assert _tiles(processor) == 13
    limit_tiles(processor, 3)
    assert _tiles(processor) == 4


def test_the_small_lfm_2_keeps_to_the_limit() -> None:
    import transformers

    processor = transformers.Lfm2VlImageProcessor(min_tiles=2, max_tiles=10, return_row_col_info=True)
    limit_tiles(processor, 4)
    cut = processor(images=[Image.new("RGB", (4096, 512), "red")], return_row_col_info=True)
    assert int(cut["image_rows"][0]) * int(cut["image_cols"][0]) == 4


@pytest.mark.parametrize("name", ["Qwen2VLImageProcessor", "Pix2StructImageProcessor", "CLIPImageProcessor"])
def test_processors_without_such_a_limit_are_refused_by_name(name: str) -> None:
    import transformers

    with pytest.raises(EngineError, match=rf"max_tiles: this model's {name}\w* offers no limit of tiles"):
        limit_tiles(getattr(transformers, name)(), 4)


def test_fewer_than_the_processor_cuts_into_at_least_are_refused() -> None:
    processor = SimpleNamespace(crop_to_patches=True, min_patches=4, max_patches=12)
    with pytest.raises(EngineError, match="found 3; allowed: 4 or more"):
        limit_tiles(processor, 3)
    assert processor.max_patches == 12


@pytest.mark.parametrize("most", [1, 2, 7, 12])
def test_the_picture_that_a_model_is_tried_with_is_cut_into_as_many_tiles_as_any(most: int) -> None:
    from transformers.models.got_ocr2.image_processing_got_ocr2 import GotOcr2ImageProcessor

    size = {"height": 448, "width": 448}
    processor = GotOcr2ImageProcessor(size=size, crop_to_patches=True, min_patches=1, max_patches=most)
    pictures = list(trial_pictures(most_tiles(processor)))

    thumbnail = most > 1
    assert _tiles(processor, pictures[0]) == most + thumbnail
    assert len(pictures) == most.bit_length()
    assert _tiles(processor, pictures[-1]) == 1


def test_where_nobody_knows_of_tiles_the_picture_has_a_usual_size() -> None:
    assert most_tiles(SimpleNamespace(max_patches=12)) is None
    assert [picture.size for picture in trial_pictures(None)] == [(1024, 512), (512, 512)]
