"""The letter's place among token texts, in the ways in which servers write tokens."""

from __future__ import annotations

from typing import Any

import pytest

from harness.engines.api_server.tokens import (
    Place,
    Spelling,
    other_spellings,
    place_of,
    spelling_of,
    tokens_of,
)
from harness.engines.readings import TextEntry


def item(token: str, logprob: float = -0.1, *top: tuple[str, float], **more: Any) -> dict[str, Any]:
    entries = [{"token": text, "logprob": value, **more} for text, value in top]
    return {"token": token, "logprob": logprob, "top_logprobs": entries, **more}


@pytest.mark.parametrize(
    ("texts", "prefix", "place"),
    [
        (["A"], "", Place(0, "")),
        (["The", " answer"], "", Place(0, "")),
        (["Answer", ":", " A"], "Answer: ", Place(2, " ")),
        (["Answer", ":", " ", "A"], "Answer: ", Place(3, "")),
        (["Answer: ", "A"], "Answer: ", Place(1, "")),
        (["Answer", ":", "A"], "Answer: ", Place(2, " ")),  # the letter as expected there was not written
        (["Answer", ":"], "Answer: ", None),
        (["It", " is", " A"], "Answer: ", None),
        ([], "", None),
    ],
)
def test_the_letters_place(texts: list[str], prefix: str, place: Place | None) -> None:
    assert place_of(texts, prefix) == place


def test_byte_level_vocabularies_are_read() -> None:
    content = [item("ĠA", -0.1, ("æĺ¯", -3.0), ("<|im_end|>", -4.0))]
    assert spelling_of(["ĠA"]) is Spelling.BYTE_LEVEL
    (token,) = tokens_of(content, Spelling.BYTE_LEVEL)
    assert token.top == (TextEntry(" A", -0.1), TextEntry("是", -3.0), TextEntry("<|im_end|>", -4.0))


def test_sentence_piece_vocabularies_are_read() -> None:
    assert spelling_of(["A", "▁A"]) is Spelling.SENTENCE_PIECE
    (token,) = tokens_of([item("▁A", -0.1, ("<0x41>", -3.0))], Spelling.SENTENCE_PIECE)
    assert [entry.text for entry in token.top] == [" A", "A"]


def test_text_is_taken_from_its_bytes() -> None:
    assert spelling_of([" A", "是"]) is Spelling.TEXT
    (token,) = tokens_of([item("\\xe6", -0.1, bytes=[65])], Spelling.TEXT)
    assert token.text == "A"
    (token,) = tokens_of([item(" A", -0.1, bytes=None)], Spelling.TEXT)
    assert token.text == " A"


def test_the_generated_token_is_in_its_list_once_whether_the_server_says_so_or_not() -> None:
    without = tokens_of([item("A", -0.1, ("B", -2.5))], Spelling.TEXT)
    within = tokens_of([item("A", -0.1, ("A", -0.1), ("B", -2.5))], Spelling.TEXT)
    assert without == within


@pytest.mark.parametrize("content", [[{"token": "A"}], [{"token": 3, "logprob": 0.0}], ["A"]])
def test_what_is_no_list_of_tokens_is_refused(content: list[Any]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        tokens_of(content, Spelling.TEXT)


def test_other_spellings_leave_out_the_one_in_its_place() -> None:
    assert " A" not in other_spellings("A", " ")
    assert {"A", "a", " a"} <= set(other_spellings("A", " "))
    assert "A" not in other_spellings("A", "")
