"""The most tiles and pixels that LMDeploy makes of an image, by whichever way its preprocessing offers."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from harness.engines.pixel_limits import limit_pixels, refuse_pixels
from harness.engines.tile_limits import limit_tiles, most_tiles, refuse_tiles

if TYPE_CHECKING:
    from lmdeploy.serve.core.async_engine import AsyncEngine

__all__ = ["image_options", "most_tiles_of"]


def image_options(
    engine: AsyncEngine, max_tiles: int | None, pixels: Mapping[str, int] | None = None
) -> dict[str, int]:
    """See to it that images are cut into at most ``max_tiles``, and have so many ``pixels``.

    Returns what to send along with each image for it. Raises EngineError(UNSUPPORTED) where there is no way.
    """
    vision = _vision(engine)
    tiles = {} if max_tiles is None else _tiles(vision, max_tiles)
    return {**tiles, **(_pixels(vision, pixels) if pixels else {})}


def _tiles(vision: Any, max_tiles: int) -> dict[str, int]:  # noqa: ANN401 - a class of any LMDeploy
    """InternVLChatModel is told with every image, by LMDeploy's own ``max_dynamic_patch``.

    Models that LMDeploy preprocesses with Transformers' image processor have it set there, once.
    """
    if vision is None:
        raise refuse_tiles("the model takes text only")
    if not hasattr(vision, "hf_config"):
        raise refuse_tiles("this LMDeploy takes no limit with an image")
    if "InternVLChatModel" in (vision.hf_config.architectures or ()):
        if not getattr(vision.hf_config, "dynamic_image_size", False):
            raise refuse_tiles("this model's config has no dynamic_image_size, so no image of it is cut")
        return {"max_dynamic_patch": max_tiles}
    image_processor = getattr(getattr(vision, "processor", None), "image_processor", None)
    if image_processor is None:
        raise refuse_tiles(f"LMDeploy's {type(vision).__name__} has a preprocessing of its own")
    limit_tiles(image_processor, max_tiles)
    return {}


def _pixels(vision: Any, pixels: Mapping[str, int]) -> dict[str, int]:  # noqa: ANN401 - as above
    """Set on Transformers' image processor, once.

    Until 0.15 LMDeploy has another library resize an image before that one does, which is told with each.
    """
    if vision is None:
        raise refuse_pixels(pixels, "the model takes text only")
    image_processor = getattr(getattr(vision, "processor", None), "image_processor", None)
    if image_processor is None:
        raise refuse_pixels(pixels, f"LMDeploy's {type(vision).__name__} has a preprocessing of its own")
    limits = limit_pixels(image_processor, pixels)
    told = "mm_processor_kwargs" in inspect.signature(vision.preprocess).parameters
    return {} if told else limits


def most_tiles_of(engine: AsyncEngine) -> int | None:
    """The most tiles that an image is cut into, a thumbnail not counted; None where nobody knows."""
    vision = _vision(engine)
    config: Any = getattr(vision, "hf_config", None)
    if "InternVLChatModel" in (getattr(config, "architectures", None) or ()):
        return int(config.max_dynamic_patch) if getattr(config, "dynamic_image_size", False) else 1
    return most_tiles(getattr(getattr(vision, "processor", None), "image_processor", None))


def _vision(engine: AsyncEngine) -> Any:  # noqa: ANN401 - LMDeploy's
    return getattr(getattr(engine.prompt_processor, "vl_encoder", None), "model", None)
