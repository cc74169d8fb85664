"""The table of several comparisons."""

from __future__ import annotations

from dataclasses import replace

from harness.reports.overview import COLUMNS, ending, overview, overview_text
from harness.verdicts.findings import Finding
from harness.verdicts.verdict import Verdict
from tests.reports.made_verdicts import made_case, made_comparison, made_suite


def test_a_row_says_what_a_reader_of_many_needs() -> None:
    lost = made_case(number=7)
    (row,) = overview([made_comparison([made_case(Verdict.SAME, number=3), lost])])
    told = dict(zip(COLUMNS, row, strict=True))
    assert told["candidate"] == "versions/lmdeploy_0_18"
    assert told["verdict"] == "REGRESSION"
    assert told["what decided"] == "McNemar: 3 lost, 0 gained, p = 0.125"
    assert told["cases"] == "2"
    assert told["spread × noise"] == "2.12"
    assert told["accuracy"] == "100.0% → 0.0%"
    assert told["worst case"] == "shapes.case-7"


def test_of_cases_that_are_the_same_the_worst_is_the_one_that_moved_most() -> None:
    cases = [made_case(Verdict.SAME, number=n, largest=far) for n, far in enumerate((0.1, 0.3, None))]
    (row,) = overview([made_comparison(cases, Verdict.SAME)])
    assert row[-1] == "shapes.case-1"


def test_what_is_not_known_is_a_dash() -> None:
    suite = made_suite([], Verdict.INCONCLUSIVE, known=False)
    (row,) = overview([made_comparison([], Verdict.INCONCLUSIVE, suites=[suite])])
    assert row[1] == "INCONCLUSIVE"
    assert (row[4], row[5], row[7]) == ("-", "-", "-")


def test_errors_count_whatever_else_is_known() -> None:
    cases = [made_case(Verdict.ERROR, reason="p/b: out of memory\nlog: /tmp/x")]
    (row,) = overview([made_comparison(cases, Verdict.ERROR)])
    assert row[1:3] == ("ERROR", "1 without an answer: p/b: out of memory")


def test_all_end_together_with_the_worst() -> None:
    same, drift = (made_comparison([], verdict) for verdict in (Verdict.SAME, Verdict.DRIFT))
    shared = "comparisons share a false alarm rate of 0.01 (Holm)"
    assert ending([same, same]) == f"exit status 0 (PASSED); 2 {shared}"
    told = f"exit status 1 (FAILED) by versions/lmdeploy_0_18; 2 {shared}"
    assert ending([same, drift]) == told
    assert overview_text([same, drift]).endswith(f"\n\n{told}\n")


def test_what_was_found_before_the_numbers_comes_first() -> None:
    finding = Finding(name="question", text="asked otherwise", cases=("shapes.case-1",), blocks=True)
    verdicts = [replace(made_comparison([made_case()]), findings=(finding,)), made_comparison([made_case()])]
    first, second, *_ = overview_text(verdicts).splitlines()
    assert (first, second) == ("versions/lmdeploy_0_18: asked otherwise", "")
