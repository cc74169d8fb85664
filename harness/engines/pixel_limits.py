"""The fewest and the most pixels of an image, set on a Transformers image processor; for every engine.

Qwen2-VL, what came after it, and GLM-4.1V take images as they are, within these limits: the processor's
``size`` holds them as ``shortest_edge`` and ``longest_edge``, which in others are sides of an image. So a
processor must merge patches (``merge_size``) to be one of them. LMDeploy calls the two ``min_pixels`` and
``max_pixels`` in its ``mm_processor_kwargs``.

Nothing is imported here, as it runs in workers of any engine.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from harness.engines.contract import EngineSettings
from harness.errors import EngineError, ErrorKind

__all__ = ["PIXELS", "limit_pixels", "pixel_limits", "refuse_pixels"]

_SIZES: Final = {"min_pixels": "shortest_edge", "max_pixels": "longest_edge"}
PIXELS: Final = tuple(_SIZES)
"""Both, the fewest first, as a profile names them."""


def pixel_limits(settings: EngineSettings) -> dict[str, int]:
    """Those that a profile says, by their names; {} leaves them to the model's own configuration."""
    return {name: value for name in _SIZES if isinstance(value := settings.options.get(name), int)}


def limit_pixels(image_processor: Any, pixels: Mapping[str, int]) -> dict[str, int]:  # noqa: ANN401 - a class of any release
    """Let ``image_processor`` keep to ``pixels``; returns both limits that are then in force.

    Raises EngineError(UNSUPPORTED) if it has no such limits, or its own is on the wrong side of the other.
    """
    kind, size = type(image_processor).__name__, dict(getattr(image_processor, "size", None) or {})
    own = {name: size.get(edge, size.get(name)) for name, edge in _SIZES.items()}
    if not hasattr(image_processor, "merge_size") or None in own.values():
        raise refuse_pixels(pixels, f"this model's {kind} has no limits of pixels")
    limits: dict[str, Any] = {**own, **pixels}
    if limits["min_pixels"] > limits["max_pixels"]:
        raise refuse_pixels(pixels, f"this model's {kind} would have {limits}, the fewest above the most")
    # Transformers before 4.49 read attributes, and those in between both.
    for name, edge in _SIZES.items():
        size |= {key: limits[name] for key in (name, edge) if size.get(key)}
        if hasattr(image_processor, name):
            setattr(image_processor, name, limits[name])
    image_processor.size = size
    return limits


def refuse_pixels(pixels: Mapping[str, int], reason: str) -> EngineError:
    """The refusal of limits that could only be ignored."""
    return EngineError(
        ErrorKind.UNSUPPORTED,
        f"{' and '.join(pixels)}: {reason}; leave them out of the profile, or give them to the other engines "
        "only. The pixels are compared all the same",
    )
