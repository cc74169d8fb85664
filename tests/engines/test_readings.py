from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.distributions import log_softmax, logsumexp, top_k
from harness.engines.contract import Entry
from harness.engines.letters import LetterIds
from harness.engines.readings import NotFinite, RowReader, read_rows
from harness.errors import EngineError, ErrorKind

AB = LetterIds(letters=("A", "B"), prefix_ids=(), ids=(1, 3), spellings=((0,), (4, 9)))


def _log_softmax(row: list[float]) -> list[float]:
    """Written out plainly, for small logits."""
    z = math.fsum(math.exp(x) for x in row)
    return [x - math.log(z) for x in row]


def test_the_answers_row_is_kept_with_its_letters_top_and_other_spellings() -> None:
    row = [0.5, 2.0, -1.0, 1.0, 0.25, 1.5]
    logprobs = _log_softmax(row)
    reading = read_rows("forward", [row], [1], letter_ids=AB, top_k=3)
    assert reading.path == "forward"
    assert reading.argmax == (1,)
    assert reading.logprobs == pytest.approx((logprobs[1],), abs=1e-15)
    assert reading.letter_logits == (2.0, 1.0)
    assert reading.log_z == pytest.approx(2.0 - logprobs[1], abs=1e-15)
    assert [entry.id for entry in reading.top] == [1, 5, 3]
    assert [entry.logprob for entry in reading.top] == pytest.approx([logprobs[i] for i in (1, 5, 3)])
    # B's other spelling 9 lies beyond the model's columns and cannot be drawn.
    assert reading.other_spellings == pytest.approx((math.exp(logprobs[0]), math.exp(logprobs[4])))
    assert reading.letter_ranks == (0, 2)
    assert not reading.partial


@given(st.lists(st.integers(-3, 3), min_size=4, max_size=9))
def test_a_letters_rank_is_its_place_in_the_whole_order(row: list[int]) -> None:
    order = sorted(range(len(row)), key=lambda i: (-row[i], i))
    reading = read_rows("forward", [np.array(row, dtype=np.float32)], [0], letter_ids=AB, top_k=0)
    assert reading.letter_ranks == (order.index(1), order.index(3))


def test_the_answers_row_is_the_one_after_the_prefix() -> None:
    later = LetterIds(letters=("A", "B"), prefix_ids=(2, 0), ids=(1, 3), spellings=((), ()))
    rows = np.zeros((4, 5), dtype=np.float32)
    rows[[0, 1, 2, 3], [2, 0, 3, 4]] = 1.0
    rows[2, 1] = 0.5
    reading = read_rows("captured", rows, [2, 0, 3, 4], letter_ids=later, top_k=1)
    assert reading.argmax == (2, 0, 3, 4)
    assert reading.letter_logits == (0.5, 1.0)
    assert [entry.id for entry in reading.top] == [3]


def test_nothing_is_said_of_letters_where_the_model_did_not_write_the_prefix() -> None:
    later = LetterIds(letters=("A",), prefix_ids=(2,), ids=(1,), spellings=((0,),))
    reading = read_rows("forward", [[0.0, 1.0, 0.0]], [1], letter_ids=later, top_k=3)
    assert (reading.letter_logits, reading.log_z, reading.top, reading.other_spellings) == ((), None, (), ())
    assert reading.argmax == (1,)
    assert len(reading.logprobs) == 1


def test_the_lowest_of_equally_probable_ids_is_the_argmax() -> None:
    reading = read_rows("forward", [[0.0, 2.0, 1.0, 2.0, 2.0]], [3], letter_ids=AB, top_k=2)
    assert reading.argmax == (1,)
    assert [entry.id for entry in reading.top] == [1, 3]


@pytest.mark.parametrize(("asked", "kept"), [(0, 0), (2, 2), (9, 4)])
def test_top_holds_no_more_than_can_be_drawn(asked: int, kept: int) -> None:
    row = [0.0, 1.0, -np.inf, 0.5, 0.25]
    top = read_rows("forward", [row], [1], letter_ids=AB, top_k=asked).top
    assert len(top) == kept
    assert Entry(2, -math.inf) not in top


@pytest.mark.parametrize("poison", [np.nan, np.inf])
@pytest.mark.parametrize("where", [(0, 2), (1, 0)])
def test_nan_and_infinity_are_refused_in_every_row(poison: float, where: tuple[int, int]) -> None:
    rows = np.zeros((2, 5), dtype=np.float32)
    rows[where] = poison
    with pytest.raises(NotFinite, match=rf"1 of 10 logits are NaN or \+inf.*tokens \[{where[0]}\]") as caught:
        read_rows("forward", rows, [1, 1], letter_ids=AB, top_k=0)
    assert caught.value.kind is ErrorKind.NOT_FINITE


def test_minus_infinity_is_refused_at_a_letter_and_at_a_generated_token() -> None:
    with pytest.raises(NotFinite, match=r"letters \['B'\] are -inf"):
        read_rows("forward", [[0.0, 1.0, 0.0, -np.inf]], [1], letter_ids=AB, top_k=0)
    with pytest.raises(NotFinite, match=r"generated token is -inf at \[1\]"):
        read_rows("forward", [[0.0] * 4, [-np.inf, 0.0, 0.0, 0.0]], [1, 0], letter_ids=AB, top_k=0)
    # Behind the answer's row a letter may be impossible.
    read_rows("forward", [[0.0] * 4, [0.0, 0.0, 0.0, -np.inf]], [1, 0], letter_ids=AB, top_k=0)


def test_rows_that_do_not_fit_the_tokens_are_refused() -> None:
    with pytest.raises(EngineError, match=r"shape \(2, 4\) for 1 generated tokens"):
        read_rows("forward", np.zeros((2, 4)), [1], letter_ids=AB, top_k=0)
    with pytest.raises(EngineError, match=r"shape \(4,\) for 1 generated tokens"):
        read_rows("forward", np.zeros(4), [1], letter_ids=AB, top_k=0)


def test_ids_beyond_the_models_columns_are_refused() -> None:
    with pytest.raises(EngineError, match=r"ids \[3\] lie beyond the 3 columns") as caught:
        read_rows("forward", [[0.0, 1.0, 0.0]], [1], letter_ids=AB, top_k=0)
    assert caught.value.kind is ErrorKind.FAILED
    with pytest.raises(EngineError, match=r"ids \[7\] lie beyond the 5 columns"):
        read_rows("forward", [[0.0] * 5], [7], letter_ids=AB, top_k=0)


@given(
    row=st.lists(st.floats(-60, 60, width=32), min_size=5, max_size=40),
    shift=st.integers(-1000, 1000),
    count=st.integers(0, 45),
)
def test_shifting_all_logits_changes_no_probability(row: list[float], shift: int, count: int) -> None:
    # Exact sums of float32 and an integer may need float64; the reading must use it.
    shifted = [float(Fraction(x) + shift) for x in row]
    one = read_rows("forward", [row], [0], letter_ids=AB, top_k=count)
    two = read_rows("forward", [shifted], [0], letter_ids=AB, top_k=count)
    assert one.log_z is not None
    assert two.log_z is not None
    assert two.log_z - one.log_z == pytest.approx(shift, abs=1e-9)
    assert two.logprobs == pytest.approx(one.logprobs, abs=1e-9)
    assert two.other_spellings == pytest.approx(one.other_spellings, abs=1e-9)
    assert [e.logprob for e in two.top] == pytest.approx([e.logprob for e in one.top], abs=1e-9)
    assert [e.logprob for e in one.top] == sorted((e.logprob for e in one.top), reverse=True)
    assert math.fsum(math.exp(e.logprob) for e in one.top) <= 1.0 + 1e-12
    if count >= len(row):
        assert math.fsum(math.exp(e.logprob) for e in one.top) == pytest.approx(1.0, abs=1e-12)


def test_probabilities_are_computed_in_float64() -> None:
    # In float32 the second logit's share of the denominator would vanish.
    rows = np.array([[20.0, 0.0, 0.0, 0.0, 0.0]], dtype=np.float32)
    reading = read_rows("forward", rows, [0], letter_ids=AB, top_k=0)
    assert reading.logprobs[0] == pytest.approx(-math.log1p(4 * math.exp(-20.0)), rel=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_rows_taken_one_by_one_are_read_as_all_at_once(dtype: str) -> None:
    """To the last bit, against what is made of the whole array [T, V]."""
    rows = (np.random.default_rng(3).normal(size=(40, 3000)) * 5).astype(dtype).astype(np.float32)
    rows[7, :5] = rows[7].max()  # equals, of which the lowest id is the most probable
    rows[9, 40:] = -np.inf
    ids = [5, *rows[1:].argmax(axis=1)]
    letters = LetterIds(("A", "B"), (5, ids[1]), (11, 12), ((), (13,)))
    reader = RowReader("forward", letters, top_k=20)
    for row, token in zip(rows, ids, strict=True):
        reader.add(row, token)
    reading = reader.reading()

    assert reading.argmax == tuple(rows.argmax(axis=1).tolist())
    assert reading.logprobs == tuple(float(log_softmax(row)[i]) for row, i in zip(rows, ids, strict=True))
    assert reading.letter_logits == tuple(rows[2, [11, 12]].tolist())
    assert reading.log_z == float(logsumexp(rows[2]))
    assert [entry.id for entry in reading.top] == top_k(rows[2], 20).ids.tolist()
    assert reading == read_rows("forward", rows, ids, letter_ids=letters, top_k=20)
    assert reader.answer is not None
    np.testing.assert_array_equal(reader.answer, rows[2])
    assert reader.answer.base is None  # of its own, or it would keep all others


def test_a_model_that_never_gets_to_the_answer_leaves_no_row() -> None:
    reader = RowReader("forward", LetterIds(("A",), (2,), (0,), ((),)), top_k=0)
    for token in (1, 0):
        reader.add(np.zeros(3), token)

    assert reader.answer is None
    assert reader.reading().log_z is None
