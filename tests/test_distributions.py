"""Probabilities and distances: properties, extremes and bad input."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from harness.distributions import (
    LOG_2,
    js_divergence,
    kl_divergence,
    log_softmax,
    logsumexp,
    softmax,
    top_k,
    total_variation,
)

Floats = npt.NDArray[np.float64]

finite = st.floats(-1e4, 1e4, allow_nan=False, width=32)


@st.composite
def logits(draw: st.DrawFn, size: int | None = None) -> Floats:
    """A row with extremes, ties and tokens that cannot be drawn; at least one value is finite."""
    count = draw(st.integers(1, 40)) if size is None else size
    values = finite | st.sampled_from([-np.inf, 0.0, 1e4, -1e4])
    row = draw(st.lists(values, min_size=count, max_size=count))
    if not np.isfinite(row).any():
        row[draw(st.integers(0, count - 1))] = draw(finite)
    return np.array(row)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Floats, Floats]:
    """Two rows of one width, sometimes a hair apart."""
    left = draw(logits())
    if draw(st.booleans()):
        return left, left + draw(hnp.arrays(np.float64, left.size, elements=st.floats(-1e-6, 1e-6)))
    return left, draw(logits(left.size))


@given(logits(), st.floats(-1e4, 1e4))
def test_a_constant_added_to_all_logits_changes_nothing(row: Floats, shift: float) -> None:
    moved = row + shift
    # The shift itself rounds: at 1e4 a float64 keeps 1.8e-12.
    np.testing.assert_allclose(softmax(moved), softmax(row), rtol=0, atol=1e-10)
    np.testing.assert_allclose(log_softmax(moved), log_softmax(row), rtol=0, atol=1e-10)
    np.testing.assert_allclose(logsumexp(moved), logsumexp(row) + shift, rtol=0, atol=1e-10)


@given(logits())
def test_probabilities_sum_to_one_at_extremes(row: Floats) -> None:
    assert softmax(row).sum() == pytest.approx(1.0, abs=1e-12)
    assert np.exp(log_softmax(row)).sum() == pytest.approx(1.0, abs=1e-12)
    assert logsumexp(log_softmax(row)) == pytest.approx(0.0, abs=1e-12)
    assert (softmax(row)[np.isneginf(row)] == 0).all()


@given(logits(), st.integers(0, 45))
def test_top_k_is_the_ordered_head_of_the_row(row: Floats, k: int) -> None:
    ids, values = top_k(row, k)
    assert len(ids) == min(k, row.size)
    assert ids.tolist() == sorted(range(row.size), key=lambda i: (-row[i], i))[:k]
    assert (values == row[ids]).all()
    more = top_k(row, k + 1).ids
    assert more[: len(ids)].tolist() == ids.tolist()


@given(pairs())
def test_bounds_and_symmetry(pair: tuple[Floats, Floats]) -> None:
    log_p, log_q = log_softmax(pair[0]), log_softmax(pair[1])
    p, q = softmax(pair[0]), softmax(pair[1])
    distance, divergence, js = total_variation(p, q), kl_divergence(log_p, log_q), js_divergence(log_p, log_q)
    assert 0 <= distance <= 1 + 1e-12
    assert 0 <= js <= LOG_2
    assert divergence >= 0
    assert distance == total_variation(q, p)
    assert js == pytest.approx(float(js_divergence(log_q, log_p)), abs=1e-12)
    # Pinsker's inequality. Its slack is the rounding of p itself.
    assert distance <= math.sqrt(divergence / 2) + 1e-12
    # Lin 1991, theorem 3: JS is bounded by the total variation.
    assert js <= LOG_2 * distance + 1e-12
    assert np.isinf(divergence) == bool((np.isneginf(log_q) & ~np.isneginf(log_p)).any())


@given(logits())
def test_nothing_lies_between_a_distribution_and_itself(row: Floats) -> None:
    log_p = log_softmax(row)
    assert total_variation(softmax(row), softmax(row)) == 0
    assert kl_divergence(log_p, log_p) == 0
    assert js_divergence(log_p, log_p) == pytest.approx(0.0, abs=1e-14)


@given(st.integers(1, 12).flatmap(lambda size: st.lists(logits(size), min_size=2, max_size=6)))
def test_a_batch_equals_its_rows_one_by_one(rows: list[Floats]) -> None:
    batch = np.stack(rows)
    for function in (softmax, log_softmax, logsumexp):
        np.testing.assert_array_equal(function(batch), np.stack([function(row) for row in rows]))
    log_p, log_q = log_softmax(batch), log_softmax(batch[::-1])
    for divergence in (kl_divergence, js_divergence):
        one_by_one = [divergence(a, b) for a, b in zip(log_p, log_q, strict=True)]
        np.testing.assert_allclose(divergence(log_p, log_q), one_by_one, rtol=1e-12, atol=1e-15)
    p, q = np.exp(log_p), np.exp(log_q)
    np.testing.assert_allclose(
        total_variation(p, q), [total_variation(a, b) for a, b in zip(p, q, strict=True)], rtol=1e-12
    )
    np.testing.assert_allclose(softmax(batch.T, axis=0), softmax(batch).T, rtol=1e-12)


@given(pairs())
def test_kl_is_the_textbook_sum_where_that_is_accurate(pair: tuple[Floats, Floats]) -> None:
    log_p, log_q = log_softmax(np.clip(pair[0], -20, 20)), log_softmax(np.clip(pair[1], -20, 20))
    textbook = float((np.exp(log_p) * (log_p - log_q)).sum())
    assert float(kl_divergence(log_p, log_q)) == pytest.approx(textbook, rel=1e-9, abs=1e-12)


def test_kl_of_a_hair_is_positive_and_of_second_order() -> None:
    row = np.linspace(-10, 10, 1000)
    # The second-order term of KL is half the variance of the change; the textbook sum drowns it in rounding.
    change = 1e-8 * np.sin(np.arange(1000))
    p = softmax(row)
    expected = 0.5 * float((p * change**2).sum() - (p * change).sum() ** 2)
    assert float(kl_divergence(log_softmax(row), log_softmax(row + change))) == pytest.approx(
        expected, rel=1e-3
    )


def test_known_values() -> None:
    p, q = np.log([0.5, 0.5]), np.log([0.9, 0.1])
    assert float(kl_divergence(p, q)) == pytest.approx(0.5 * math.log(0.5 / 0.9) + 0.5 * math.log(0.5 / 0.1))
    assert float(total_variation([0.5, 0.5], [0.9, 0.1])) == pytest.approx(0.4)
    apart = log_softmax([0.0, -np.inf]), log_softmax([-np.inf, 0.0])
    assert float(js_divergence(*apart)) == pytest.approx(LOG_2)
    assert float(kl_divergence(*apart)) == math.inf
    assert top_k([1.0, 3.0, 3.0, 2.0], 3).ids.tolist() == [1, 2, 3]
    np.testing.assert_array_equal(softmax([1e4, -1e4, -np.inf]), [1, 0, 0])


def test_all_equal_logits_give_the_uniform_distribution() -> None:
    np.testing.assert_allclose(softmax(np.full(1000, 1e4)), np.full(1000, 1e-3), rtol=1e-12)
    assert top_k(np.zeros(1000), 3).ids.tolist() == [0, 1, 2]


def test_float16_and_float32_are_widened_first() -> None:
    for dtype in (np.float16, np.float32):
        row = np.array([10.0, 9.0, -3.0], dtype=dtype)
        np.testing.assert_array_equal(log_softmax(row), log_softmax(row.astype(np.float64)))
        assert log_softmax(row).dtype == np.float64


@pytest.mark.parametrize("function", [softmax, log_softmax, logsumexp])
@pytest.mark.parametrize(
    "bad",
    [[], 1.0, [[], []], [np.nan, 0.0], [np.inf, 0.0], [-np.inf, -np.inf], [[0.0, 0.0], [-np.inf, -np.inf]]],
    ids=["empty", "number", "empty-rows", "nan", "inf", "nothing-drawable", "one-row-not-drawable"],
)
def test_what_is_no_row_of_logits_is_refused(function: Any, bad: Any) -> None:
    with pytest.raises(ValueError, match="found"):
        function(bad)


def test_an_axis_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="axis 1"):
        softmax([0.0, 1.0], axis=1)


@pytest.mark.parametrize(
    ("row", "k", "message"),
    [
        ([[1.0]], 1, "shape"),
        ([], 1, "shape"),
        ([1.0], -1, "k = -1"),
        ([np.nan, 1.0], 1, "NaN"),
    ],
)
def test_top_k_refuses(row: Any, k: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        top_k(row, k)


@pytest.mark.parametrize(
    ("p", "q", "message"),
    [
        ([0.5, 0.5], [1.0], "shapes"),
        ([0.5, np.nan], [0.5, 0.5], "no probability"),
        ([1.5, 0.0], [0.5, 0.5], "no probability"),
        ([-0.1, 0.0], [0.5, 0.5], "no probability"),
        (0.5, 0.5, "shape"),
    ],
)
def test_total_variation_refuses(p: Any, q: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        total_variation(p, q)


@pytest.mark.parametrize("divergence", [kl_divergence, js_divergence])
@pytest.mark.parametrize(
    ("p", "q", "message"),
    [
        ([0.0, 0.0], [0.0, -np.inf], "sum of 1"),
        ([1.0, 0.0], [0.0, -np.inf], "no log-probability"),
        ([np.nan, 0.0], [0.0, -np.inf], "no log-probability"),
        ([0.0], [0.0, -np.inf], "shapes"),
        (0.0, 0.0, "shape"),
    ],
)
def test_divergences_refuse(divergence: Any, p: Any, q: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        divergence(p, q)
