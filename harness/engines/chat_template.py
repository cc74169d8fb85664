"""A prompt by a model's own chat template. Standard library only."""

from __future__ import annotations

from typing import Any

__all__ = ["chat_prompt"]


def chat_prompt(
    owner: Any,  # noqa: ANN401 - a processor or a tokenizer of Transformers'
    prompt: str,
    system: str | None,
    *,
    parts: bool,
    image: bool = False,
) -> str:
    """The prompt up to the assistant's header, the ``image`` before the text.

    With ``parts`` contents are lists of parts, as templates of models that take images have them, else
    strings. Raises whatever the template does.
    """
    texts = [("user", prompt)] if system is None else [("system", system), ("user", prompt)]
    messages: list[dict[str, Any]] = [
        {"role": role, "content": [{"type": "text", "text": text}] if parts else text} for role, text in texts
    ]
    if image:
        messages[-1]["content"].insert(0, {"type": "image"})
    return str(owner.apply_chat_template(messages, add_generation_prompt=True, tokenize=False))
