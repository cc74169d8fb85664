"""The path ``scored`` of the engine ``api``: LMDeploy's ``/generate`` tells how probable a given input is.

The prompt's ids and each letter are put to it in turn, so that every letter's log-probability is known,
however far down it is: no top-k, no interval. The ids come from the model's own processor, which must be at
hand, so it is for a server that was started here. That they are those of the chat is checked by their number,
and by the check of stages, which sets the two paths side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Final

from harness.engines.api_server.client import Client, Reply
from harness.engines.chat_template import chat_prompt
from harness.engines.contract import Json, Reading, Request
from harness.engines.images import open_image
from harness.engines.letters import LetterResolver
from harness.errors import EngineError, ErrorKind

__all__ = ["SCORED", "InputScorer"]

SCORED: Final = "scored"
_GENERATE: Final = "/generate"


class InputScorer:
    """Scores letters with one server; may be used by several threads."""

    def __init__(self, client: Client, model: str) -> None:
        """``model`` is the folder of the served model.

        Raises EngineError(UNSUPPORTED) where the server scores no inputs.
        """
        from transformers import AutoProcessor

        self._client: Final = client
        self._processor: Final = AutoProcessor.from_pretrained(model)
        # A processor of a text model is its tokenizer.
        self._tokenizer: Final = getattr(self._processor, "tokenizer", self._processor)
        self._resolver: Final = LetterResolver(self._tokenizer)
        ids = list(self._tokenizer.encode("A B", add_special_tokens=False))
        reply = client.post(_GENERATE, _body(ids, ()))
        if _scores(reply, ids[-1:]) is None:
            raise EngineError(
                ErrorKind.UNSUPPORTED,
                f"paths: found {SCORED}; POST {client.url}{_GENERATE}: status {reply.status}, "
                f"{reply.message}. "
                "LMDeploy 0.18 on its PyTorch engine scores inputs; write 'paths: [chat]' for this engine",
            )

    def read(
        self, request: Request, images: Sequence[str], *, asked: int | None, text: str, tokens: int
    ) -> Reading:
        """Each letter's log-probability behind prompt and prefix, and those of what was generated.

        ``images`` are their addresses, in order. ``asked`` is the length of the chat's prompt in tokens;
        ``text`` is what it brought, in ``tokens`` tokens.

        Raises LettersError, and EngineError: FAILED where the server answers otherwise, or was asked another
        question by the chat.
        """
        context = self._render(request)
        ids = self._ids(context, request)
        letters = self._resolver.resolve(context, request.letters, answer_prefix=request.answer_prefix)
        prefix = list(letters.prefix_ids)
        generated: tuple[float, ...] = ()
        values = []
        for letter, token in zip(request.letters, letters.ids, strict=True):
            tail = [*prefix, token]
            found = self._score([*ids, *tail], images, tail, asked)
            values.append(found[-1])
            if text == request.answer_prefix + letter and tokens == len(tail):
                generated = tuple(found)
        return Reading(
            path=SCORED,
            argmax=(),
            logprobs=generated,
            letter_logits=tuple(values),
            log_z=0.0,
            letter_ceilings=tuple(values),
        )

    def _score(
        self, ids: Sequence[int], images: Sequence[str], tail: Sequence[int], asked: int | None
    ) -> list[float]:
        """The log-probabilities of the ``tail`` of ``ids``."""
        reply = self._client.post(_GENERATE, _body(ids, images))
        found = _scores(reply, tail)
        if found is None:
            raise EngineError(
                ErrorKind.FAILED,
                f"POST {self._client.url}{_GENERATE}: status {reply.status}, but no log-probabilities of the "
                f"input came: {reply.message}. See the server's own log",
            )
        length = reply.data["meta_info"].get("prompt_tokens")
        if asked is not None and length is not None and length - len(tail) != asked:
            raise EngineError(
                ErrorKind.FAILED,
                f"path {SCORED}: the model's processor makes a prompt of {length - len(tail)} tokens, the "
                "server's "
                f"chat one of {asked}: another question. Compare their chat templates, or write 'paths: "
                "[chat]'",
            )
        return found

    def _render(self, request: Request) -> str:
        return chat_prompt(
            self._processor,
            request.parts,
            request.system,
            parts=self._tokenizer is not self._processor,
        )

    def _ids(self, context: str, request: Request) -> list[int]:
        """The prompt's ids, each run of image placeholders once: LMDeploy repeats them itself."""
        if not request.images:
            return list(self._tokenizer.encode(context, add_special_tokens=False))
        pictures = list(map(open_image, request.shown))
        made = self._processor(text=[context], images=[pictures], add_special_tokens=False)
        placeholder = int(self._processor.image_token_id)
        runs = ((token, len(list(run))) for token, run in groupby(int(i) for i in made["input_ids"][0]))
        return [i for token, count in runs for i in ([token] if token == placeholder else [token] * count)]


def _body(ids: Sequence[int], images: Sequence[str]) -> dict[str, Json]:
    pictures: dict[str, Json] = {"image_data": list(images)} if images else {}
    return {
        "input_ids": list(ids),
        **pictures,
        "max_tokens": 0,
        "return_logprob": True,
        "logprob_start_len": 0,
    }


def _scores(reply: Reply, tail: Sequence[int]) -> list[float] | None:
    """The log-probabilities of the last ids, None where the reply does not have them."""
    try:
        pairs = reply.data["meta_info"]["input_token_logprobs"][-len(tail) :]
        if not reply.ok or [int(token) for _, token in pairs] != list(tail):
            return None
        return [float(value) for value, _ in pairs]
    except (KeyError, OverflowError, TypeError, ValueError):
        return None
