"""From a request to LMDeploy's messages, and what must not get into its engine.

A sequence of the wrong kind does not fail there on its own: it is cut short, spoils rows, or ends the
engine's loop and with it every other case.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from harness.engines.contract import Question, Request
from harness.engines.images import trial_pictures
from harness.engines.out_of_memory import is_out_of_memory
from harness.engines.questions import question
from harness.errors import EngineError, ErrorKind

if TYPE_CHECKING:
    from lmdeploy.serve.core.async_engine import AsyncEngine
    from PIL.Image import Image
    from transformers import PreTrainedTokenizerBase

__all__ = [
    "check_generated",
    "check_length",
    "check_placeholders",
    "check_rendered",
    "check_spelling",
    "messages",
    "placeholder_id",
    "places_in_text",
    "preparing",
    "probe_conversations",
    "question_of",
]


_IMAGE_TOKEN: Final = "<IMAGE_TOKEN>"  # noqa: S105 - not that kind of token
"""What LMDeploy writes into a prompt where an image goes, until it is tokenized."""


_NO_TEMPLATE: Final = "BaseChatTemplate"


def messages(
    request: Request,
    images: Sequence[Image],
    image_options: Mapping[str, int] | None = None,
    *,
    in_text: bool = False,
) -> list[dict[str, Any]]:
    """A list of messages with images where the request's parts say: LMDeploy's own tuples put them behind.

    ``images`` are in the order in which they stand. ``image_options`` go along with each, in the one form
    that all versions read. With ``in_text`` a prompt that names their places has LMDeploy's own word there,
    the images before it in the same order: see `places_in_text`.
    """
    shown: list[dict[str, Any]] = [
        {"type": "image_data", "image_data": {"data": image, **(image_options or {})}} for image in images
    ]
    if in_text and request.marked:
        text = "".join(part if isinstance(part, str) else _IMAGE_TOKEN for part in request.parts)
        content = [*shown, {"type": "text", "text": text}]
    else:
        content = request.content(shown)
    user: dict[str, Any] = {"role": "user", "content": content}
    if request.system is None:
        return [user]
    return [{"role": "system", "content": request.system}, user]


def probe_conversations(
    engine: AsyncEngine, tiles: int | None, image_options: Mapping[str, int]
) -> Iterator[list[dict[str, Any]]]:
    """What an engine is tried with, the largest first: a letter, behind an image where the model takes one.

    ``tiles`` is the most that an image is cut into, None where that is not known.
    """
    letter = Request(case="probe", prompt="A", letters=("A",))
    if getattr(engine.prompt_processor, "vl_encoder", None) is not None:
        for picture in trial_pictures(tiles):
            yield messages(replace(letter, images=("",)), [picture], image_options)
    yield messages(letter, [])


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
    vision = getattr(getattr(engine.prompt_processor, "vl_encoder", None), "model", None)
    for owner in (getattr(vision, "mm_tokens", None), vision):
        found = getattr(owner, "image_token_id", None)
        if found:  # LMDeploy writes 0 where it knows none
            return int(found)
    return None


def places_in_text(engine: AsyncEngine) -> bool:
    """Whether LMDeploy is told of places within a text by its own word there.

    Of parts it makes a text in which every image of InternVLChatModel ends a line; the model's own `chat`,
    which knows no parts, puts it where the text says (lmdeploy/vl/model/internvl.py: proc_messages).
    """
    vision = getattr(getattr(engine.prompt_processor, "vl_encoder", None), "model", None)
    config = getattr(vision, "hf_config", None)
    return "InternVLChatModel" in (getattr(config, "architectures", None) or ())


def check_spelling(prompt: str) -> None:
    """Refuse, with an EngineError(FAILED), a text in which LMDeploy would find the place of an image."""
    if _IMAGE_TOKEN in prompt:
        raise EngineError(
            ErrorKind.FAILED,
            f"the prompt holds {_IMAGE_TOKEN}, where LMDeploy would put the image; allowed: nothing of the "
            "sort. Take it out of the case's text",
        )


def check_rendered(template: object, asked: Question, request: Request) -> None:
    """Refuse a question that is no more than the case's own text, where LMDeploy has no chat template.

    It falls back to one that writes nothing where the model's folder has none or the one there fails, and
    then has the model continue the question (lmdeploy/model.py: get_chat_template).
    """
    falls_back = type(template).__name__ == _NO_TEMPLATE and getattr(template, "capability", "") == "chat"
    rendered, bare = (asked.text or "").replace(Question.IMAGE, ""), f"{request.system or ''}{request.prompt}"
    if falls_back and "".join(rendered.split()) == "".join(bare.split()):
        raise EngineError(
            ErrorKind.FAILED,
            "LMDeploy applied no chat template and would ask the bare text: the model's folder has none, or "
            "the one there fails when LMDeploy tries it ('harness profile check' says how). Put a "
            "chat_template.jinja there that renders, or name one with options.chat_template_config",
        )


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
    pieces: list[Any] = [_places(item) for item in inputs.get("multimodal") or ()]
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


def _places(item: Mapping[str, Any]) -> int | None:
    """How many placeholders an item of LMDeploy's fills: their number, or from where to where; else None."""
    number: int | None = item.get("image_tokens")
    if number is None and isinstance(place := item.get("offset"), tuple):
        number = place[1] - place[0]
    return number


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


def question_of(
    inputs: Mapping[str, Any],
    *,
    tokenizer: PreTrainedTokenizerBase,
    placeholder: int | None,
    dtype: str,
    images: int,
) -> Question:
    """The question in ``inputs``: LMDeploy's ``prompt``, ``input_ids`` and ``multimodal`` items of a case.

    ``placeholder`` is the id that stands for a piece of an image, ``images`` how many there are. ``dtype`` is
    the model's: pixel values are rounded to it, as some versions do here and others where they enter the
    model. Where LMDeploy does not keep the rendered prompt, it is read back from the ids; of an image that it
    hands on as embeddings the pixels are not known.
    """
    import torch

    ids = list(inputs["input_ids"])
    text = inputs.get("prompt") or tokenizer.decode(
        ids, skip_special_tokens=False, clean_up_tokenization_spaces=False
    )
    values = [item.get("pixel_values") for item in inputs.get("multimodal") or ()]
    pixels = None
    if not inputs.get("input_embeddings") and all(hasattr(each, "cpu") for each in values):
        pixels = [each.to(getattr(torch, dtype)).float().cpu().numpy() for each in values]
    mark = None if placeholder is None else tokenizer.convert_ids_to_tokens(placeholder)
    return question(
        text=text,
        prompt_ids=ids,
        placeholder=_IMAGE_TOKEN if _IMAGE_TOKEN in text else mark,
        pixels=pixels,
        images=images,
    )
