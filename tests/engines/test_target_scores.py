"""A text under teacher forcing: scores by rows and by lists, and what a reading makes of them."""

from __future__ import annotations

import math
from decimal import Decimal, localcontext

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.distributions import log1mexp, log_share, log_softmax
from harness.engines.codec import answer_from_json, answer_to_json
from harness.engines.contract import Reading, TokenScore
from harness.engines.letters import LetterIds
from harness.engines.readings import NotFinite, RowReader, read_top, row_misfit
from harness.engines.target_scores import score_entries, score_row, with_target
from tests.text_answers import STOP, TARGET, rows_for, text_answer

BARE = Reading(path="p", argmax=(), logprobs=())
IDS = LetterIds((), (), (), (), TARGET, (STOP, 4))


def exact(value: float, what: str) -> float:
    """log(1 - exp(value)) or exp(value), to more digits than 1 - exp(-700) has nines."""
    with localcontext() as context:
        context.prec = 340
        power = Decimal(value).exp()
        return float((1 - power).ln()) if what == "rest" else float(power)


@given(st.floats(-700, -1e-300))
def test_what_is_left_of_a_probability_keeps_its_digits(value: float) -> None:
    assert log1mexp(value) == pytest.approx(exact(value, "rest"), rel=1e-14, abs=1e-300)


@given(st.floats(-30, -1e-13))
def test_the_rest_of_the_rest_is_the_probability(value: float) -> None:
    rest = log1mexp(value)
    # What one side of it is known to goes by the other's size.
    assert log1mexp(rest) == pytest.approx(value, rel=1e-12 * (1 + abs(rest) + 1 / -math.expm1(value)))


@pytest.mark.parametrize("value", [math.nan, 1e-9, math.inf])
def test_no_log_probability_has_no_rest(value: float) -> None:
    with pytest.raises(ValueError, match="log1mexp: found"):
        log1mexp(value)


def test_all_of_the_probability_leaves_nothing() -> None:
    assert log1mexp(0.0) == -math.inf
    assert log_share([1.0, -math.inf], [0]) == 0.0


@given(st.lists(st.floats(-40, 40, width=32), min_size=2, max_size=6), st.data())
def test_a_share_is_exact_relative_to_its_size(row: list[float], data: st.DataObject) -> None:
    ids = data.draw(st.lists(st.integers(0, len(row) - 1), min_size=1, max_size=len(row) - 1, unique=True))
    with localcontext() as context:
        context.prec = 60
        powers = [Decimal(value).exp() for value in row]
        share = sum((powers[i] for i in ids), Decimal(0)) / sum(powers, Decimal(0))
        wanted = float(share.ln())
    assert log_share(row, ids) == pytest.approx(wanted, rel=1e-12)


def test_a_score_tells_the_token_its_rival_and_which_is_picked() -> None:
    row = np.array([0.0, 3.0, 2.0, -1.0], np.float32)
    own = log_softmax(row)
    assert score_row(row, (1,)) == pytest.approx((own[1], 3.0, 2, own[2], True))
    assert score_row(row, (2,)) == pytest.approx((own[2], 2.0, 1, own[1], False))
    ends = score_row(row, (2, 3))
    assert ends.logprob == pytest.approx(math.log(math.exp(own[2]) + math.exp(own[3])))
    assert (ends.rival, ends.picked) == (1, False)
    assert (
        score_row(np.array([2.0, 2.0], np.float32), (1,)).picked is False
    )  # of equals the lower id is written


def test_a_list_scores_what_it_holds() -> None:
    assert score_entries({7: -0.1, 3: -2.5}, (3, 4))[:1] == pytest.approx((-2.5,))
    assert score_entries({7: -0.1, 3: -2.5}, (3, 4))[2:] == (7, -0.1, False)
    unseen = score_entries({7: -0.1}, (3,))
    assert (unseen.logprob, unseen.picked) == (-math.inf, False)


@given(st.lists(st.floats(-50, -1e-12), min_size=1, max_size=8))
def test_text_and_anything_else_are_one_whole(logprobs: list[float]) -> None:
    scores = [TokenScore(value, 1.0, 5, math.log(-math.expm1(value)) - 1, picked=True) for value in logprobs]
    reading = with_target(BARE, scores, whole=len(scores))
    text, rest = reading.letter_logits
    assert math.exp(text) + math.exp(rest) == pytest.approx(1.0, abs=1e-6)
    assert text == pytest.approx(math.fsum(logprobs), rel=1e-6)
    assert math.isfinite(rest)
    assert not reading.partial


def test_a_certain_text_stays_finite() -> None:
    reading = with_target(BARE, [TokenScore(0.0, 1.0, -1, -math.inf, picked=True)], whole=1)
    assert all(map(math.isfinite, reading.letter_logits))


def test_values_in_float32_near_0_leave_a_bound() -> None:
    reading = with_target(BARE, [TokenScore(-1e-7, math.nan, 5, -17.0, picked=True)], whole=1)
    assert reading.partial
    assert reading.letter_logits[1] == -math.inf
    assert reading.letter_ceilings[1] == pytest.approx(math.log(1e-6))


def test_a_text_that_was_seen_in_part_has_a_ceiling() -> None:
    seen = [
        TokenScore(-0.5, math.nan, 5, -1.0, picked=True),
        TokenScore(-math.inf, math.nan, 6, -0.1, picked=False),
    ]
    reading = with_target(BARE, seen, whole=3, ceiling=-4.0)
    assert reading.letter_logits == (-math.inf, -math.inf)
    assert reading.letter_ceilings == pytest.approx((-4.5, 0.0))


def test_rows_that_are_written_and_rows_that_are_forced_make_one_reading() -> None:
    rows = rows_for(2.0, -1.0, 3.0)  # the model writes the rival in the second place
    written, forced = RowReader("p", IDS, top_k=5), RowReader("p", IDS, top_k=5)
    written.add(rows[0], 10)
    written.add(rows[1], 12)
    written.add(rows[2] * 2, 7)  # behind another text: no row of the target
    assert written.wanting == 1
    written.force(rows[2])
    for row in rows:
        forced.force(row)
    assert written.wanting == forced.wanting == 0
    assert written.reading().target == forced.reading().target
    assert [score.picked for score in written.reading().target] == [True, False, True]


def test_a_reader_takes_over_what_another_has_scored() -> None:
    rows = rows_for(2.0, 1.0, 3.0)
    first, second = RowReader("p", IDS, top_k=5), RowReader("p", IDS, top_k=5)
    for row in rows:
        first.force(row)
    second.keep(first)
    second.add(rows[0], 12)
    assert second.reading().target == first.reading().target
    again = RowReader("p", IDS, top_k=5)  # a later pass pads otherwise, so its rows are a hair apart
    again.keep(first)
    again.add(rows[0] * 1.001, 12)
    assert again.answer is not None
    assert score_row(again.answer, TARGET[:1]).logprob == again.reading().target[0].logprob


def test_a_bad_row_of_the_target_is_refused() -> None:
    rows = rows_for(2.0, 1.0, 3.0)
    rows[1, 20] = np.nan
    reader = RowReader("p", IDS, top_k=5)
    for row in rows:
        reader.force(row)
    with pytest.raises(NotFinite, match="1 of"):
        reader.reading()


def test_lists_tell_a_text_as_far_as_it_was_written() -> None:
    tops = [{10: -0.1, 12: -3.0}, {12: -0.2, 11: -2.0}, {9: -0.1, 8: -4.0}]
    reading = read_top("top-k", tops, (10, 12, 9), letter_ids=IDS)
    assert [score.logprob for score in reading.target] == pytest.approx([-0.1, -2.0])
    assert reading.letter_ceilings == pytest.approx((-2.1, 0.0))
    whole = read_top("top-k", [*tops[:1], {11: -0.2}, {STOP: -0.3, 8: -4.0}], (10, 11, STOP), letter_ids=IDS)
    assert whole.letter_logits[0] == pytest.approx(-0.6)


def test_a_text_outlives_its_journal_and_knows_its_row() -> None:
    answer = text_answer({"forward": rows_for(2.0, -1.0, 3.0), "generate": rows_for(2.0, -1.0, 3.0)})
    back = answer_from_json(answer_to_json(answer))
    assert back.target_ids == TARGET
    assert back.token_texts == answer.token_texts
    for one, other in zip(back.readings, answer.readings, strict=True):
        assert one.letter_logits == other.letter_logits
        assert np.allclose(np.array(one.target), np.array(other.target), rtol=1e-8, atol=0)
    row = answer.rows["forward"]
    assert row_misfit(row, back.readings[0], back) == ""
    assert "for the first token of the text" in row_misfit(row[::-1].copy(), back.readings[0], back)
