"""From an image to the tiles of a chat-style checkpoint, which has no processor that makes them.

The image is stretched to the grid of tiles whose shape is nearest to its own and cut along the grid; a
thumbnail of the whole follows where there is more than one tile.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import transformers
from PIL import Image

__all__ = ["Grid", "Tiling"]

_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_SPREAD = (0.229, 0.224, 0.225)


class Grid(NamedTuple):
    """How many tiles side by side, and how many rows of them."""

    across: int
    down: int

    @property
    def tiles(self) -> int:
        """In all, a thumbnail not counted."""
        return self.across * self.down


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiling:
    """How images are cut: tiles of ``size`` pixels square, from ``least`` to ``most`` of them.

    Values are normalised by ``mean`` [3] and ``spread`` [3], of values from 0 to 1.
    """

    size: int
    least: int = 1
    most: int = 1
    thumbnail: bool = False
    mean: tuple[float, ...] = _IMAGENET_MEAN
    spread: tuple[float, ...] = _IMAGENET_SPREAD

    @classmethod
    def of(cls, config: transformers.PretrainedConfig, folder: Path, *, max_tiles: int | None) -> Tiling:
        """As a checkpoint's ``config`` says, with ``max_tiles`` in place of its own limit if given.

        Mean and spread are those of the folder's preprocessor_config.json; ImageNet's where there is none.
        """
        size = getattr(config, "force_image_size", None) or config.vision_config.image_size
        mean, spread = _normalisation(folder)
        if not getattr(config, "dynamic_image_size", False):
            return cls(size=size, mean=mean, spread=spread)
        most = max_tiles or config.max_dynamic_patch
        return cls(
            size=size,
            least=min(config.min_dynamic_patch, most),
            most=most,
            thumbnail=bool(config.use_thumbnail),
            mean=mean,
            spread=spread,
        )

    def grid(self, width: int, height: int) -> Grid:
        """The grid for an image of ``width`` by ``height`` pixels.

        Of two that are equally near in shape, the larger if the image would fill more than half of its area.
        """
        # A set's own order among grids of one area is kept on purpose: it is what the checkpoints' own code
        # and LMDeploy go by, and it decides between 1x4 and 4x1 for an image that is as near to either.
        grids = {
            Grid(across, down)
            for number in range(self.least, self.most + 1)
            for across in range(1, number + 1)
            for down in range(1, number + 1)
            if self.least <= across * down <= self.most
        }
        shape, area = width / height, width * height
        nearest, distance = Grid(1, 1), float("inf")
        for grid in sorted(grids, key=lambda grid: grid.tiles):
            off = abs(shape - grid.across / grid.down)
            larger = off == distance and area > 0.5 * self.size**2 * grid.tiles
            if off < distance or larger:
                nearest, distance = grid, off
        return nearest

    def cut(self, image: Image.Image) -> list[Image.Image]:
        """The tiles, row by row, and the thumbnail."""
        grid, size = self.grid(*image.size), self.size
        whole = _stretched(image, grid.across * size, grid.down * size)
        tiles = [
            whole.crop((x, y, x + size, y + size))
            for y in range(0, whole.height, size)
            for x in range(0, whole.width, size)
        ]
        if self.thumbnail and len(tiles) > 1:
            tiles.append(_stretched(image, size, size))
        return tiles

    def values(self, image: Image.Image) -> torch.Tensor:
        """Normalised float32 values [tiles, 3, size, size] of an image in RGB."""
        bytes_ = torch.from_numpy(np.stack([np.asarray(tile) for tile in self.cut(image)]))
        scaled = bytes_.permute(0, 3, 1, 2).contiguous().float().div(255)
        mean, spread = torch.tensor(self.mean).view(-1, 1, 1), torch.tensor(self.spread).view(-1, 1, 1)
        return scaled.sub(mean).div(spread)


def _stretched(image: Image.Image, width: int, height: int) -> Image.Image:
    return image.resize((width, height), Image.Resampling.BICUBIC)


def _normalisation(folder: Path) -> tuple[tuple[float, ...], tuple[float, ...]]:
    try:
        settings = json.loads((folder / "preprocessor_config.json").read_bytes())
    except OSError:
        settings = {}
    return (
        tuple(settings.get("image_mean") or _IMAGENET_MEAN),
        tuple(settings.get("image_std") or _IMAGENET_SPREAD),
    )
