"""Each rule of the recommendation, with a case that it decides."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from harness.method.advice import RULES, SAME_COST, Advice, Limits, advise, advise_debugging
from harness.method.coverage import Coverage, Depth
from harness.method.missed_mass import MissedMass, WorstCase
from harness.method.timing import PathCost

LIMITS = Limits(1024, "a list", 1e-3)


def needs(k: int, *, exact: bool = True) -> Coverage:
    depth = Depth(k, exact, "F", "s.a", "cases/s.yaml:1:5")
    return Coverage(cases=88, all=depth, most=depth, left_out=0)


def missed(k: int, width: float | None, *, touched: int = 3) -> MissedMass:
    worst = WorstCase(2e-5, "s.a", "cases/s.yaml:1:5")
    return MissedMass(
        k=k, cases=88, touched=touched, mean=1e-6, worst=worst, widest=worst._replace(value=width)
    )


def cost(path: str, *seconds: float) -> PathCost:
    return PathCost(
        engine="lmdeploy", kind="lmdeploy", path=path, top_k=0, seconds=seconds, partial=path == "top-k"
    )


def advice(
    coverage: Coverage,
    *,
    lists: Sequence[MissedMass] = (),
    costs: Sequence[PathCost] = (),
    limits: Limits = LIMITS,
) -> Advice:
    found = advise("lmdeploy", coverage, lists, costs, limits)
    assert found.engine == "lmdeploy"
    assert any(rule.startswith(f"{found.rule}: ") for rule in RULES)
    return found


COSTS = (cost("two-stage", 1.8, 1.6, 1.7), cost("captured", 1.2, 1.3, 1.2), cost("top-k", 1.0, 1.0, 1.1))


def test_a_list_where_it_is_enough_and_cheaper() -> None:
    found = advice(needs(9), costs=COSTS)
    assert (found.rule, found.method) == ("list", "path top-k, k=9")
    assert found.why == (
        "top-k with k=9 shows every letter in all 88 cases; it costs 1.00, two-stage 1.60, captured 1.20: "
        "the list is enough, and cheaper"
    )


def test_a_full_path_where_it_costs_hardly_more_than_a_list() -> None:
    found = advice(needs(9), costs=(cost("captured", SAME_COST), cost("top-k", 1.0)))
    assert (found.rule, found.method) == ("full though a list would do", "path captured")
    assert "it costs 1.00, captured 1.10: the whole distribution" in found.why
    assert advice(needs(9), costs=(cost("captured", SAME_COST + 0.01), cost("top-k", 1.0))).rule == "list"


@pytest.mark.parametrize(
    ("costs", "untimed"),
    [
        ((), "what a list and a full path costs"),
        ((cost("captured", 1.0),), "what a list costs"),
        ((cost("top-k", 1.0),), "what a full path costs"),
    ],
)
def test_a_list_that_is_enough_without_its_cost(costs: Sequence[PathCost], untimed: str) -> None:
    found = advice(needs(9), costs=costs)
    assert (found.rule, found.method) == ("list", "top-k with k=9")
    assert f"{untimed} was not measured" in found.why


def test_says_where_a_server_would_leave_letters_out() -> None:
    found = advice(needs(29), lists=[missed(20, 1e-5)])
    assert "LMDeploy's server, which gives 20 at most, would leave a letter out in 3 of them" in found.why
    assert "server" not in advice(needs(20), lists=[missed(20, 0.0, touched=0)]).why


def test_a_list_with_intervals_where_they_are_narrow_enough() -> None:
    lists = [missed(5, 0.2), missed(10, 1e-3), missed(20, 1e-4)]
    found = advice(needs(5000), lists=lists, costs=COSTS)
    assert (found.rule, found.method) == ("list with intervals", "top-k with k=10")
    assert found.why.startswith(
        "to show every letter in all 88 cases a list needs k=5000 (F of s.a), and a list gives"
    )
    assert "no letter outside can have more than 0.001 (allowed: 0.001)" in found.why


def test_the_limit_is_that_of_the_engine() -> None:
    server = Limits(20, "the server of s", 1e-3, found=True)
    assert advice(needs(21), limits=server).rule == "full"
    assert advice(needs(21)).rule == "list"
    assert advice(needs(1024)).rule == "list"
    assert advice(needs(1025)).rule == "full"
    # A list that the engine does not give is no way out, however narrow its intervals.
    assert advice(needs(90), limits=server, lists=[missed(50, 1e-9)]).rule == "full"


@pytest.mark.parametrize("width", [0.0011, None])
def test_the_cheapest_full_path_where_no_list_will_do(width: float | None) -> None:
    found = advice(needs(5000), lists=[missed(20, width)], costs=COSTS)
    assert (found.rule, found.method) == ("full", "path captured")
    assert found.why.endswith("it costs 1.00, two-stage 1.42, top-k 0.83")


def test_a_full_path_that_was_not_timed() -> None:
    found = advice(needs(5000))
    assert (found.rule, found.method) == ("full", "a path to the whole distribution")


def test_unknown_where_only_the_top_was_seen() -> None:
    found = advice(needs(21, exact=False), costs=COSTS)
    assert found.rule == "unknown"
    assert "k is at least 21, how large is not known" in found.why


def test_native_to_debug() -> None:
    costs = [cost("forward", 1.0), cost("generate", 8.0)]
    assert advise_debugging("torch", ("generate",), costs) == Advice(
        "torch", "debug", "torch, path forward", "it costs 1.00, generate 8.00"
    )
    untimed = advise_debugging("torch", ("generate",), [])
    assert (untimed.method, untimed.why) == ("torch, path generate", "its paths were not timed")
