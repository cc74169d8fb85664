"""Letters to token ids, in the place where the model will write them.

``encode("A")`` is the wrong question: a SentencePiece tokenizer answers '▁A', a byte-level one 'A' where the
model writes ' A', another puts a begin-of-text token first. So every letter is encoded behind the text that
will really stand before it, and the ids beyond that text are looked at.

Standard library only: this runs in workers, with whichever tokenizer their environment brings.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from harness.engines.contract import Request
from harness.errors import EngineError, ErrorKind, LettersError

__all__ = ["BYTE_OF", "LetterIds", "LetterResolver", "Tokenizer", "require_vocabulary"]

_OPENING = r"""(\[{"'`*“‘「『【《"""
_CLOSING = r""")\]}"'`*”’」』】》.,:;!?。、"""
_ONE_LETTER = re.compile(rf"[\s{_OPENING}]*([A-Za-z])[\s{_CLOSING}]*")
_BYTE_FALLBACK = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_END = 2  # ids at a prompt's end that no image stands among, be the question one letter
_LONGEST_SPELLING = 12  # characters of a token; ' (A)' in full width is 10 in a byte-level vocabulary


class Tokenizer(Protocol):
    """The part of a Hugging Face tokenizer, slow or fast, that is used here."""

    @property
    def all_special_ids(self) -> Sequence[int]: ...  # noqa: D102
    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]: ...  # noqa: D102
    def decode(  # noqa: D102
        self, token_ids: list[int], *, skip_special_tokens: bool, clean_up_tokenization_spaces: bool
    ) -> str: ...
    def get_vocab(self) -> dict[str, int]: ...  # noqa: D102
    def convert_tokens_to_ids(self, tokens: str) -> int | None: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class LetterIds:
    """Where the letters are in the vocabulary, once the answer's prefix has been written.

    ``ids`` [L] belong to ``letters`` [L], all different. ``prefix_ids`` are generated before the letter.
    ``spellings`` [L] are the other single tokens that read as the letter (' A', 'a', 'A.', '(A)', full-width
    'A'); their probability is reported, never added to the letter's.

    Where a text is asked for there are no letters: ``target`` [A] are its ids, and ``stops`` those that end
    the model's turn.
    """

    letters: tuple[str, ...]
    prefix_ids: tuple[int, ...]
    ids: tuple[int, ...]
    spellings: tuple[tuple[int, ...], ...]
    target: tuple[int, ...] = ()
    stops: tuple[int, ...] = ()

    @property
    def scored(self) -> int:
        """How many places of a target are scored: its tokens and the end; 0 where there is none."""
        return len(self.target) + 1 if self.target else 0

    @property
    def steps(self) -> int:
        """How many tokens make an answer: the prefix and the letter, or the target and the end."""
        return self.scored or len(self.prefix_ids) + 1

    def wanted(self, step: int) -> tuple[int, ...]:
        """The ids any of which is right at ``step`` of a target: its token, or behind it all that end it."""
        return self.target[step : step + 1] or self.stops

    def answer_step(self, generated_ids: Sequence[int]) -> int | None:
        """Index of the letter's row among the generated ids; None if they do not begin with the prefix."""
        step = len(self.prefix_ids)
        if len(generated_ids) > step and tuple(generated_ids[:step]) == self.prefix_ids:
            return step
        return None


@dataclass(frozen=True, slots=True)
class _Continuation:
    """The ids that ``answer_prefix + letter`` adds to the context's; None where none can be told apart."""

    letter: str
    ids: tuple[int, ...] | None


def require_vocabulary(tokenizer: Tokenizer, model: str) -> None:
    """Raise EngineError(LOAD) for a tokenizer that makes nothing of a text, as one without its files does."""
    if not tokenizer.encode("A", add_special_tokens=False):
        raise EngineError(
            ErrorKind.LOAD,
            f"the tokenizer of {model} has no vocabulary: it makes no ids of 'A'. Put its tokenizer.json, "
            "tokenizer.model or vocab.json into the folder",
        )


class LetterResolver:
    """Resolves letters with one tokenizer; its vocabulary is searched once, at the first success."""

    def __init__(self, tokenizer: Tokenizer) -> None:  # noqa: D107
        self._tokenizer = tokenizer

    def of_request(self, context: str, request: Request, stops: Sequence[int]) -> LetterIds:
        """What ``request`` asks for, letters or a text; raises as `resolve` and `target` do."""
        if request.kind == Request.TEXT:
            return self.target(context, request.target, stops)
        return self.resolve(context, request.letters, answer_prefix=request.answer_prefix)

    def resolve(self, context: str, letters: Sequence[str], *, answer_prefix: str = "") -> LetterIds:
        """The ids of ``letters`` as the next tokens after ``context + answer_prefix``.

        ``context`` is the rendered prompt up to and including the assistant's header; special tokens in it
        count as such, and none are added.

        Raises LettersError unless every letter ends in one id of its own behind the same prefix ids, and
        these ids decode to the prefix and the letter again (but for white space and NFKC).
        """
        _require_letters(letters)
        found = self._continuations(context, letters, answer_prefix)
        problems = self._problems(found, answer_prefix)
        if problems:
            raise LettersError(self._explain(problems, found, context, answer_prefix))
        tails = [each.ids for each in found if each.ids]
        ids = tuple(tail[-1] for tail in tails)
        spellings = tuple(
            tuple(i for i in self._spellings.get(letter, ()) if i not in ids) for letter in letters
        )
        return LetterIds(tuple(letters), tails[0][:-1], ids, spellings)

    def target(self, context: str, text: str, stops: Sequence[int]) -> LetterIds:
        """The ids of ``text`` as the next tokens after ``context``, with those that may end it.

        Raises LettersError unless they begin where the context ends and read back (but for white space and
        NFKC), and EngineError(UNSUPPORTED) without ``stops``.
        """
        if not stops:
            raise EngineError(
                ErrorKind.UNSUPPORTED,
                "the model has no stop token, so nothing tells where its answer ends; allowed with "
                "expect_text: a model with eos_token_id in its generation_config.json",
            )
        ids = self._beyond(self._encode(context), self._encode(context + text))
        if ids and _squeeze(self._decode(list(ids))) == _squeeze(text) and not set(ids) & set(stops):
            return LetterIds((), (), (), (), ids, tuple(stops))
        found = (
            "one token that spans the end of the context" if ids is None else repr(self._decode(list(ids)))
        )
        raise LettersError(
            f"the text {text!r} behind the context {context[-40:]!r}: found {found}, ids "
            f"{[] if ids is None else list(ids)}; allowed: ids of its own that read back as the text and do "
            "not end the answer. Change expect_text or answer_prefix in the suite to what the model writes"
        )

    def require_end(self, context: str, ids: Sequence[int]) -> None:
        """Refuse a prompt ``ids`` that does not end as ``context`` does: an answer would follow another text.

        Raises EngineError(FAILED), which names what the tokenizer does.
        """
        ends = self._encode(context)[-_END:]
        if list(ids[-len(ends) :]) == ends:
            return
        added = self.added_behind()
        if added and list(ids[-len(added) :]) == added:
            cause = f"adds {self._decode(added)!r} (ids {added}) behind every text"
            remedy = "the post_processor of tokenizer.json and add_eos_token in tokenizer_config.json"
        else:
            cause = "cuts the prompt short, or adds to it"
            remedy = "truncation and post_processor in tokenizer.json, and tokenizer_config.json"
        raise EngineError(
            ErrorKind.FAILED,
            f"the prompt ends with {self._decode(list(ids[-_END:]))!r}; allowed: {self._decode(ends)!r}, as "
            f"the chat template ends. The tokenizer {cause}: see {remedy} of the model",
        )

    def added_behind(self) -> list[int]:
        """The ids that the tokenizer adds behind every text, such as an end-of-text."""
        bare = self._encode("A")
        whole = list(self._tokenizer.encode("A", add_special_tokens=True))
        starts = [n for n in range(len(whole)) if bare and whole[n : n + len(bare)] == bare]
        return whole[starts[-1] + len(bare) :] if starts else []

    def _continuations(
        self, context: str, letters: Sequence[str], answer_prefix: str
    ) -> tuple[_Continuation, ...]:
        before = self._encode(context)
        return tuple(
            _Continuation(letter, self._beyond(before, self._encode(context + answer_prefix + letter)))
            for letter in letters
        )

    def _beyond(self, before: list[int], whole: list[int]) -> tuple[int, ...] | None:
        """What ``whole`` has beyond ``before``; None if one token spans the place where they meet.

        A tokenizer may cut the context's own end differently when more follows ('\\n\\n' as one token or as
        two). That is harmless as long as some token begins exactly where the context ends.
        """
        if whole[: len(before)] == before:
            return tuple(whole[len(before) :])
        text = self._decode(before)
        for cut in range(len(whole) - 1, -1, -1):
            head = self._decode(whole[:cut])
            if head == text:
                # An end that is gone though decoding does not show it went into the next token.
                return None if whole[:cut] == before[:cut] else tuple(whole[cut:])
            if len(head) < len(text):
                return None
        return None

    def _problems(self, found: Sequence[_Continuation], answer_prefix: str) -> list[str]:
        problems = []
        for each in found:
            if each.ids is None:
                problems.append(f"{each.letter}: one token spans the end of the context and what follows it")
            elif not each.ids:
                problems.append(f"{each.letter}: adds no id at all")
            elif not answer_prefix and len(each.ids) > 1:
                problems.append(f"{each.letter}: takes {len(each.ids)} ids, {list(each.ids)}; allowed: 1")
            elif not self._reads_back(each.ids, answer_prefix, each.letter):
                text = self._decode(list(each.ids))
                problems.append(f"{each.letter}: ids {list(each.ids)} read {text!r} when decoded")
        if problems:
            return problems
        tails = [each.ids for each in found if each.ids]
        for each, tail in zip(found, tails, strict=True):
            if tail[:-1] != tails[0][:-1]:
                problems.append(
                    f"{each.letter}: follows the ids {list(tail[:-1])}, but {found[0].letter} follows "
                    f"{list(tails[0][:-1])}; allowed: the same for all letters"
                )
        last = [tail[-1] for tail in tails]
        for place, each in enumerate(found):
            if last.index(last[place]) != place:
                twin = found[last.index(last[place])].letter
                problems.append(
                    f"{each.letter}: has the id {last[place]} of {twin}; allowed: an id of its own"
                )
        return problems

    def _reads_back(self, ids: tuple[int, ...], answer_prefix: str, letter: str) -> bool:
        whole, end = self._decode(list(ids)), self._decode([ids[-1]])
        return _squeeze(whole) == _squeeze(answer_prefix + letter) and _squeeze(end).endswith(letter)

    def _explain(
        self, problems: Sequence[str], found: Sequence[_Continuation], context: str, answer_prefix: str
    ) -> str:
        lines = [
            f"no single token id of its own behind the context {context[-40:]!r} "
            f"with answer_prefix {answer_prefix!r}:",
            *(f"  {problem}" for problem in problems),
            "candidates:",
        ]
        for each in found:
            if each.ids is None:
                here = "none"
            else:
                here = ", ".join(f"{i} ({self._decode([i])!r})" for i in each.ids) or "none"
            own = self._tokenizer.convert_tokens_to_ids(each.letter)
            lines.append(
                f"  {each.letter}: in context {here}; encode({each.letter!r}) = {self._encode(each.letter)}; "
                f"convert_tokens_to_ids({each.letter!r}) = {own}"
            )
        letters = [each.letter for each in found]
        bare = answer_prefix.rstrip()
        working = [
            prefix
            for prefix in dict.fromkeys(("", " ", bare, bare + " "))
            if prefix != answer_prefix
            and not self._problems(self._continuations(context, letters, prefix), prefix)
        ]
        if working:
            offers = " or ".join(repr(prefix) for prefix in working)
            lines.append(
                f"what to change: answer_prefix in the suite; {offers} would resolve. Take the one that the "
                "model really writes: it must be all the text that comes before the letter."
            )
        else:
            lines.append(
                "what to change: set answer_prefix in the suite to all the text that the model writes before "
                "the letter, and let the chat template's assistant header end where a token ends "
                "(not in a space); or offer letters that have a token of their own."
            )
        return "\n".join(lines)

    @cached_property
    def _spellings(self) -> dict[str, tuple[int, ...]]:
        """Per letter, every token that reads as it: a cheap guess from the raw vocabulary, then decoded."""
        special = set(self._tokenizer.all_special_ids)
        added: dict[int, object] = getattr(self._tokenizer, "added_tokens_decoder", {})
        special.update(i for i, token in added.items() if getattr(token, "special", False))
        found: dict[str, list[int]] = {}
        for token, token_id in self._tokenizer.get_vocab().items():
            if token_id not in special and any(map(_letter_in, _guesses(token))):
                letter = _letter_in(self._decode([token_id]))
                if letter:
                    found.setdefault(letter, []).append(token_id)
        return {letter: tuple(sorted(ids)) for letter, ids in found.items()}

    def _encode(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False))

    def _decode(self, ids: list[int]) -> str:
        return self._tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)


def _require_letters(letters: Sequence[str]) -> None:
    wrong = [letter for letter in letters if len(letter) != 1 or not "A" <= letter <= "Z"]
    if wrong or not letters or len(set(letters)) != len(letters):
        raise LettersError(f"letters: found {list(letters)!r}; allowed: one or more of A to Z, each once")


def _squeeze(text: str) -> str:
    """The text without white space, in Unicode's compatibility form: what a tokenizer must not lose."""
    return "".join(unicodedata.normalize("NFKC", text).split())


def _letter_in(text: str) -> str | None:
    """The letter A to Z that ``text`` is, apart from case, width, white space and simple punctuation."""
    found = _ONE_LETTER.fullmatch(text if text.isascii() else unicodedata.normalize("NFKC", text))
    return found[1].upper() if found else None


def _guesses(token: str) -> Iterator[str]:
    """What a raw vocabulary entry may read as, in the ways in which vocabularies are written."""
    if len(token) > _LONGEST_SPELLING:
        return
    if token.isascii():
        yield token
        if found := _BYTE_FALLBACK.fullmatch(token):
            yield chr(int(found[1], 16))
        return
    yield token.replace("▁", " ")
    try:
        yield bytes(BYTE_OF[character] for character in token).decode()
    except (KeyError, UnicodeDecodeError):
        return


def _byte_alphabet() -> dict[str, int]:
    """Character to byte, as byte-level vocabularies write them: GPT-2's table, where 'Ġ' is a space."""
    shown = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    hidden = [byte for byte in range(256) if byte not in shown]
    return {chr(byte): byte for byte in shown} | {chr(256 + n): byte for n, byte in enumerate(hidden)}


BYTE_OF = _byte_alphabet()
"""Character to byte, as vocabularies of byte-level tokenizers are written."""
