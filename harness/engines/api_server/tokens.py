"""From the token texts of a server's answer to the letter's place and how the letters are spelled there.

Standard library only. Servers tell tokens in different ways: as the text that they stand for (with the bytes,
since a token may be a part of a character), or as the vocabulary has them, 'Ġ' or '▁' for a space.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from harness.engines.letters import BYTE_OF
from harness.engines.readings import TextEntry

__all__ = ["Place", "Spelling", "Token", "other_spellings", "place_of", "spelling_of", "tokens_of"]

_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")


class Spelling(StrEnum):
    """How a server writes tokens."""

    TEXT = "text"
    BYTE_LEVEL = "byte-level vocabulary"
    SENTENCE_PIECE = "SentencePiece vocabulary"


@dataclass(frozen=True, slots=True)
class Token:
    """One generated token: its text, its log-probability, and the ``top`` [k] of its row, itself included."""

    text: str
    logprob: float
    top: tuple[TextEntry, ...]


class Place(NamedTuple):
    """The letter's place: index ``step`` among the generated tokens, each letter preceded by ``lead`` there.

    Behind 'Answer:' the letters are spelled ' A', ' B', so the lead is a space.
    """

    step: int
    lead: str


def spelling_of(texts: Iterable[str]) -> Spelling:
    """How a server writes tokens, from many of them as they came."""
    together = "".join(texts)
    if "Ġ" in together or "Ċ" in together:
        return Spelling.BYTE_LEVEL
    return Spelling.SENTENCE_PIECE if "▁" in together or _BYTE.search(together) else Spelling.TEXT


def tokens_of(content: Sequence[Mapping[str, Any]], spelling: Spelling) -> tuple[Token, ...]:
    """The generated tokens from ``logprobs.content`` of a chat completion.

    Some servers leave the generated token out of ``top_logprobs``; here it is always in. Raises KeyError,
    TypeError or ValueError where ``content`` is not as the interface has it.
    """
    tokens = []
    for item in content:
        text, logprob = _text(item, spelling), float(item["logprob"])
        top = [TextEntry(_text(entry, spelling), float(entry["logprob"])) for entry in item["top_logprobs"]]
        itself = TextEntry(text, logprob)
        if itself not in top:
            top.insert(0, itself)
        tokens.append(Token(text, logprob, tuple(sorted(top, key=lambda entry: -entry.logprob))))
    return tuple(tokens)


def place_of(texts: Sequence[str], answer_prefix: str) -> Place | None:
    """Where the letter stands among generated ``texts`` [T]; None if they do not begin with the prefix.

    The prefix's last white space may be a token of its own, or the beginning of the letter's.
    """
    written = ""
    for step, text in enumerate(texts):
        if written == answer_prefix:
            return Place(step, "")
        rest = answer_prefix[len(written) :]
        if rest.isspace() and not (text and rest.startswith(text)):
            return Place(step, rest)
        written += text
        if not answer_prefix.startswith(written):
            return None
    return None


def other_spellings(letter: str, lead: str) -> tuple[str, ...]:
    """Texts of single tokens that read as the letter but are not it as it is spelled in its place."""
    forms = [
        form
        for one in (letter, letter.lower())
        for form in (one, f" {one}", f"{one}.", f"({one}", f"({one})")
    ]
    return tuple(form for form in forms if form != lead + letter)


def _text(item: Mapping[str, Any], spelling: Spelling) -> str:
    token = item["token"]
    if not isinstance(token, str):
        raise TypeError(f"found the token {token!r}; allowed: a text")
    if spelling is Spelling.BYTE_LEVEL:
        # Special tokens are in the vocabulary as they are.
        if all(character in BYTE_OF for character in token):
            return bytes(BYTE_OF[character] for character in token).decode(errors="replace")
        return token
    if spelling is Spelling.SENTENCE_PIECE:
        if found := _BYTE.fullmatch(token):
            return bytes([int(found[1], 16)]).decode(errors="replace")
        return token.replace("▁", " ")
    if isinstance(given := item.get("bytes"), list) and given:
        return bytes(given).decode(errors="replace")
    return token
