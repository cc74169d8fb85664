"""How far two answers are apart: letters, tokens on the way, and answers that are not there."""

from __future__ import annotations

import math

import pytest

from harness.drift.searching.distances import FAR, apart
from harness.engines.contract import Answer, Reading
from harness.errors import EngineError, ErrorKind

ERROR = EngineError(ErrorKind.UNSUPPORTED, "cannot\nlog")


def answer(*logits: float, ids: tuple[int, ...] = (7,), logprobs: tuple[float, ...] = (-1.0,)) -> Answer:
    reading = Reading(path="forward", argmax=ids, logprobs=logprobs, letter_logits=logits, log_z=1.0)
    return Answer(
        prompt_ids=(1,),
        generated_ids=ids,
        text="",
        letter_ids=(3, 4),
        answer_step=len(ids) - 1,
        readings=(reading,),
    )


@pytest.mark.parametrize(
    ("one", "other", "ratio", "what"),
    [
        (answer(0.0, -2.0), answer(0.0, -2.3), 3.0, "log-probability of B: -3 and -3.3"),
        (answer(0.0, -math.inf), answer(0.0, -2.3), 0.0, ""),
        (answer(0.0, -2.0), ERROR, FAR, "one side only could answer; the other: unsupported: cannot"),
        (answer(0.0, 0.0), answer(0.0, 0.0, logprobs=(-1.2,)), 2.0, "generated token 0: -1 and -1.2"),
        # Behind the first token that is another one the two go different ways.
        (
            answer(0.0, 0.0, ids=(5, 7), logprobs=(-0.6, -1.0)),
            answer(0.0, 0.0, ids=(6, 7), logprobs=(-0.7, -9.0)),
            1.0,
            "generated token 0",
        ),
        (answer(0.0, -9e9), answer(0.0, 9e9), FAR, "log-probability of B"),
    ],
)  # fmt: skip
def test_the_largest_difference_counts(one: Answer, other: Answer, ratio: float, what: str) -> None:
    found = apart(one, other, ("A", "B"), 0.1)
    assert found is not None
    assert found.ratio == pytest.approx(ratio)
    assert what in found.what


def test_what_neither_answers_is_no_disagreement() -> None:
    assert apart(ERROR, ERROR, ("A", "B"), 0.1) is None
