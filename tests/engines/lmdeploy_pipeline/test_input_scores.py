"""The path ``scored``: from the entries that LMDeploy gives for its own input to a reading."""

from __future__ import annotations

import asyncio

import pytest

from harness.engines.letters import LetterIds
from harness.engines.lmdeploy_pipeline.input_scores import InputScores, score_inputs
from tests.engines.lmdeploy_pipeline.stand_in import New, install, row, steps_on

TALK = [{"role": "user", "content": "A"}]
LETTERS = LetterIds(("A", "B"), (4,), (5, 2), ((), ()))


TEXT = LetterIds((), (), (), (), (4, 6), (5, 7))


def scores(
    monkeypatch: pytest.MonkeyPatch, generated: tuple[int, ...], letter_ids: LetterIds = LETTERS
) -> InputScores:
    install(monkeypatch)
    steps = steps_on(New())

    async def ask() -> InputScores:
        prepared = await steps.prepare(TALK)
        return await score_inputs(steps, prepared, generated, letter_ids=letter_ids, count=1)

    return asyncio.run(ask())


def test_every_letter_is_scored_behind_the_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    found = scores(monkeypatch, (4, 5))
    reading = found.reading((4, 5), letter_ids=LETTERS, top_k=1)
    first, answer = row(3).log_softmax(-1), row(4).log_softmax(-1)

    assert reading.logprobs == pytest.approx((float(first[4]), float(answer[5])))
    assert reading.letter_logits == pytest.approx((float(answer[5]), float(answer[2])))
    assert reading.letter_ceilings == reading.letter_logits
    assert reading.log_z == 0.0
    assert reading.argmax == (4, 5)
    assert [entry.id for entry in reading.top] == [5]
    assert reading.top[0].logprob == pytest.approx(float(answer[5]))


def test_the_most_probable_token_is_told_where_another_was_generated(monkeypatch: pytest.MonkeyPatch) -> None:
    reading = scores(monkeypatch, (4, 2)).reading((4, 2), letter_ids=LETTERS, top_k=1)

    assert reading.argmax == (4, 5)
    assert reading.logprobs[1] == pytest.approx(float(row(4).log_softmax(-1)[2]))


def test_without_the_prefix_there_is_no_letter_to_score(monkeypatch: pytest.MonkeyPatch) -> None:
    found = scores(monkeypatch, (6, 7))
    reading = found.reading((6, 7), letter_ids=LETTERS, top_k=1)

    assert found.letters == ()
    assert (reading.log_z, reading.letter_logits) == (None, ())
    assert len(reading.logprobs) == len(reading.argmax) == 2


def test_every_token_of_a_text_is_scored_and_all_that_may_end_it(monkeypatch: pytest.MonkeyPatch) -> None:
    reading = scores(monkeypatch, (4, 5), TEXT).reading((4, 5), letter_ids=TEXT, top_k=1)
    first, second, end = (row(last).log_softmax(-1) for last in (3, 4, 6))

    assert [score.logprob for score in reading.target] == pytest.approx(
        [float(first[4]), float(second[6]), float(end[[5, 7]].logsumexp(-1))]
    )
    assert [score.picked for score in reading.target] == [
        True,
        False,
        True,
    ]  # the model writes 4 5, and 7 behind 6
    assert reading.target[1].rival == 5
    assert reading.letter_logits[0] == pytest.approx(sum(score.logprob for score in reading.target))
