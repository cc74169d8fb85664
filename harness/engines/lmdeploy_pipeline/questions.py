"""What LMDeploy asked its model, read from the inputs that it prepared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from harness.engines.contract import Question
from harness.engines.questions import question

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

__all__ = ["question_of"]


def question_of(
    inputs: Mapping[str, Any],
    *,
    tokenizer: PreTrainedTokenizerBase,
    placeholder: int | None,
    dtype: torch.dtype | None,
) -> Question:
    """The question in ``inputs``: LMDeploy's ``prompt``, ``input_ids`` and ``multimodal`` items of a case.

    ``placeholder`` is the id that stands for a piece of an image. ``dtype`` is the model's: pixel values are
    rounded to it, as some versions do here and others where they enter the model; None leaves them as they
    are. Where LMDeploy does not keep the rendered prompt, it is read back from the ids.
    """
    ids = list(inputs["input_ids"])
    text = inputs.get("prompt") or tokenizer.decode(
        ids, skip_special_tokens=False, clean_up_tokenization_spaces=False
    )
    values = [item.get("pixel_values") for item in inputs.get("multimodal") or ()]
    pixels = None
    if all(each is not None for each in values):
        pixels = [(each if dtype is None else each.to(dtype)).float().cpu().numpy() for each in values]
    return question(
        text=text,
        prompt_ids=ids,
        placeholder=None if placeholder is None else tokenizer.convert_ids_to_tokens(placeholder),
        pixels=pixels,
    )
