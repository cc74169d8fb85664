"""Tiles: the same pixels that LMDeploy makes for such checkpoints, for images of every shape."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

REMOTE = Path(__file__).parents[3] / "cases" / "models" / "remote"

SHAPES = (
    *((56, 56), (57, 56), (112, 56), (56, 112), (168, 56), (56, 168), (1, 400), (400, 1), (1, 1)),
    *((640, 480), (480, 640), (300, 200), (200, 300), (90, 60), (84, 56), (1000, 333), (333, 1000)),
    *((224, 168), (448, 448), (25, 100), (100, 25), (70, 56), (63, 56)),
)


def config(**changes: Any) -> Any:
    fields = {
        "dynamic_image_size": True,
        "min_dynamic_patch": 1,
        "max_dynamic_patch": 12,
        "use_thumbnail": True,
        "force_image_size": 56,
        "downsample_ratio": 0.5,
        "pad_token_id": 0,
        "vision_config": SimpleNamespace(image_size=56, patch_size=14),
    }
    return SimpleNamespace(**{**fields, **changes})


def tiling(folder: Path = REMOTE, *, max_tiles: int | None = None, **changes: Any) -> Any:
    from harness.engines.torch_native.tiles import Tiling

    return Tiling.of(config(**changes), folder, max_tiles=max_tiles)


def noise(size: tuple[int, int]) -> Image.Image:
    width, height = size
    values = np.random.default_rng(width * 1000 + height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


@pytest.mark.filterwarnings("ignore")  # those of LMDeploy's imports
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"max_dynamic_patch": 6},
        {"use_thumbnail": False},
        {"min_dynamic_patch": 4, "max_dynamic_patch": 4},
        {"dynamic_image_size": False, "max_dynamic_patch": 1},
    ],
    ids=str,
)
def test_pixels_are_those_of_lmdeploy(changes: dict[str, Any]) -> None:
    from lmdeploy.vl.model.internvl import InternVLVisionModel

    theirs = InternVLVisionModel(str(REMOTE), hf_config=config(**changes))
    theirs.build_preprocessor()
    ours = tiling(**changes)
    for size in SHAPES:
        image = noise(size)
        expected = theirs.processor(image, {}).numpy()
        found = ours.values(image).numpy()
        assert found.shape == expected.shape, size
        np.testing.assert_array_equal(found, expected, err_msg=str(size))


def test_a_pinned_limit_wins_over_the_checkpoints_own() -> None:
    wide = noise((560, 56))
    assert len(tiling().cut(wide)) == 10 + 1
    assert len(tiling(max_tiles=6).cut(wide)) == 6 + 1
    assert len(tiling(max_tiles=1).cut(wide)) == 1
    assert len(tiling(max_tiles=2, min_dynamic_patch=4).cut(wide)) == 2 + 1


def test_one_tile_where_the_checkpoint_cuts_nothing() -> None:
    assert len(tiling(dynamic_image_size=False).cut(noise((560, 56)))) == 1


def test_the_size_of_the_whole_model_wins_over_the_vision_towers() -> None:
    assert tiling(force_image_size=28).size == 28
    assert tiling(force_image_size=None).size == 56


def test_values_are_normalised_as_the_folder_says(tmp_path: Path) -> None:
    (tmp_path / "preprocessor_config.json").write_text(
        json.dumps({"image_mean": [0.5, 0.5, 0.5], "image_std": [0.25, 0.5, 1.0]})
    )
    white = Image.new("RGB", (56, 56), "white")
    found = tiling(tmp_path).values(white)
    assert [float(found[0, channel, 0, 0]) for channel in range(3)] == [2.0, 1.0, 0.5]
    assert float(tiling().values(white)[0, 0, 0, 0]) == pytest.approx((1 - 0.485) / 0.229)


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(1, 4), st.integers(4, 12))
def test_a_grid_has_as_many_tiles_as_are_allowed(width: int, height: int, least: int, most: int) -> None:
    from harness.engines.torch_native.tiles import Tiling

    found = Tiling(size=448, least=least, most=most).grid(width, height)
    assert least <= found.tiles <= most
