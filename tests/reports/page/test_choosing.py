"""Which cases a page shows of more than it can hold, and where the others are."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest

from harness.reports.page import choosing
from harness.reports.page.document import make_report
from harness.reports.report_files import write_document, write_page
from harness.reports.report_input import ReportInput
from harness.verdicts.verdict import Verdict
from tests.reports.page.test_page import document_of
from tests.reports.report_data import make_input


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch, pictures: Path) -> ReportInput:
    monkeypatch.setattr(choosing, "_MOST", 20)
    return make_input(60, pictures)


def test_a_page_shows_the_worst_and_a_sample_of_the_rest_and_says_so(
    given: ReportInput, tmp_path: Path
) -> None:
    file = tmp_path / "report.html"
    write_page(make_report([given], page=True), file)
    (comparison,) = document_of(file)["comparisons"]
    shown = {case["case"] for case in comparison["cases"]}
    assert len(shown) == 20
    bad = [case.case for case in given.verdict.cases if case.verdict in (Verdict.REGRESSION, Verdict.ERROR)]
    assert bad
    assert shown >= set(bad[:15])
    places = [n for n, case in enumerate(given.verdict.cases) if case.case in shown]
    assert places == sorted(places)
    assert max(places) > 50, "a sample of the first cases only"
    assert comparison["notes"][0].startswith("of 60 cases this page shows 20: the ")
    assert comparison["whole"]["cases"] == 60, "figures are of all"
    assert len(document_of(file)["images"]) <= 20


def test_a_row_of_each_case_stands_beside_the_page(given: ReportInput, tmp_path: Path) -> None:
    first, *others = given.verdict.cases
    verdict = replace(given.verdict, cases=(replace(first, reason="=1+1"), *others))
    write_page(make_report([replace(given, verdict=verdict)], page=True), tmp_path / "report.html")
    with (tmp_path / "report.cases.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["case"] for row in rows] == [case.case for case in given.verdict.cases]
    assert rows[0]["reason"] == "'=1+1"
    assert {row["verdict"] for row in rows} == {case.verdict.value for case in given.verdict.cases}


def test_the_document_has_all(given: ReportInput, tmp_path: Path) -> None:
    write_document(make_report([given]), tmp_path / "report.json")
    (comparison,) = json.loads((tmp_path / "report.json").read_text())["comparisons"]
    assert len(comparison["cases"]) == 60
    assert not any("this page shows" in note for note in comparison["notes"])


def test_a_page_that_holds_all_says_nothing(pictures: Path, tmp_path: Path) -> None:
    write_page(make_report([make_input(30, pictures)], page=True), tmp_path / "report.html")
    assert not (tmp_path / "report.cases.csv").exists()


def test_many_comparisons_share_the_room(pictures: Path) -> None:
    one = make_input(6, pictures).verdict.cases[0]
    cases = [replace(one, case=f"s.c{number}") for number in range(1_001)]
    assert len(choosing.shown_cases(cases, 1)[0]) == 1_001
    assert len(choosing.shown_cases(cases, 9)[0]) == 1_000
    assert len(choosing.shown_cases(cases, 90)[0]) == 200
