"""Counts of many cases: the same table as from all of them, and no more memory for more."""

from __future__ import annotations

import json
from dataclasses import replace

from harness.reports.ci.github_checks import checks_summary
from harness.reports.report_input import PytestRun
from harness.reports.summary import FULL_TABLE, Figures, Status, Tally, tallies_of
from harness.reports.table import render_table
from tests.reports.test_table import run_of, summary


def _travelled(tally: Tally) -> Tally:
    return Tally.from_json(json.loads(json.dumps(tally.to_json())))


def test_a_table_of_tallies_is_the_table_of_their_checks() -> None:
    made = [s for i in range(FULL_TABLE + 5) for s in run_of(f"shapes.case-{i}", worst=1e-7 * i)]
    made[3] = replace(made[3], status=Status.FAILED)
    made += [
        summary("other.a", suite="other", status=Status.KNOWN),
        *run_of("shapes.nan", worst=float("nan")),
    ]
    told = [_travelled(tally) for tally in tallies_of(made)]
    for every in (True, False):
        assert render_table([], tallies=told, every=every) == render_table(made, every=every)
    assert checks_summary([], tallies=told) == checks_summary(made)
    run = PytestRun.of(told, gate=False)
    assert (
        run.sentence
        == f"pytest: of {len(made)} checks {len(made) - 2} passed, 1 failed (letter 1), 1 known to fail."
    )


def test_a_tally_grows_with_no_number_of_failures() -> None:
    tally = Tally("embedded", "shapes")
    size = 0
    for number in range(3 * FULL_TABLE):
        tally.add(run_of(f"shapes.case-{number:04}", Status.FAILED, 0.25))
        if number == FULL_TABLE + 1:
            size = len(json.dumps(tally.to_json()))
    assert len(json.dumps(tally.to_json())) <= size + 100
    assert f"and {2 * FULL_TABLE} more cases that did not pass" in render_table([], tallies=[tally])
    assert f"{3 * FULL_TABLE} of {6 * FULL_TABLE} answers did not pass" in checks_summary([], tallies=[tally])


def test_rows_of_cases_that_passed_go_once_there_are_too_many() -> None:
    tally = Tally("embedded", "shapes")
    for number in range(FULL_TABLE + 1):
        tally.add(run_of(f"shapes.case-{number}"))
    assert tally.rows == []
    assert tally.right == FULL_TABLE + 1


def test_bounds_are_told_of_tallies_too() -> None:
    bounded = Figures(worst=0.25, worst_letter="C", bounded=True)
    made = [summary(), summary(engine="lmdeploy", check="agree", figures=bounded)]
    assert "largest |Δp|: at most 0.25" in render_table([], tallies=map(_travelled, tallies_of(made)))
