"""The shortest list that shows every letter: of one case, of all, of 99.9%."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.distributions import top_k
from harness.engines.contract import Answer, Reading
from harness.errors import HarnessError
from harness.method.coverage import Depth, best_reading, coverage_of, depth_of, rank_of_share
from tests.method.conftest import IDS, case, full, partial, row_with

# Few values, so that many are equal.
ROWS = st.lists(st.sampled_from([-2.0, -1.0, 0.0, 0.5, 1.0, 3.0]), min_size=16, max_size=40)


def depth(k: int, *, exact: bool = True, name: str = "s.a") -> Depth:
    return Depth(k, exact, "A", name, "cases/s.yaml:1:5")


def test_the_letter_that_comes_last_decides() -> None:
    found = depth_of(case(full(row_with(5.0, 1.0, 3.0, others=[2.0, 4.0])), line=7))
    assert found == Depth(5, True, "B", "s.a", "cases/s.yaml:7:5")


def test_of_equal_logits_the_lower_id_comes_first() -> None:
    # Letters have the ids 10 to 12; id 0 ties with B from below, and so comes before it.
    assert depth_of(case(full(row_with(5.0, 1.0, 3.0, others=[1.0])))).k == 4
    above = row_with(5.0, 1.0, 3.0)
    above[40] = 1.0
    assert depth_of(case(full(above))).k == 3


@given(ROWS)
def test_k_is_minimal(row: list[float]) -> None:
    k = depth_of(case(full(row))).k
    assert set(IDS) <= set(top_k(row, k).ids.tolist())
    assert not set(IDS) <= set(top_k(row, k - 1).ids.tolist())


@given(ROWS, st.integers(1, 45))
def test_a_list_gives_the_same_k_or_a_bound_below_it(row: list[float], length: int) -> None:
    k, bound = depth_of(case(full(row))).k, depth_of(case(partial(row, length)))
    if length >= k:
        # A list tells equal values apart by its order alone, so a tie may come out shorter.
        assert bound.exact
        assert bound.k <= k
    else:
        assert (bound.exact, bound.k) == (False, length + 1)
        assert bound.k <= k


def test_a_letter_outside_a_list_makes_a_lower_bound() -> None:
    row = row_with(5.0, -3.0, 3.0, others=[2.0, 4.0])
    assert depth_of(case(partial(row, 4))) == Depth(5, False, "B", "s.a", "cases/s.yaml:1:5")
    assert depth_of(case(partial(row, 5))) == Depth(5, True, "B", "s.a", "cases/s.yaml:1:5")


def test_refuses_what_has_no_row_or_no_ranks() -> None:
    with pytest.raises(HarnessError, match=r"s\.a: found no answer row"):
        depth_of(case(Reading(path="forward", argmax=(1,), logprobs=(0.0,))))
    bare = replace(full(row_with(1.0, 2.0, 3.0)), letter_ranks=())
    with pytest.raises(
        HarnessError, match=r"ranks of 0 letters .* allowed: one for each of 3.*pytest --fresh"
    ):
        depth_of(case(bare))


@pytest.mark.parametrize(
    ("cases", "rank"), [(1, 1), (88, 88), (999, 999), (1000, 999), (1001, 1000), (2000, 1998)]
)
def test_nearest_rank_of_99_9_per_cent(cases: int, rank: int) -> None:
    assert rank_of_share(cases, 999) == rank


def test_all_and_most_of_a_thousand_cases() -> None:
    found = coverage_of([depth(3)] * 998 + [depth(9, name="s.b"), depth(700, name="s.c")])
    assert (found.cases, found.left_out) == (1000, 1)
    assert (found.all.k, found.all.case) == (700, "s.c")
    assert (found.most.k, found.most.case) == (9, "s.b")


def test_below_a_thousand_cases_nothing_is_left_out() -> None:
    found = coverage_of([depth(3)] * 87 + [depth(9)])
    assert found.all == found.most
    assert found.left_out == 0


def test_what_may_be_more_makes_the_result_a_lower_bound() -> None:
    assert not coverage_of([depth(3), depth(2, exact=False)]).all.exact
    assert coverage_of([depth(3), depth(2)]).all.exact


def test_what_may_be_more_but_comes_after_the_rank_does_not() -> None:
    found = coverage_of([depth(3)] * 999 + [depth(3, exact=False)])
    assert not found.all.exact
    assert found.most.exact


def test_a_full_reading_is_preferred() -> None:
    row = row_with(1.0, 2.0, 3.0)
    answer = Answer(
        prompt_ids=(1,),
        generated_ids=(12,),
        text="C",
        letter_ids=IDS,
        answer_step=0,
        readings=(partial(row, 2), full(row)),
    )
    assert best_reading(answer) == full(row)
    assert best_reading(replace(answer, readings=(partial(row, 2),))).partial
