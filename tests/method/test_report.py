"""The report of an account made by hand."""

from __future__ import annotations

from dataclasses import replace

from harness.method.account import ALL, Account, EngineAccount
from harness.method.advice import Limits, advise
from harness.method.coverage import Depth, coverage_of
from harness.method.missed_mass import MissedMass, WorstCase
from harness.method.report import report
from harness.method.timing import PathCost

PLACE = "cases/s.yaml:1:5"


def engine() -> EngineAccount:
    coverage = coverage_of([Depth(3, True, "B", "s.a", PLACE)] * 999 + [Depth(40, True, "C", "s.z", PLACE)])
    missed = MissedMass(
        k=20,
        cases=1000,
        touched=1,
        mean=1e-8,
        worst=WorstCase(1e-5, "s.z", PLACE),
        widest=WorstCase(None, "s.z", PLACE),
    )
    cost = PathCost(
        engine="e", kind="lmdeploy", path="captured", top_k=0, seconds=(0.1, 0.2, 0.3), device="a GPU"
    )
    return EngineAccount(
        name="e",
        kind="lmdeploy",
        paths=("captured",),
        device="a GPU, float16",
        limits=Limits(1024, "a list", 1e-3),
        coverage={"s": coverage, ALL: coverage},
        missed=(missed,),
        partial=0,
        errors={},
        without_row=(),
        costs=(
            cost,
            replace(cost, path="top-k", top_k=40, seconds=(0.1, 0.1, 0.1), partial=True),
            replace(cost, path="scored", seconds=(), problem="not on this engine"),
        ),
    )


def account(of: EngineAccount) -> Account:
    advice = [
        advise(of.name, of.coverage[ALL], of.missed, of.costs, of.limits),
    ]
    return Account(profile="p", suites=1, cases=1000, engines=(of,), advice=tuple(advice), timed=16, rounds=3)


def lines(of: EngineAccount) -> list[str]:
    return [" ".join(line.split()) for line in report(account(of)).splitlines()]


def test_a_thousand_cases_leave_one_out() -> None:
    told = lines(engine())
    assert "e all suites 1000 40 3 C in s.z (cases/s.yaml:1:5)" in told
    assert "99.9% of 1000 cases, by nearest rank, are 999: 1 left out." in told


def test_what_is_missed_and_what_is_not_known() -> None:
    assert "e 20 1 of 1000 1e-08 1e-05 not known s.z (cases/s.yaml:1:5)" in lines(engine())


def test_costs_with_their_spread_and_device() -> None:
    told = lines(engine())
    assert "e captured 200 2.00 (1.00 to 3.00) 2.00 (1.00 to 3.00) the whole row" in told
    assert "e top-k 40 100 1.00 1.00 the top of the row" in told
    assert "e scored not timed: not on this engine" in told
    assert "timed on: e: a GPU" in told


def test_advice_and_its_rule() -> None:
    told = lines(engine())
    assert "for the letters' probabilities, e: path top-k, k=40" in told
    assert "by the rule 'list'" in told


def test_what_the_figures_leave_out() -> None:
    depth = Depth(21, False, "C", "s.z", PLACE)
    told = lines(
        replace(
            engine(),
            coverage={ALL: coverage_of([depth])},
            missed=(),
            partial=2,
            errors={"s.x": "no GPU"},
            without_row=("s.y", "s.w"),
        )
    )
    assert "e: 1 case: ERROR, so left out of all figures: s.x: no GPU" in told
    assert "e: 2 cases: no answer row (the model did not write the answer's prefix): s.y and 1 more" in told
    assert any(line.startswith("e: 2 cases by a path that sees only the top") for line in told)
    assert "e all suites 1 ≥ 21 ≥ 21 C in s.z (cases/s.yaml:1:5)" in told
    assert not any(line.startswith("What a list of k entries") for line in told)
    assert "by the rule 'unknown'" in told
    assert not account(replace(engine(), errors={"s.x": "no GPU"})).complete
