"""What a chat-style checkpoint is asked: the words that its own `chat` sends, or its tokenizer's template.

Such a checkpoint brings conversation templates as Python code: ``get_conv_template(name)`` beside its model,
``template`` and ``system_message`` on the model. The object it returns renders turns with ``get_prompt``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, Final

import transformers

from harness.engines.chat_template import chat_prompt
from harness.engines.contract import Question, Request
from harness.errors import EngineError, ErrorKind

__all__ = ["OWN", "TOKENIZER", "Wording"]

OWN: Final = "own"
TOKENIZER: Final = "tokenizer"

# Stands where an image goes until everything else is rendered; no text holds a NUL.
_HERE = "\0image\0"


class Wording:
    """Renders requests for one model; ``kind`` says which template is in use, `OWN` or `TOKENIZER`.

    ``stop_id`` ends a turn as the model's own `chat` has it; None where there is no such token.
    """

    def __init__(
        self,
        model: transformers.PreTrainedModel,
        tokenizer: transformers.PreTrainedTokenizerBase,
        *,
        kind: str | None,
    ) -> None:
        """``kind`` None takes the model's own where it has one.

        Raises EngineError (LOAD) if the template that is asked for is not there, or none at all.
        """
        self._tokenizer = tokenizer
        make: Callable[[str], Any] | None = getattr(
            sys.modules.get(type(model).__module__), "get_conv_template", None
        )
        name = getattr(model, "template", None) or getattr(model.config, "template", None)
        self._begin = None if make is None or not name else lambda: make(name)
        self._system = getattr(model, "system_message", None)
        has = {OWN: self._begin is not None, TOKENIZER: bool(getattr(tokenizer, "chat_template", None))}
        self.kind = kind or (OWN if has[OWN] else TOKENIZER)
        if not has[self.kind]:
            there = ", ".join(kind for kind, found in has.items() if found)
            remedy = "write it in this engine's options in the profile"
            if not there:
                there, remedy = "none here", "put a chat_template into its tokenizer_config.json"
            raise EngineError(
                ErrorKind.LOAD,
                f"template: found {self.kind}, but the checkpoint has no such template; allowed: {there}; "
                + remedy,
            )
        self.stop_id = None if self._begin is None else self._known_id(str(self._begin().sep or "").strip())

    def render(self, request: Request, images: Sequence[str]) -> str:
        """The prompt up to and including the assistant's header, with ``images`` in order where they go.

        Without a system text of its own a request gets the template's, which is what `chat` sends.
        """
        # As `chat` does: where the prompt says, else each on a line of its own before it.
        text = request.prompt
        if request.marked:
            text = "".join(part if isinstance(part, str) else _HERE for part in request.parts)
        elif len(images) == 1 and self.kind == OWN and Question.IMAGE in text:
            text = text.replace(Question.IMAGE, _HERE, 1)
        else:
            text = f"{_HERE}\n" * len(images) + text
        prompt = self._own(text, request.system) if self.kind == OWN else self._template(text, request.system)
        before, *behind = prompt.split(_HERE)
        return before + "".join(image + piece for image, piece in zip(images, behind, strict=True))

    @property
    def source(self) -> str:
        """The template in one text, for a fingerprint."""
        if self.kind == TOKENIZER:
            return str(self._tokenizer.chat_template)
        return self._own("{prompt}", None)

    def _own(self, text: str, system: str | None) -> str:
        assert self._begin is not None  # noqa: S101 - kind is OWN only where there is one
        conversation = self._begin()
        if system is not None or self._system is not None:
            conversation.system_message = self._system if system is None else system
        conversation.append_message(conversation.roles[0], text)
        conversation.append_message(conversation.roles[1], None)
        return str(conversation.get_prompt())

    def _template(self, text: str, system: str | None) -> str:
        return chat_prompt(self._tokenizer, [text], system, parts=False)

    def _known_id(self, token: str) -> int | None:
        found = self._tokenizer.convert_tokens_to_ids(token) if token else None
        if not isinstance(found, int) or self._tokenizer.convert_ids_to_tokens(found) != token:
            return None
        return found
