"""From a request to LMDeploy's messages, and what must not get into its engine.

A sequence of the wrong kind does not fail there on its own: it is cut short, spoils rows, or ends the
engine's loop and with it every other case.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from harness.engines.contract import Request
from harness.engines.out_of_memory import is_out_of_memory
from harness.errors import EngineError, ErrorKind

if TYPE_CHECKING:
    from lmdeploy.serve.core.async_engine import AsyncEngine
    from PIL.Image import Image

__all__ = [
    "check_generated",
    "check_length",
    "check_placeholders",
    "messages",
    "open_image",
    "placeholder_id",
    "preparing",
]


def open_image(path: str) -> Image:
    """The picture in RGB as its file stores it, which is what LMDeploy's own loader makes of a file.

    Its EXIF data is dropped, so that no image processor turns it the way that they say.

    Raises EngineError(FAILED) for what is no image, or not all of one.
    """
    from PIL import Image, ImageFile

    ImageFile.LOAD_TRUNCATED_IMAGES = False  # LMDeploy's import sets it: half a picture, half of it grey
    try:
        with Image.open(path) as opened:
            image = opened.convert("RGB")
    except Exception as error:
        raise EngineError(
            ErrorKind.FAILED, f"the image {path} cannot be opened: {type(error).__name__}: {error}"
        ) from error
    image.info.clear()
    return image


def messages(
    request: Request, image: Image | None, image_options: Mapping[str, int] | None = None
) -> list[dict[str, Any]]:
    """A list of messages, in which the image comes first: LMDeploy's tuples put it behind from 0.11 on.

    ``image_options`` go along with the image, in the one form that all versions read.
    """
    content: list[dict[str, Any]] = [{"type": "text", "text": request.prompt}]
    if image is not None:
        content.insert(0, {"type": "image_data", "image_data": {"data": image, **(image_options or {})}})
    user: dict[str, Any] = {"role": "user", "content": content}
    if request.system is None:
        return [user]
    return [{"role": "system", "content": request.system}, user]


@contextmanager
def preparing() -> Iterator[None]:
    """Turn what LMDeploy raises while it prepares a prompt into EngineError(FAILED) of that case.

    Lack of memory passes as it came, since it concerns more than the case.
    """
    try:
        yield
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise EngineError(
            ErrorKind.FAILED, f"LMDeploy cannot prepare the prompt: {type(error).__name__}: {error}"
        ) from error


def placeholder_id(engine: AsyncEngine) -> int | None:
    """The id that stands for a piece of an image; None for a model that takes text only."""
    owner = getattr(engine, "prompt_processor", engine)  # the engine itself until 0.11
    vision = getattr(getattr(owner, "vl_encoder", None), "model", None)
    for owner in (getattr(vision, "mm_tokens", None), vision):
        found = getattr(owner, "image_token_id", None)
        if found:  # LMDeploy writes 0 where it knows none
            return int(found)
    return None


def check_length(prompt: int, steps: int, limits: Mapping[str, int]) -> None:
    """Refuse what LMDeploy would cut short, or prefill in chunks, which spoils the last row of each.

    ``limits`` are the most tokens a sequence may have, each by the name of the option that sets it.
    """
    for name, limit in limits.items():
        if prompt + steps > limit:
            raise EngineError(
                ErrorKind.UNSUPPORTED,
                f"the prompt has {prompt} tokens and {steps} are to be generated; allowed: {limit} together "
                f"({name}). Raise {name} in this engine's options in the profile, or shorten the prompt or "
                "its image",
            )


def check_placeholders(inputs: Mapping[str, Any], placeholder: int | None) -> None:
    """Refuse a prompt that spells the image's placeholder, or from which the template dropped the image.

    LMDeploy fills the placeholders of all sequences that it prefills together with the images of them all.
    """
    pieces = [item.get("image_tokens") for item in inputs.get("multimodal") or ()]
    if placeholder is None or None in pieces:
        return
    found = list(inputs["input_ids"]).count(placeholder)
    if found != sum(pieces):
        raise EngineError(
            ErrorKind.FAILED,
            f"the prompt has the image's placeholder (id {placeholder}) {found} times; allowed: "
            f"{sum(pieces)} times, once for each piece of the image. Take it out of the case's text, or see "
            "to it that the chat template turns {'type': 'image'} into it",
        )


def check_generated(ids: Sequence[int], placeholder: int | None) -> None:
    """Refuse a generated placeholder behind a prompt: LMDeploy would look for its piece of an image."""
    for step, token in enumerate(ids):
        if token == placeholder:
            raise EngineError(
                ErrorKind.UNSUPPORTED,
                f"generated token {step} is the image's placeholder (id {placeholder}), which stage two "
                "cannot put behind the prompt. Generate less with max_new_tokens, or write "
                "'paths: [captured]' for this engine in the profile",
            )
