"""The table at the end of a run."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from harness.reports.summary import CheckSummary, Figures, Status
from harness.reports.table import FULL_TABLE, render_table

PLUGIN = "CPU device plug-in (AMD EPYC), float32, lmdeploy 0.18.0"


def summary(case: str = "shapes.red", **changes: object) -> CheckSummary:
    made = CheckSummary(
        suite="shapes",
        case=case,
        place="cases/shapes.yaml:12",
        profile="embedded",
        engine="torch",
        check="letter",
        expected="B",
        status=Status.PASSED,
        figures=Figures(top="B", probability=0.98765),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def run_of(
    case: str = "shapes.red", status: Status = Status.PASSED, worst: float = 3e-7
) -> list[CheckSummary]:
    agree = Figures(worst=worst, worst_letter="C", kl=worst**2)
    return [
        summary(case),
        summary(case, engine="lmdeploy", device=PLUGIN),
        summary(case, engine="lmdeploy", check="agree", status=status, figures=agree, device=PLUGIN),
    ]


def test_each_case_has_a_row_with_engines_differences_and_marks() -> None:
    lines = render_table([*run_of(), *run_of("shapes.blue", Status.FAILED, 0.25)]).splitlines()
    assert lines[0].split() == ["case", "expect", "torch", "lmdeploy", "|Δp|", "KL", "letter", "agree"]
    assert lines[2].split() == ["shapes.red", "B", "B", "0.988", "B", "0.988", "3e-07", "9e-14", "✓✓", "✓"]
    assert lines[3].split()[-4:] == ["2e-01", "6e-02", "✓✓", "✗"]


def test_a_case_that_no_engine_was_there_for_has_no_row_but_counts() -> None:
    refused = [summary(f"shapes.c{n}", status=Status.ERROR, refused="embedded-torch") for n in range(3)]
    table = render_table([*run_of(), *refused])
    assert "shapes.c" not in table
    assert "4 cases × 2 engines, 6 checks: 3 passed ✓, 3 errors E" in table
    half = summary("shapes.c0", engine="lmdeploy")
    assert "shapes.c0" in render_table([*run_of(), *refused, half])  # the other engine's answer is told


def test_the_closing_lines_count_and_name_the_worst_and_the_devices() -> None:
    table = render_table([*run_of(), *run_of("shapes.blue", Status.FAILED, 0.25)])
    assert "embedded: 2 cases × 2 engines, 6 checks: 5 passed ✓, 1 failed ✗" in table
    assert "largest |Δp|: 0.25 (shapes.blue, lmdeploy, letter C; cases/shapes.yaml:12)" in table
    assert "largest KL: 0.062 (shapes.blue, lmdeploy; cases/shapes.yaml:12)" in table
    assert f"lmdeploy: {PLUGIN}" in table


def test_of_several_candidates_each_has_its_own_worst() -> None:
    calm, moved = (Figures(worst=w, worst_letter="C", kl=w**2) for w in (1e-7, 0.25))
    table = render_table(
        [
            summary(device="cpu"),
            summary(engine="previous", check="agree", figures=calm, device=PLUGIN),
            summary(engine="candidate", check="agree", figures=moved, device=PLUGIN),
        ]
    )
    assert f"previous: {PLUGIN}; |Δp| up to 1e-07, KL up to 1e-14" in table
    assert f"candidate: {PLUGIN}; |Δp| up to 0.25, KL up to 0.062" in table
    assert "torch: cpu\n" in table


def test_known_failures_and_errors_are_told_apart() -> None:
    table = render_table(
        [summary(status=Status.KNOWN), summary(engine="lmdeploy", status=Status.ERROR, figures=Figures())]
    )
    assert "kE" in table
    assert "1 known failure k, 1 error E" in table
    assert "0 passed" not in table


def test_without_every_row_only_what_did_not_pass_has_one() -> None:
    rows = [*run_of(), *run_of("shapes.blue", Status.FAILED, 0.25)]
    table = render_table(rows, every=False)
    assert "shapes.blue  " in table
    assert "shapes.red  " not in table
    assert "marks: one for each engine" in table
    assert "1 case without a row, ✓ throughout: -v shows them" in table
    assert "marks: " not in render_table(run_of(), every=False)
    assert "without a row" not in render_table(rows)


def test_the_largest_change_is_held_against_its_limit() -> None:
    close = Figures(worst=3e-7, worst_letter="C", allowed=1e-5)
    assert "largest |Δp|: 3e-07 of 1e-05 allowed (" in render_table([summary(check="agree", figures=close)])


def test_marks_stand_in_the_order_of_the_engines() -> None:
    made = [
        summary(),
        summary(engine="lmdeploy"),
        summary("shapes.b", engine="lmdeploy", status=Status.ERROR),
    ]
    table = render_table([*made, summary("shapes.b")])
    assert table.splitlines()[3].split()[-1] == "✓E"


def test_nan_is_the_worst_of_all() -> None:
    table = render_table([*run_of(worst=0.5), *run_of("shapes.nan", worst=math.nan)])
    assert "largest |Δp|: nan (shapes.nan" in table


def test_each_profile_has_its_own_table() -> None:
    table = render_table([summary(), summary(profile="large")])
    assert [line.split()[0] for line in table.splitlines()].count("case") == 2
    assert "embedded: 1 case × 1 engine, 1 check: 1 passed" in table
    assert "large: 1 case × 1 engine, 1 check: 1 passed" in table


def test_many_cases_show_only_those_that_did_not_pass_and_totals() -> None:
    made = [s for i in range(FULL_TABLE + 1) for s in run_of(f"shapes.case-{i}")]
    made[3] = replace(made[3], status=Status.FAILED)
    table = render_table(made)
    assert table.count("shapes.case-") == 1 + 2  # the row, and where the worst differences are
    assert "shapes.case-1 " in table
    totals = next(line for line in table.splitlines() if line.startswith("shapes "))
    assert totals.split()[:7] == ["shapes", "201", "603", "602", "1", "0", "0"]


def test_as_many_failures_are_cut_and_counted() -> None:
    made = [summary(f"shapes.case-{i}", status=Status.FAILED) for i in range(FULL_TABLE + 5)]
    table = render_table(made)
    assert table.count("shapes.case-") == FULL_TABLE
    assert "and 5 more cases that did not pass" in table


def test_a_narrow_terminal_cuts_ids_and_never_a_check() -> None:
    made = run_of("shapes.a-case-with-a-very-long-name-indeed", Status.FAILED)
    for width in (10, 70, 90):
        header, _, row = render_table(made, width=width).splitlines()[:3]
        assert header.split()[-2:] == ["letter", "agree"]
        assert row.endswith("✗")
        assert "…" in row
        assert len(row) <= max(width, 75)


def test_nothing_to_tell_is_no_text() -> None:
    assert render_table([]) == ""


def test_color_is_for_terminals_only() -> None:
    assert "\x1b[" in render_table(run_of(), color=True)
    assert "\x1b[" not in render_table(run_of())


@pytest.mark.parametrize("value", [0.1, math.inf, None])
def test_summaries_travel_as_json(value: float | None) -> None:
    made = summary(figures=Figures(top="B", probability=0.5, worst=value, worst_letter="A", kl=value))
    assert CheckSummary.from_json(json.loads(json.dumps(made.to_json(), allow_nan=False))) == made


def test_nan_travels_too() -> None:
    made = summary(figures=Figures(worst=math.nan))
    travelled = CheckSummary.from_json(json.loads(json.dumps(made.to_json(), allow_nan=False)))
    assert travelled.figures.worst is not None
    assert math.isnan(travelled.figures.worst)


@pytest.mark.parametrize("change", [{"figures": 1}, {"status": "fine"}, {"figures": {}}, {"figures": None}])
def test_damaged_json_is_refused(change: dict[str, object]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        CheckSummary.from_json({**summary().to_json(), **change})  # type: ignore[dict-item]


def test_where_limits_come_from_is_said_once_where_engines_share_it() -> None:
    def agree(engine: str, limits: str) -> CheckSummary:
        return summary(engine=engine, check="agree", figures=Figures(worst=0.0, limits=limits))

    alike = render_table([agree("a", "the table"), agree("b", "the table")]).splitlines()
    assert [line for line in alike if "limits" in line] == ["limits: the table"]
    unlike = render_table([agree("a", "the table"), agree("b", "a noise floor")]).splitlines()
    assert [line for line in unlike if "limits" in line] == [
        "a: limits: the table",
        "b: limits: a noise floor",
    ]


def test_a_text_is_cut_and_shown_with_what_was_written() -> None:
    """Behind what was written stands the probability of the accepted text, and no letter is named."""
    wrote = Figures(top="the year\n1985, I think", probability=0.00123)
    agree = Figures(worst=2e-7, kl=1e-12)
    rows = [
        summary(expected="1984, of all years", figures=wrote, status=Status.FAILED),
        summary(expected="1984, of all years", engine="lmdeploy", check="agree", figures=agree),
    ]
    shown = render_table(rows)
    assert r"1984, of all ye…  'the year\n1985… 0.001" in shown
    assert "(shapes.red, lmdeploy; cases/shapes.yaml:12)" in shown
