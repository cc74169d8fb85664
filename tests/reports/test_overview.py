"""The table of several comparisons."""

from __future__ import annotations

from harness.reports.overview import COLUMNS, ending, overview, share_words
from harness.verdicts.verdict import Verdict
from tests.reports.made_verdicts import made_case, made_comparison, made_suite


def test_a_row_says_what_a_reader_of_many_needs() -> None:
    lost = made_case(number=7)
    ((counts_as, row),) = overview([made_comparison([made_case(Verdict.SAME, number=3), lost])])
    assert counts_as is Verdict.REGRESSION
    told = dict(zip(COLUMNS, row, strict=True))
    assert told["candidate"] == "versions/lmdeploy_0_18"
    assert told["verdict"] == "REGRESSION beyond budget"
    assert told["cases"] == "2"
    assert told["spread × noise"] == "2.12"
    assert told["accuracy"] == "100.0% → 0.0%"
    assert told["worst case"] == "shapes.case-7 (0.5)"


def test_where_too_little_is_known_it_says_why() -> None:
    cases = [made_case(Verdict.NOISE)]
    suite = made_suite(cases, Verdict.INCONCLUSIVE, known=False)
    ((counts_as, row),) = overview([made_comparison(cases, Verdict.INCONCLUSIVE, suites=[suite])])
    assert counts_as is Verdict.INCONCLUSIVE
    assert "McNemar: 3 lost" in row[2]
    assert row[4] == "-"


def test_errors_count_whatever_else_is_known() -> None:
    cases = [made_case(Verdict.ERROR, reason="p/b: out of memory\nlog: /tmp/x")]
    ((counts_as, row),) = overview([made_comparison(cases, Verdict.ERROR)])
    assert counts_as is Verdict.ERROR
    assert row[1:3] == ("ERROR", "1 without an answer: p/b: out of memory")


def test_all_end_together_with_the_worst() -> None:
    same, drift = (made_comparison([], verdict) for verdict in (Verdict.SAME, Verdict.DRIFT))
    assert ending([same, same]) == "exit status 0: every comparison passes"
    assert ending([same, drift]) == "exit status 1: beyond budget: versions/lmdeploy_0_18"
    assert share_words(1) == ""
    assert "judged with 0.0025" in share_words(4)
