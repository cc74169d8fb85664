"""The most tiles that an image is cut into, set on a Transformers image processor; for every engine.

Image processors call it by different names, and some names mean other things elsewhere: ``max_patches`` is a
number of tiles beside ``crop_to_patches``, and one of a vision tower's own patches in Pix2Struct. Known ones
only are set. Left out on purpose: Mllama's ``max_image_tiles``, which also numbers the aspect ratios that the
model has learned, and LLaVA's ``image_grid_pinpoints``, which the model's configuration repeats.

Nothing is imported here, as it runs in workers of any engine.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final, NamedTuple

from harness.errors import EngineError, ErrorKind

__all__ = ["limit_tiles", "most_tiles", "refuse_tiles"]


class _Known(NamedTuple):
    """``most`` is the attribute to set where there is ``beside`` too; ``least`` must not lie above it."""

    most: str
    beside: str
    least: str


_KNOWN: Final = (
    _Known("max_patches", "crop_to_patches", "min_patches"),  # InternVL, GOT-OCR 2, Ovis 2, Cohere 2 Vision
    _Known("max_patches", "resize_to_max_canvas", ""),  # Llama 4
    _Known("max_tiles", "do_image_splitting", "min_tiles"),  # LFM2-VL
)


def limit_tiles(image_processor: Any, most: int) -> None:  # noqa: ANN401 - a class of any release
    """Let ``image_processor`` cut an image into at most ``most`` tiles, a thumbnail not counted.

    Raises EngineError(UNSUPPORTED) if it offers no such limit, or cannot cut into so few.
    """
    known = _known(image_processor)
    if known is None:
        raise refuse_tiles(f"this model's {type(image_processor).__name__} offers no limit of tiles")
    least = getattr(image_processor, known.least, None) or 1
    if least > most:
        raise EngineError(
            ErrorKind.UNSUPPORTED,
            f"max_tiles: found {most}; allowed: {least} or more, since this model's "
            f"{type(image_processor).__name__} has {known.least}: {least}",
        )
    setattr(image_processor, known.most, most)


def most_tiles(image_processor: Any) -> int | None:  # noqa: ANN401 - as above
    """The most tiles that ``image_processor`` cuts an image into as set; None where that is not known."""
    known = _known(image_processor)
    return None if known is None else getattr(image_processor, known.most)


def _known(image_processor: Any) -> _Known | None:  # noqa: ANN401 - as above
    has = partial(hasattr, image_processor)
    return next((known for known in _KNOWN if has(known.most) and has(known.beside)), None)


def refuse_tiles(reason: str) -> EngineError:
    """The refusal of a limit that could only be ignored."""
    names = ", ".join(sorted({f"{known.most} beside {known.beside}" for known in _KNOWN}))
    return EngineError(
        ErrorKind.UNSUPPORTED,
        f"max_tiles: {reason} (known: {names}); leave max_tiles out of the profile, or give it to the other "
        "engines only. The number of tiles is compared all the same",
    )
