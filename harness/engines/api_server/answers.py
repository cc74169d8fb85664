"""From a server's reply to what it means: its tokens, the letter's place, and a partial reading."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from harness.engines.api_server.client import Reply
from harness.engines.api_server.tokens import Spelling, Token, other_spellings, place_of, tokens_of
from harness.engines.contract import Reading, Request
from harness.engines.readings import read_top_texts
from harness.errors import EngineError, ErrorKind

__all__ = ["Choice", "Written", "choice_of", "read_choice"]

_HOW = (
    "Start LMDeploy's server with --backend pytorch --logprobs-mode raw_logprobs; others must be asked for "
    "log-probabilities when they are built or started"
)


@dataclass(frozen=True, slots=True)
class Choice:
    """The first choice of a chat completion; ``content`` is that of its log-probabilities, as it came."""

    text: str
    content: Sequence[Mapping[str, Any]]
    prompt_tokens: int | None
    where: str

    def tokens(self, spelling: Spelling) -> tuple[Token, ...]:
        """The generated tokens; raises EngineError(FAILED) where they are not as the interface has them."""
        try:
            return tokens_of(self.content, spelling)
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
            what = f"its log-probabilities cannot be read: {type(error).__name__}: {error}"
            raise EngineError(ErrorKind.FAILED, f"{self.where}, but {what}") from error

    def texts(self) -> list[str]:
        """All tokens' texts as they came, those of the lists included."""
        lists = [entry for item in self.content for entry in (item, *item.get("top_logprobs", ()))]
        return [str(entry.get("token")) for entry in lists]

    def require_logprobs(self, *, least: int) -> None:
        """Refuse a reply that has no lists of at least ``least`` entries; raises EngineError(FAILED)."""
        lists = self.tokens(Spelling.TEXT)
        if not lists:
            raise EngineError(ErrorKind.FAILED, f"{self.where}, but no log-probabilities came. {_HOW}")
        shortest = min(len(token.top) for token in lists)
        if shortest < least:
            one = " (its value is that of a token without any rival)" if lists[0].logprob == 0.0 else ""
            raise EngineError(
                ErrorKind.FAILED,
                f"{self.where}, but {shortest} entry of log-probabilities for a token{one}; allowed: "
                f"{least} or "
                f"more. LMDeploy's TurboMind gives no others under greedy decoding. {_HOW}",
            )


class Written(NamedTuple):
    """What the model wrote, and the letter's place among its tokens (None if it never got there)."""

    text: str
    step: int | None


def choice_of(reply: Reply, where: str) -> Choice:
    """The first choice of a successful ``reply``; raises EngineError(FAILED) where there is none."""
    try:
        first = reply.data["choices"][0]
        content = (first.get("logprobs") or {}).get("content") or ()
        used = (reply.data.get("usage") or {}).get("prompt_tokens")
        if not isinstance(text := first["message"].get("content") or "", str):
            raise TypeError("a message that is no text")
        return Choice(
            text=text,
            content=tuple(content),
            prompt_tokens=None if used is None else int(used),
            where=where,
        )
    except (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise EngineError(
            ErrorKind.FAILED,
            f"{where}, but no chat completion came: {reply.message}. Is url that of an OpenAI-compatible "
            "server?",
        ) from error


def read_choice(
    choice: Choice, request: Request, spelling: Spelling, *, path: str
) -> tuple[Written, Reading | None]:
    """What was written and seen; no reading where the model ended its turn at once.

    Unless the case asks for more tokens, what follows the letter is cut off, as it is never generated where
    tokens can be counted beforehand.

    Raises EngineError: FAILED where text came without log-probabilities, or tokens are not as they must be.
    """
    tokens = choice.tokens(spelling)
    if not tokens:
        if choice.text:
            choice.require_logprobs(least=1)
        return Written("", None), None
    texts = [token.text for token in tokens]
    place = place_of(texts, request.answer_prefix)
    if place is None:
        bare = read_top_texts(path, None, [token.logprob for token in tokens], letters=(), spellings=())
        return Written(choice.text, None), bare
    text = choice.text
    if request.max_new_tokens is None:
        tokens = tokens[: place.step + 1]
        text = "".join(texts[: place.step + 1]) if place.step + 1 < len(texts) else text
    reading = read_top_texts(
        path,
        tokens[place.step].top,
        [token.logprob for token in tokens],
        letters=[place.lead + letter for letter in request.letters],
        spellings=[other_spellings(letter, place.lead) for letter in request.letters],
    )
    return Written(text, place.step), reading
