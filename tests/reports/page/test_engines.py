"""The row of each engine, and which pictures a page has in full."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.reports.overview import COLUMNS, overview
from harness.reports.page.document import make_report
from harness.reports.page.engines import engine_entries
from harness.reports.report_input import ReportInput
from harness.reports.worst_cases import worst_cases
from tests.reports.many_engines import nine_engines
from tests.reports.report_data import BASELINE, CANDIDATE, make_input


@pytest.fixture(scope="module")
def nine(pictures: Path) -> list[ReportInput]:
    return nine_engines(60, pictures)


def test_what_others_are_compared_with_comes_first_then_the_worst(nine: list[ReportInput]) -> None:
    first, *rows = engine_entries(nine)
    assert (first.label, first.against, first.verdict, first.spread, first.worst) == (
        "p/torch",
        "",
        None,
        None,
        "",
    )
    assert first.accuracy is not None
    told = [(one.label, one.verdict) for one in rows]
    assert set(told[:2]) == {("p/next", "REGRESSION"), ("p/lost", "REGRESSION")}
    assert told[2] == ("p/drifting", "DRIFT")  # within the margin, so it passes
    assert {one.words for one in rows[3:]} <= {"NOISE", "SAME"}
    assert sorted(one.comparison for one in rows) == list(range(8))
    for same in (rows[:2], [one for one in rows if one.verdict == "NOISE"]):
        spreads = [one.spread.value or 0.0 for one in same if one.spread is not None]
        assert spreads == sorted(spreads, reverse=True) != []


def test_its_numbers_are_those_of_the_overview(nine: list[ReportInput]) -> None:
    for row in engine_entries(nine)[1:]:
        one = nine[row.comparison]
        told = dict(zip(COLUMNS, overview([one.verdict])[0], strict=True))
        assert (row.label, row.against) == (one.candidate.label, one.baseline.label)
        assert (row.words, str(row.flips), row.worst) == (told["verdict"], told["flips"], told["worst case"])
        assert row.spread is not None
        assert f"{row.spread.value:.3g}" == told["spread × noise"]
        assert row.accuracy is not None
        assert told["accuracy"].endswith(f"→ {row.accuracy.value:.1%}")
        assert row.accuracy.low is not None
        assert row.accuracy.low < row.accuracy.value < row.accuracy.high  # type: ignore[operator]


def test_a_speed_is_told_where_one_start_made_all_answers(pictures: Path) -> None:
    baseline, candidate = engine_entries([make_input(6, pictures)])
    assert (baseline.label, candidate.label) == (BASELINE, CANDIDATE)
    assert baseline.pace is None
    assert candidate.pace is not None
    assert (candidate.pace.cases, candidate.pace.seconds, candidate.pace.tokens) == (60, 20.0, 48_000)


def test_two_baselines_have_a_row_each(pictures: Path) -> None:
    one, few = make_input(12, pictures), make_input(6, pictures)
    other = replace(one, baseline=replace(one.baseline, label="other"))
    rows = engine_entries([few, one, other])
    assert [(row.label, row.cases) for row in rows if not row.against] == [(BASELINE, 12), ("other", 12)]
    assert len(rows) == 5


def test_pictures_of_the_worst_cases_come_first(pictures: Path) -> None:
    given = make_input(60, pictures)
    report = make_report([given])
    keys = {case.case: case.images for case in report.document.comparisons[0].cases}
    worst = [key for case in worst_cases(given.verdict.cases).shown for key in keys[case.case]]
    assert list(report.pictures)[: len(worst)] == worst != list(report.document.images)[: len(worst)]
    assert set(report.pictures) == set(report.document.images)
