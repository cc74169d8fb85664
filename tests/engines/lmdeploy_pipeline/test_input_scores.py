"""The path ``scored``: from the entries that LMDeploy gives for its own input to a reading."""

from __future__ import annotations

import asyncio

import pytest

from harness.engines.letters import LetterIds
from harness.engines.lmdeploy_pipeline.input_scores import InputScores, score_inputs
from tests.engines.lmdeploy_pipeline.stand_in import New, install, row, steps_on

TALK = [{"role": "user", "content": "A"}]
LETTERS = LetterIds(("A", "B"), (4,), (5, 2), ((), ()))


def scores(monkeypatch: pytest.MonkeyPatch, generated: tuple[int, ...]) -> InputScores:
    install(monkeypatch)
    steps = steps_on(New())

    async def ask() -> InputScores:
        prepared = await steps.prepare(TALK)
        return await score_inputs(steps, prepared, generated, letter_ids=LETTERS, count=1)

    return asyncio.run(ask())


def test_every_letter_is_scored_behind_the_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    found = scores(monkeypatch, (4, 5))
    reading = found.reading((4, 5), step=1, top_k=1)
    first, answer = row(3).log_softmax(-1), row(4).log_softmax(-1)

    assert reading.logprobs == pytest.approx((float(first[4]), float(answer[5])))
    assert reading.letter_logits == pytest.approx((float(answer[5]), float(answer[2])))
    assert reading.letter_ceilings == reading.letter_logits
    assert reading.log_z == 0.0
    assert reading.argmax == (4, 5)
    assert [entry.id for entry in reading.top] == [5]
    assert reading.top[0].logprob == pytest.approx(float(answer[5]))


def test_the_most_probable_token_is_told_where_another_was_generated(monkeypatch: pytest.MonkeyPatch) -> None:
    reading = scores(monkeypatch, (4, 2)).reading((4, 2), step=1, top_k=1)

    assert reading.argmax == (4, 5)
    assert reading.logprobs[1] == pytest.approx(float(row(4).log_softmax(-1)[2]))


def test_without_the_prefix_there_is_no_letter_to_score(monkeypatch: pytest.MonkeyPatch) -> None:
    found = scores(monkeypatch, (6, 7))
    reading = found.reading((6, 7), step=None, top_k=1)

    assert found.letters == ()
    assert (reading.log_z, reading.letter_logits) == (None, ())
    assert len(reading.logprobs) == len(reading.argmax) == 2
