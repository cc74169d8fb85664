"""What enters the model, by whichever of LMDeploy's ways this version has.

In the order in which they came: ``prepare_inputs`` of the pipeline (0.5, 0.6), its ``_get_prompt_input``
(0.7 to 0.11), and ``get_prompt_input`` of its prompt processor (from 0.12). All render, tokenize and prepare
the image as calling the pipeline does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.engines.contract import Request
from harness.engines.lmdeploy_arguments import version
from harness.engines.lmdeploy_eras import Messages, Pipe, in_loop
from harness.errors import EngineError, ErrorKind

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Prepared", "PromptSource", "image_messages", "prompt_source"]


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


def image_messages(request: Request, image: Image | None) -> Messages:
    """A list of messages with the image (of PIL) first, in the form that every LMDeploy from 0.5 on takes.

    An item ``image``, which is new in 0.12 or later, is dropped before with a line in the log. Without an
    image the content is plain text: until 0.9 a list is not put together for a model that takes text only.
    """
    content: str | list[dict[str, Any]] = request.prompt
    if image is not None:
        content = [
            {"type": "image_data", "image_data": {"data": image}},
            {"type": "text", "text": request.prompt},
        ]
    user = {"role": "user", "content": content}
    return [user] if request.system is None else [{"role": "system", "content": request.system}, user]


def prompt_source(pipe: Pipe) -> PromptSource:
    """The way of this pipeline. Raises EngineError(LOAD) where it has none of the three."""
    processor: Any = getattr(getattr(pipe, "async_engine", None), "prompt_processor", None)
    if hasattr(processor, "get_prompt_input"):
        return lambda messages: _from_inputs(
            in_loop(
                pipe,
                processor.get_prompt_input(
                    prompt=messages, do_preprocess=True, adapter_name=None, sequence_start=True
                ),
            )
        )
    if hasattr(pipe, "prepare_inputs"):
        return lambda messages: _from_batch(pipe.prepare_inputs(messages))
    if hasattr(pipe, "_get_prompt_input"):
        # Positional, since its first parameter has two names; there is no public way in these versions.
        ask = pipe._get_prompt_input  # noqa: SLF001
        return lambda messages: _from_inputs(in_loop(pipe, ask(messages, True, True, None)))
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
