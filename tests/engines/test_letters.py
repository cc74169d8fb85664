"""Letters against tokenizers of each kind that treats 'A' in its own way."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping
from typing import Any
from unittest.mock import Mock

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from harness.engines.letters import LetterIds, LetterResolver
from harness.errors import EngineError, LettersError
from tests.engines.tokenizer_kinds import (
    LETTERS,
    QWEN2_SPLITS,
    byte_level,
    byte_pieces,
    metaspace,
    sentence_piece,
    spaced,
    word_piece,
)

HEADER = "<|start|>assistant\n"


class _Fixed:
    """A tokenizer that gives each text the ids that it is told."""

    all_special_ids = ()

    def __init__(self, ids: Mapping[str, list[int]], texts: Mapping[int, str]) -> None:
        self.ids, self.texts = ids, texts

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        assert not add_special_tokens
        return self.ids[text]

    def decode(self, token_ids: list[int], **_: bool) -> str:
        return "".join(self.texts[i] for i in token_ids)

    def get_vocab(self) -> dict[str, int]:
        return {text: i for i, text in self.texts.items()}

    def convert_tokens_to_ids(self, tokens: str) -> int | None:
        return self.get_vocab().get(tokens)


@pytest.fixture(scope="session")
def tokenizers(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    return {
        "byte-level": byte_level(*spaced()),
        "byte-level, no ' A'": byte_level(),
        "byte-level, half": byte_level(*spaced("ABCDEFGHIJKLM")),
        "byte-level, '(A'": byte_level(
            *spaced(), *(("(", letter) for letter in LETTERS), splits=QWEN2_SPLITS
        ),
        "byte-level, double newline": byte_level(*spaced(), ("Ċ", "Ċ")),
        "metaspace": metaspace("first"),
        "metaspace, begin": metaspace("first", begin=True),
        "metaspace, always": metaspace("always"),
        "metaspace, never": metaspace("never"),
        "metaspace, half": metaspace("always", spaced="ABCDEFGHIJKLM"),
        "metaspace, no letters": metaspace("first", spaced="", bare=""),
        "word-piece": word_piece(),
        "word-piece, lower case": word_piece(lowercase=True),
        "bytes": byte_pieces(),
        "sentence-piece": sentence_piece(tmp_path_factory.mktemp("pieces"), keep_spaces=True),
        "sentence-piece, strips": sentence_piece(tmp_path_factory.mktemp("pieces"), keep_spaces=False),
    }


@pytest.fixture
def resolve(tokenizers: Mapping[str, Any]) -> Callable[..., LetterIds]:
    def resolve(name: str, letters: str = "ABC", *, context: str = HEADER, prefix: str = "") -> LetterIds:
        return LetterResolver(tokenizers[name]).resolve(context, list(letters), answer_prefix=prefix)

    return resolve


def _tokens(tokenizers: Mapping[str, Any], name: str, found: LetterIds) -> tuple[list[str], list[str]]:
    """The raw tokens of the prefix and of the letters."""
    tokenizer = tokenizers[name]
    return (
        tokenizer.convert_ids_to_tokens(list(found.prefix_ids)),
        tokenizer.convert_ids_to_tokens(list(found.ids)),
    )


@pytest.mark.parametrize(
    ("name", "context", "prefix", "prefix_tokens", "letter_tokens"),
    [
        ("byte-level", HEADER, "", [], ["A", "B"]),
        ("byte-level", HEADER, " ", [], ["ĠA", "ĠB"]),
        ("byte-level", "ASSISTANT:", " ", [], ["ĠA", "ĠB"]),
        ("byte-level", HEADER, "x: ", ["x", ":"], ["ĠA", "ĠB"]),
        ("byte-level", HEADER, "x:", ["x", ":"], ["A", "B"]),
        ("byte-level, no ' A'", HEADER, "x: ", ["x", ":", "Ġ"], ["A", "B"]),
        ("byte-level, '(A'", HEADER, "(", [], ["(A", "(B"]),
        ("byte-level, double newline", "<|start|>x\n\n", "", [], ["A", "B"]),
        ("metaspace", HEADER, "", [], ["A", "B"]),
        ("metaspace", "", "", [], ["▁A", "▁B"]),
        ("metaspace", "x:", " ", [], ["▁A", "▁B"]),
        ("metaspace", HEADER, "Answer: ", ["Answer", ":"], ["▁A", "▁B"]),
        ("metaspace, begin", "<s>x:", " ", [], ["▁A", "▁B"]),
        ("metaspace, always", "<|start|>", "", [], ["▁A", "▁B"]),
        ("metaspace, never", "<|start|>", "", [], ["A", "B"]),
        ("metaspace, no letters", "<|start|>x:", "", [], ["<0x41>", "<0x42>"]),
        ("word-piece", HEADER, "", [], ["A", "B"]),
        ("word-piece", HEADER, "Answer: ", ["Answer", ":"], ["A", "B"]),
        ("bytes", HEADER, "", [], ["A", "B"]),
        ("sentence-piece", "<|start|>x:", " ", [], ["▁A", "▁B"]),
        ("sentence-piece", "<|start|>x\n", "", [], ["A", "B"]),
        ("sentence-piece", "<|start|>", "", [], ["A", "B"]),
        # This one writes a line's end as a space, and none at all at the end of a text.
        ("sentence-piece, strips", "<|start|>x\n", "", [], ["▁A", "▁B"]),
    ],
)
def test_the_id_is_that_of_the_token_the_model_would_write(
    tokenizers: Mapping[str, Any],
    resolve: Callable[..., LetterIds],
    name: str,
    context: str,
    prefix: str,
    prefix_tokens: list[str],
    letter_tokens: list[str],
) -> None:
    found = resolve(name, "AB", context=context, prefix=prefix)
    assert _tokens(tokenizers, name, found) == (prefix_tokens, letter_tokens)


def test_encoding_a_letter_alone_gives_another_id(tokenizers: Mapping[str, Any]) -> None:
    """The traps that the resolver is there for."""
    begin, plain = tokenizers["metaspace, begin"], tokenizers["byte-level"]
    in_context = LetterResolver(begin).resolve("<s>x\n", ["A"]).ids[0]
    assert begin.encode("A") == [begin.bos_token_id, begin.convert_tokens_to_ids("▁A")]
    assert in_context == begin.convert_tokens_to_ids("A")
    after_prefix = LetterResolver(plain).resolve(HEADER, ["A"], answer_prefix="x: ").ids[0]
    assert plain.convert_tokens_to_ids("A") != after_prefix


@pytest.mark.parametrize(
    ("name", "letters", "context", "prefix", "expected"),
    [
        # Half of the letters have a merged ' A', the others follow a space of its own.
        ("byte-level, half", "AZ", HEADER, "x: ", "Z: follows the ids"),
        ("metaspace, half", "AZ", "<|start|>", "", "Z: takes 2 ids"),
        # The header ends in a space, which the tokenizer puts into the letter's token.
        ("byte-level", "AB", "ASSISTANT: ", "", "A: one token spans the end of the context"),
        ("metaspace", "AB", "x: ", "", "A: one token spans the end of the context"),
        # Every letter of an uncased tokenizer reads otherwise when decoded.
        ("word-piece, lower case", "AB", HEADER, "", "read 'a' when decoded"),
        # '##A' reads as it is written.
        ("word-piece", "AB", "assistant", "", "read '##A' when decoded"),
        ("word-piece", "AB", HEADER, "答", "ids [0] read '<unk>' when decoded"),
    ],
)
def test_a_letter_without_an_id_of_its_own_is_an_error(
    resolve: Callable[..., LetterIds], name: str, letters: str, context: str, prefix: str, expected: str
) -> None:
    with pytest.raises(LettersError) as caught:
        resolve(name, letters, context=context, prefix=prefix)
    message = str(caught.value)
    assert expected in message
    for letter in letters:
        assert f"  {letter}: in context" in message
        assert f"encode({letter!r}) = [" in message
        assert f"convert_tokens_to_ids({letter!r}) = " in message
    assert "what to change: " in message
    assert "answer_prefix" in message


def test_a_space_that_went_into_the_letters_token_is_seen_though_decoding_hides_it() -> None:
    ids = {"x ": [1, 2], "x A": [1, 3], "x  A": [1, 2, 3], "A": [3]}
    texts = {1: "x", 2: "", 3: "A"}
    with pytest.raises(LettersError, match="A: one token spans the end of the context"):
        LetterResolver(_Fixed(ids, texts)).resolve("x ", ["A"])
    # With a space more, the same id follows the context itself.
    assert LetterResolver(_Fixed(ids, texts)).resolve("x ", ["A"], answer_prefix=" ").ids == (3,)


def test_letters_unknown_to_the_tokenizer_are_an_error() -> None:
    with pytest.raises(LettersError, match=r"Q: ids .* read '<unk>' when decoded"):
        LetterResolver(byte_level(skip="QX")).resolve(HEADER, ["Q", "X"])


def test_two_letters_with_the_same_id_are_an_error() -> None:
    class Shared(_Fixed):
        def decode(self, token_ids: list[int], **_: bool) -> str:
            # What this tokenizer reads depends on how often it was asked: nothing but the ids tells.
            self.asked = getattr(self, "asked", -1) + 1
            return "AABB"[self.asked % 4]

    prefixes = ("", " ")
    ids = {f"x{p}{letter}": [1, 2] for p in prefixes for letter in "AB"} | {"x": [1], "A": [2], "B": [2]}
    with pytest.raises(LettersError, match="B: has the id 2 of A"):
        LetterResolver(Shared(ids, {1: "x", 2: "A"})).resolve("x", ["A", "B"])


def test_a_letter_that_adds_nothing_is_an_error() -> None:
    ids = {"x": [1], "xA": [1], "x A": [1], "A": []}
    with pytest.raises(LettersError, match="A: adds no id at all"):
        LetterResolver(_Fixed(ids, {1: "x"})).resolve("x", ["A"])


@pytest.mark.parametrize("letters", [[], ["A", "A"], ["a"], ["AB"], ["1"], ["Ä"], [""]])
def test_only_different_letters_from_a_to_z_are_resolved(
    tokenizers: Mapping[str, Any], letters: list[str]
) -> None:
    with pytest.raises(LettersError, match="allowed: one or more of A to Z, each once"):
        LetterResolver(tokenizers["byte-level"]).resolve(HEADER, letters)


def test_the_error_offers_an_answer_prefix_that_works(resolve: Callable[..., LetterIds]) -> None:
    with pytest.raises(LettersError, match="'x:' would resolve"):
        resolve("byte-level, half", "AZ", prefix="x: ")
    assert resolve("byte-level, half", "AZ", prefix="x:").prefix_ids


def test_the_answers_row_comes_after_the_prefix() -> None:
    found = LetterIds(("A",), (7, 8), (1,), ((),))
    assert found.answer_step([7, 8, 1]) == 2
    assert found.answer_step([7, 8, 5, 5]) == 2
    assert found.answer_step([7, 8]) is None
    assert found.answer_step([7, 9, 1]) is None
    assert found.answer_step([]) is None
    assert LetterIds(("A",), (), (1,), ((),)).answer_step([3]) == 0


def test_other_spellings_are_found_in_every_way_of_writing_them() -> None:
    tokenizer = byte_level(
        *spaced("AB"), ("Ġ", "a"), ("A", "."), ("(", "A"), ("(A", ")"), ("A", "Ċ"), ("Ġa", "n"), ("A", "B"),
        ("ï", "¼"), ("ï¼", "¡"),
    )  # fmt: skip
    tokenizer.add_tokens(["[A]"])
    tokenizer.add_tokens(["{A}", "'a'"], special_tokens=True)
    found = LetterResolver(tokenizer).resolve(HEADER, ["A", "B", "S"])
    tokens = [set(tokenizer.convert_ids_to_tokens(list(ids))) for ids in found.spellings]
    assert tokens[0] == {
        "a",
        "ĠA",
        "Ġa",
        "A.",
        "(A",
        "(A)",
        "AĊ",
        "ï¼¡",
        "[A]",
    }  # 'ï¼¡' is the full-width letter
    assert tokens[1] == {"b", "ĠB"}
    assert tokens[2] == {"s"}  # and neither '<s>' nor '</s>'


def test_spellings_of_sentence_pieces_include_bytes_and_the_piece_with_a_space(
    tokenizers: Mapping[str, Any], resolve: Callable[..., LetterIds]
) -> None:
    found = resolve("metaspace", "A")
    tokens = tokenizers["metaspace"].convert_ids_to_tokens(list(found.spellings[0]))
    assert set(tokens) == {"▁A", "a", "<0x41>", "<0x61>"}


def test_the_vocabulary_is_searched_once(
    tokenizers: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = tokenizers["byte-level"]
    vocabulary = Mock(side_effect=tokenizer.get_vocab)
    monkeypatch.setattr(tokenizer, "get_vocab", vocabulary)
    resolver = LetterResolver(tokenizer)
    first = resolver.resolve(HEADER, ["A", "B"])
    assert resolver.resolve(HEADER, ["A", "B"]) == first
    resolver.resolve(HEADER, ["C"], answer_prefix="x: ")
    assert vocabulary.call_count == 1


CONTEXTS = st.one_of(
    st.text(max_size=12),
    st.text(alphabet=" \n:()▁AZaz##", max_size=6),
    st.sampled_from([HEADER, "ASSISTANT: ", "x\n\n", "<s>", "<|start|>", "[/INST]", "(", "é", "<0x41>"]),
)
PREFIXES = st.one_of(
    st.sampled_from(["", " ", "Answer: ", "(", "答案：", "\n", "**", "The answer is "]),
    st.text(alphabet=" :(An\n答#", max_size=5),
)


def _squeezed(text: str) -> str:
    return "".join(unicodedata.normalize("NFKC", text).split())


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(kind=0, letters=list(LETTERS), context=HEADER, prefix="Answer: ")
@given(
    kind=st.integers(0, 999),
    letters=st.lists(st.sampled_from(LETTERS), min_size=1, max_size=26, unique=True),
    context=CONTEXTS,
    prefix=PREFIXES,
)
def test_letters_resolve_to_ids_that_read_back_or_raise(
    tokenizers: Mapping[str, Any], kind: int, letters: list[str], context: str, prefix: str
) -> None:
    tokenizer = list(tokenizers.values())[kind % len(tokenizers)]
    try:
        found = LetterResolver(tokenizer).resolve(context, letters, answer_prefix=prefix)
    except LettersError:
        return
    assert found.letters == tuple(letters)
    assert len(found.ids) == len(set(found.ids)) == len(letters) == len(found.spellings)
    for letter, own in zip(letters, found.ids, strict=True):
        whole = tokenizer.decode([*found.prefix_ids, own], skip_special_tokens=False)
        assert _squeezed(whole) == _squeezed(prefix + letter)
        assert _squeezed(tokenizer.decode([own])).endswith(letter)
        # The text as the tokenizer itself would cut it ends in these very ids.
        whole_ids = tokenizer.encode(context + prefix + letter, add_special_tokens=False)
        assert tuple(whole_ids[-len(found.prefix_ids) - 1 :]) == (*found.prefix_ids, own)
    counted = [i for ids in found.spellings for i in ids]
    assert len(counted) == len(set(counted))
    assert not set(counted) & set(found.ids)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(letters=st.lists(st.sampled_from(LETTERS), min_size=1, max_size=26, unique=True))
def test_every_subset_of_letters_has_the_ids_of_the_whole(
    tokenizers: Mapping[str, Any], letters: list[str]
) -> None:
    resolver = LetterResolver(tokenizers["byte-level"])
    whole = resolver.resolve(HEADER, list(LETTERS), answer_prefix="x: ")
    part = resolver.resolve(HEADER, letters, answer_prefix="x: ")
    assert part.prefix_ids == whole.prefix_ids
    assert part.ids == tuple(whole.ids[LETTERS.index(letter)] for letter in letters)


@pytest.mark.parametrize("kind", ["byte-level", "metaspace", "sentence-piece"])
def test_a_prompt_must_end_as_its_context_does(tokenizers: Mapping[str, Any], kind: str) -> None:
    tokenizer = tokenizers[kind]
    resolver = LetterResolver(tokenizer)
    context = f"<image>what is it{HEADER}"
    ids = tokenizer.encode(context, add_special_tokens=False)
    resolver.require_end(context, ids)
    # What an image's place became, and a begin-of-text before it, are no matter.
    resolver.require_end(context, [1, 7, 7, 7, *ids[8:]])
    with pytest.raises(EngineError, match="cuts the prompt short, or adds to it: see truncation"):
        resolver.require_end(context, ids[:-1])


def test_what_the_tokenizer_adds_behind_every_text_is_named() -> None:
    from tokenizers import processors

    tokenizer = byte_level(*spaced())
    assert LetterResolver(tokenizer).added_behind() == []
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    resolver = LetterResolver(tokenizer)
    assert resolver.added_behind() == [2]
    with pytest.raises(EngineError, match=r"ends with .*</s>'.* adds '</s>' \(ids \[2\]\) behind every text"):
        resolver.require_end("What?", tokenizer.encode("What?"))


@pytest.mark.parametrize("kind", ["byte-level", "metaspace", "metaspace, begin", "bytes"])
@pytest.mark.parametrize("text", ["A", "Answer: (B) or", "1984", "二つ"])
def test_a_text_has_the_ids_that_go_on_from_the_prompt(
    tokenizers: Mapping[str, Any], kind: str, text: str
) -> None:
    tokenizer = tokenizers[kind]
    found = LetterResolver(tokenizer).target(HEADER, text, (0,))
    whole = tokenizer.encode(HEADER + text, add_special_tokens=False)
    assert whole[-len(found.target) :] == [*found.target]
    assert tokenizer.decode([*found.target], skip_special_tokens=False).split() == text.split()
    assert (found.letters, found.scored, found.steps) == ((), len(found.target) + 1, len(found.target) + 1)
    assert [found.wanted(step) for step in range(found.scored)] == [*((i,) for i in found.target), (0,)]


def test_a_text_that_does_not_read_back_is_refused() -> None:
    lower = LetterResolver(word_piece(lowercase=True))
    with pytest.raises(LettersError, match="found '##answer', ids"):
        lower.target("x", "Answer", (0,))


def test_a_text_needs_a_token_that_ends_it() -> None:
    with pytest.raises(EngineError, match="no stop token, so nothing tells where its answer ends"):
        LetterResolver(byte_level()).target(HEADER, "1984", ())


def test_a_text_may_not_hold_what_ends_it() -> None:
    tokenizer = byte_level()
    ids = tokenizer.encode("1984", add_special_tokens=False)
    with pytest.raises(LettersError, match="do not end the answer"):
        LetterResolver(tokenizer).target(HEADER, "1984", (ids[-1],))
