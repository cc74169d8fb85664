"""What enters the model, by whichever of LMDeploy's ways this version has.

In the order in which they came: ``prepare_inputs`` of the pipeline (0.5, 0.6), its ``_get_prompt_input``
(0.7 to 0.11), and ``get_prompt_input`` of its prompt processor (from 0.12). All render, tokenize and prepare
the image as calling the pipeline does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from harness.engines.contract import Request
from harness.engines.lmdeploy_pipeline.backends import version
from harness.engines.lmdeploy_pipeline.eras import Messages, Pipe, in_loop
from harness.engines.lmdeploy_pipeline.prompts import messages
from harness.errors import EngineError, ErrorKind

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["IMAGE_TOKEN", "Prepared", "PromptSource", "called_messages", "prompt_source"]

IMAGE_TOKEN: Final = "<IMAGE_TOKEN>"  # noqa: S105 - not that kind of token
"""What LMDeploy writes into a prompt where an image goes, until it is tokenized."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """``ids`` of the prompt, the image's placeholders included, and ``text``, as it was rendered.

    ``inputs`` are what LMDeploy gives its engine by name, the ids and the image among them.
    """

    ids: tuple[int, ...]
    text: str | None
    inputs: Mapping[str, Any]

    @property
    def has_image(self) -> bool:
        """Whether an image is among the inputs, as pixels or as embeddings."""
        return any(self.inputs.get(name) for name in ("input_embeddings", "multimodal"))


PromptSource = Callable[[Messages], Prepared]


def called_messages(
    request: Request, image: Image | None, image_options: Mapping[str, int] | None = None
) -> Messages:
    """The messages to call a pipeline with; without an image, as plain text.

    For a model of text only, 0.5 does not look into a list of pieces, and 0.6 to 0.9 at its first only.
    """
    conversation = messages(request, image, image_options)
    if image is None:
        conversation[-1]["content"] = request.prompt
    return conversation


def prompt_source(pipe: Pipe) -> PromptSource:
    """The way of this pipeline. Raises EngineError(LOAD) where it has none of the three."""
    processor: Any = getattr(getattr(pipe, "async_engine", None), "prompt_processor", None)
    if hasattr(processor, "get_prompt_input"):
        return lambda conversation: _from_inputs(
            in_loop(
                pipe,
                processor.get_prompt_input(
                    prompt=conversation, do_preprocess=True, adapter_name=None, sequence_start=True
                ),
            )
        )
    if hasattr(pipe, "prepare_inputs"):
        return lambda conversation: _from_batch(pipe.prepare_inputs(conversation))
    if hasattr(pipe, "_get_prompt_input"):
        # Positional, since its first parameter has two names; there is no public way in these versions.
        ask = pipe._get_prompt_input  # noqa: SLF001
        return lambda conversation: _from_inputs(in_loop(pipe, ask(conversation, True, True, None)))
    raise EngineError(
        ErrorKind.LOAD,
        f"LMDeploy {version()} has none of prepare_inputs, _get_prompt_input and get_prompt_input, so its "
        "prompts cannot be seen; allowed: LMDeploy 0.5.3 to 0.18",
    )


def _from_inputs(inputs: Mapping[str, Any]) -> Prepared:
    return Prepared(ids=tuple(map(int, inputs["input_ids"])), text=inputs.get("prompt"), inputs=dict(inputs))


def _from_batch(batch: Mapping[str, Any]) -> Prepared:
    """A batch of one, as ``prepare_inputs`` gives it and ``get_logits`` takes it."""
    inputs = {name: each[0] for name, each in batch.items() if each is not None}
    return Prepared(ids=tuple(map(int, inputs["input_ids"])), text=inputs.get("prompts"), inputs=inputs)
