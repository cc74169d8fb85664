"""Where images stand among a request's texts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.engines.contract import Request

WORDS = st.text("ab {}:image1<>\n", max_size=12).filter(lambda text: "{image:" not in text)


def asked(prompt: str, count: int) -> Request:
    return Request(case="x", prompt=prompt, letters=("A", "B"), images=tuple("abcdefgh"[:count]))


def test_images_stand_before_a_prompt_that_names_no_place() -> None:
    assert asked("Which?", 2).parts == (0, 1, "Which?")
    assert asked("Which?", 2).shown == ("a", "b")
    assert asked("{image:1} of text", 0).parts == ("{image:1} of text",)
    assert not asked("{image:1} of text", 0).marked


@given(st.permutations(range(4)), st.lists(WORDS, min_size=5, max_size=5))
def test_images_stand_where_the_prompt_names_them(order: list[int], words: list[str]) -> None:
    prompt = words[0] + "".join(
        f"{{image:{place + 1}}}{word}" for place, word in zip(order, words[1:], strict=True)
    )
    request = asked(prompt, 4)
    assert request.marked
    assert "".join(f"{{image:{p + 1}}}" if isinstance(p, int) else p for p in request.parts) == prompt
    assert "" not in request.parts
    assert request.shown == tuple("abcd"[place] for place in order)


def test_a_place_of_no_image_is_an_error() -> None:
    with pytest.raises(IndexError):
        _ = asked("{image:3}", 2).parts
