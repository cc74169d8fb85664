"""The most tiles that LMDeploy cuts an image into, by whichever way its preprocessing offers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.engines.tile_limits import limit_tiles, most_tiles, refuse_tiles

if TYPE_CHECKING:
    from lmdeploy.serve.core.async_engine import AsyncEngine

__all__ = ["image_options", "most_tiles_of"]


def image_options(engine: AsyncEngine, max_tiles: int | None) -> dict[str, int]:
    """See to it that images are cut into at most ``max_tiles``; what to send along with each for it.

    InternVLChatModel is told with every image, by LMDeploy's own ``max_dynamic_patch``. Models that LMDeploy
    preprocesses with Transformers' image processor have it set there, once.

    Raises EngineError(UNSUPPORTED) where there is no way.
    """
    if max_tiles is None:
        return {}
    vision = _vision(engine)
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


def most_tiles_of(engine: AsyncEngine) -> int | None:
    """The most tiles that an image is cut into, a thumbnail not counted; None where nobody knows."""
    vision = _vision(engine)
    config: Any = getattr(vision, "hf_config", None)
    if "InternVLChatModel" in (getattr(config, "architectures", None) or ()):
        return int(config.max_dynamic_patch) if getattr(config, "dynamic_image_size", False) else 1
    return most_tiles(getattr(getattr(vision, "processor", None), "image_processor", None))


def _vision(engine: AsyncEngine) -> Any:  # noqa: ANN401 - LMDeploy's
    return getattr(getattr(engine.prompt_processor, "vl_encoder", None), "model", None)
