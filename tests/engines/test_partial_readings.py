"""Partial readings: what the list does not show is bounded, never zero."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.distributions import log_softmax
from harness.engines.contract import Entry
from harness.engines.letters import LetterIds
from harness.engines.readings import TextEntry, ceiling, read_top, read_top_texts
from harness.errors import EngineError, ErrorKind

LETTERS = LetterIds(("A", "B", "C"), (), (10, 11, 12), ((40, 41), (42,), (43,)))


def logs(**probabilities: float) -> dict[int, float]:
    return {int(name[1:]): math.log(p) for name, p in probabilities.items()}


def test_letters_in_the_list_are_exact_and_others_have_ceilings() -> None:
    reading = read_top("top", [logs(_11=0.6, _10=0.2, _40=0.15)], [11], letter_ids=LETTERS)
    assert reading.partial
    assert reading.log_z == 0.0
    assert reading.letter_logits[:2] == (math.log(0.2), math.log(0.6))
    assert reading.letter_logits[2] == -math.inf
    assert reading.letter_ceilings[:2] == reading.letter_logits[:2]
    # 0.05 is left over, less than the smallest entry of 0.15.
    assert math.exp(reading.letter_ceilings[2]) == pytest.approx(0.05, abs=2e-6)
    assert reading.argmax == (11,)
    assert reading.logprobs == (math.log(0.6),)
    assert reading.top[0] == Entry(11, math.log(0.6))
    assert reading.other_spellings == pytest.approx((0.15, 0.0, 0.0))
    assert reading.letter_ranks == ()


def test_the_smallest_entry_bounds_what_is_outside() -> None:
    assert math.exp(ceiling([math.log(0.5), math.log(0.01)])) == pytest.approx(0.01)
    assert ceiling([]) == 0.0
    # A list that sums to 1 leaves nothing but its rounding.
    assert math.exp(ceiling([math.log(0.5), math.log(0.5)])) == pytest.approx(1e-6)


@given(st.integers(0, 10_000), st.integers(1, 63))
def test_no_letter_is_ever_above_its_ceiling(seed: int, count: int) -> None:
    row = np.random.default_rng(seed).normal(0.0, 3.0, 64).astype(np.float32)
    logprobs = log_softmax(row)
    best = [int(i) for i in np.argsort(-logprobs, kind="stable")[:count]]
    reading = read_top("top", [{i: float(logprobs[i]) for i in best}], best[:1], letter_ids=LETTERS)
    for token, low, high in zip(LETTERS.ids, reading.letter_logits, reading.letter_ceilings, strict=True):
        assert low <= logprobs[token] <= high + 1e-12


def test_a_model_that_never_wrote_the_prefix_has_no_answer_row() -> None:
    letters = LetterIds(("A", "B"), (7,), (10, 11), ((), ()))
    reading = read_top("top", [{5: -0.1}], [5], letter_ids=letters)
    assert reading.log_z is None
    assert not reading.partial


@pytest.mark.parametrize(
    ("tops", "generated", "kind"),
    [
        ([], [11], ErrorKind.FAILED),
        ([{10: -0.1}], [11], ErrorKind.FAILED),
        ([{11: math.nan}], [11], ErrorKind.NOT_FINITE),
        ([{11: 0.5}], [11], ErrorKind.NOT_FINITE),
        ([{11: -math.inf}], [11], ErrorKind.NOT_FINITE),
    ],
)
def test_lists_that_cannot_be_right_are_refused(
    tops: list[dict[int, float]], generated: list[int], kind: ErrorKind
) -> None:
    with pytest.raises(EngineError) as caught:
        read_top("top", tops, generated, letter_ids=LETTERS)
    assert caught.value.kind is kind


def test_by_text_letters_are_found_as_spelled_in_their_place() -> None:
    top = [TextEntry(" B", math.log(0.7)), TextEntry(" A", math.log(0.1)), TextEntry("B", math.log(0.05))]
    top.append(TextEntry(" B", math.log(0.02)))  # another token that reads the same
    reading = read_top_texts(
        "chat",
        top,
        [math.log(0.7)],
        letters=(" A", " B", " C"),
        spellings=(("A", "a"), ("B", "b"), ("C", "c")),
    )
    assert reading.letter_logits == (math.log(0.1), math.log(0.7), -math.inf)
    assert reading.other_spellings == pytest.approx((0.0, 0.07, 0.0))
    assert math.exp(reading.letter_ceilings[2]) == pytest.approx(0.02)
    assert reading.argmax == ()
    assert reading.top == ()


def test_by_text_without_the_answers_row_and_with_nan() -> None:
    bare = read_top_texts("chat", None, [-0.5], letters=("A",), spellings=(("a",),))
    assert bare.log_z is None
    assert bare.logprobs == (-0.5,)
    with pytest.raises(EngineError, match="answer's row"):
        read_top_texts("chat", [TextEntry("A", math.nan)], [-0.5], letters=("A",), spellings=((),))
