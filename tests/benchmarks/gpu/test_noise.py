"""How far two engines' answers are apart."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from benchmarks.gpu.noise import Noise, noise_between
from harness.distributions import softmax
from harness.engines.contract import Answer, Reading
from harness.engines.letters import LetterIds
from harness.engines.readings import read_rows

LETTERS = LetterIds(("A", "B"), (), (0, 1), ((), ()))


def answer(row: Sequence[float]) -> Answer:
    logits = np.asarray([row], dtype=np.float32)
    generated = (int(logits[0].argmax()),)
    reading = read_rows("forward", logits, generated, letter_ids=LETTERS, top_k=0)
    return Answer(
        prompt_ids=(1,),
        generated_ids=generated,
        text="",
        letter_ids=LETTERS.ids,
        answer_step=0,
        readings=(reading,),
    )


def test_what_shifts_a_whole_row_is_no_noise() -> None:
    found = noise_between("a", "b", [(answer([3.0, 1.0, 0.0]), answer([13.0, 11.0, 10.0]))])
    assert (found.log_odds, found.flips) == (0.0, 0)


def test_equal_answers() -> None:
    same = (answer([3.0, 1.0, 0.0]), answer([3.0, 1.0, 0.0]))
    assert noise_between("a", "b", [same]) == Noise(
        left="a", right="b", cases=1, largest=0.0, median=0.0, log_odds=0.0, flips=0
    )


def test_the_figures_of_two_cases() -> None:
    calm = (answer([3.0, 1.0, 0.0]), answer([3.0, 1.0, 0.0]))
    flipped = (answer([2.0, 1.0, 0.0]), answer([1.0, 2.0, 0.0]))
    found = noise_between("a", "b", [calm, flipped])
    change = float(softmax([2.0, 1.0, 0.0])[0] - softmax([1.0, 2.0, 0.0])[0])
    assert found.largest == pytest.approx(change)
    assert found.median == pytest.approx(change / 2)
    # The centred log-odds of the second case go from ±0.5 to ∓0.5.
    assert found.log_odds == pytest.approx(math.sqrt((0 + 0 + 1 + 1) / 4))
    assert (found.cases, found.flips) == (2, 1)


def test_a_case_without_an_answer_row_is_left_out() -> None:
    mute = Answer(
        prompt_ids=(1,),
        generated_ids=(2,),
        text="",
        letter_ids=LETTERS.ids,
        answer_step=None,
        readings=(Reading(path="forward", argmax=(2,), logprobs=(0.0,)),),
    )
    assert noise_between("a", "b", [(mute, answer([3.0, 1.0, 0.0]))]) == Noise(left="a", right="b", cases=0)
