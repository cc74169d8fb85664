"""Which sets of factors are tried, in what order, and which is named: on differences made by hand."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.drift.factors import AS_IT_IS, Names, Seen, candidates, search, smallest

FACTORS = [f"f{number}" for number in range(10)]
LIMIT = 1.0


def names(*some: str) -> Names:
    return frozenset(some)


def searched(
    gaps: Mapping[Names, float],
    base: float,
    *,
    budget: int = 1000,
    failing: Collection[str] = (),
    costs: Mapping[str, int] | None = None,
) -> tuple[dict[Names, Seen], int]:
    """What is seen where sets have ``gaps`` and all else leaves ``base``, and what it cost."""
    spent = 0

    def cost(some: Names) -> int:
        return max((costs or {}).get(name, 1) for name in some)

    def measure(some: Names) -> Seen:
        nonlocal spent
        spent += cost(some)
        assert some not in seen
        if some & set(failing):
            return Seen(error="ERROR: it does not start")
        return Seen(gaps.get(some, base), LIMIT)

    seen = {AS_IT_IS: Seen(base, LIMIT)}
    search(FACTORS, seen, measure, cost, budget)
    return seen, spent


subsets = st.sets(st.sampled_from(FACTORS), min_size=1, max_size=2).map(frozenset)
tables = st.dictionaries(subsets, st.floats(0, 9))
bases = st.sampled_from([0.2, 5.0])


@given(subsets, st.booleans())
def test_the_planted_set_is_found_and_no_other(planted: Names, there: bool) -> None:
    base, turned = (5.0, 0.2) if there else (0.2, 5.0)
    moves = {names(name): base + (turned - base) / 9 for name in planted}
    seen, _ = searched({**moves, planted: turned}, base)
    assert smallest(seen) == [planted]


@given(tables, bases, st.integers(0, 30), st.dictionaries(st.sampled_from(FACTORS), st.integers(0, 2)))
def test_the_budget_is_kept_and_what_it_pays_for_is_tried(
    gaps: Mapping[Names, float], base: float, budget: int, costs: Mapping[str, int]
) -> None:
    seen, spent = searched(gaps, base, budget=budget, costs=costs)
    assert spent <= budget
    left = list(candidates(FACTORS, seen))
    assert all(spent + max(costs.get(name, 1) for name in some) > budget for some in left)


@given(tables, bases, st.sets(st.sampled_from(FACTORS)))
def test_pairs_come_behind_all_single_ones_and_are_of_those_that_moved_it(
    gaps: Mapping[Names, float], base: float, failing: set[str]
) -> None:
    seen, _ = searched(gaps, base, failing=failing)
    tried = [some for some in seen if some]
    assert tried[: len(FACTORS)] == [names(name) for name in FACTORS]
    for pair in tried[len(FACTORS) :]:
        assert len(pair) == 2
        assert all(seen[names(name)].gap != base and name not in failing for name in pair)
    found = smallest(seen)
    assert all(seen[some].beyond is not seen[AS_IT_IS].beyond for some in found)
    if len(tried) > len(FACTORS):
        assert all(len(some) == 2 for some in found)


def test_those_that_moved_it_most_are_paired_first_and_one_that_hardly_did_is_not() -> None:
    gaps = {names("f1"): 4.5, names("f4"): 4.0, names("f7"): 3.0, names("f9"): 4.999}
    seen, _ = searched(gaps, 5.0)
    assert [set(some) for some in seen if len(some) == 2] == [{"f4", "f7"}, {"f1", "f7"}, {"f1", "f4"}]


def test_a_side_that_never_came_to_its_letters_is_a_difference_that_a_factor_may_remove() -> None:
    seen, _ = searched({names("f3"): 0.1}, math.inf)
    assert smallest(seen) == [names("f3")]
    assert smallest(searched({}, math.inf)[0]) == []


@pytest.mark.parametrize(("base", "gaps", "first"), [(5.0, (0.5, 0.1), "f2"), (0.2, (3.0, 7.0), "f2")])
def test_of_several_the_clearest_is_named_first(base: float, gaps: tuple[float, float], first: str) -> None:
    seen, _ = searched({names("f1"): gaps[0], names("f2"): gaps[1]}, base)
    assert smallest(seen) == [names(first), names("f1")]
