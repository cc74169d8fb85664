"""A prompt by a model's own chat template. Standard library only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["chat_prompt"]


def chat_prompt(
    owner: Any,  # noqa: ANN401 - a processor or a tokenizer of Transformers'
    asked: Sequence[str | int],
    system: str | None,
    *,
    parts: bool,
) -> str:
    """The prompt up to the assistant's header; ``asked`` are the user's `Request.parts`.

    With ``parts`` contents are lists of parts, as templates of models that take images have them, else
    strings, and ``asked`` are texts only. Raises whatever the template does.
    """
    turns: list[tuple[str, Sequence[str | int]]] = [("user", asked)]
    if system is not None:
        turns.insert(0, ("system", [system]))
    messages: list[dict[str, Any]] = [
        {"role": role, "content": list(map(_part, said)) if parts else "".join(map(str, said))}
        for role, said in turns
    ]
    return str(owner.apply_chat_template(messages, add_generation_prompt=True, tokenize=False))


def _part(each: str | int) -> dict[str, str]:
    return {"type": "image"} if isinstance(each, int) else {"type": "text", "text": each}
