"""Which cases are told."""

from __future__ import annotations

import math

from harness.reports.worst_cases import MOST, one_line, worst_cases
from harness.verdicts.verdict import Verdict
from tests.reports.made_verdicts import made_case


def test_cases_with_nothing_to_tell_are_not_told() -> None:
    worst = worst_cases([made_case(Verdict.SAME), made_case(Verdict.NOISE)])
    assert worst.shown == ()
    assert worst.rest() == ""


def test_the_worst_come_first() -> None:
    cases = [
        made_case(Verdict.INCONCLUSIVE, number=1, largest=9.0),
        made_case(Verdict.DRIFT, number=2, largest=0.02),
        made_case(Verdict.DRIFT, number=3, largest=0.03),
        made_case(Verdict.ERROR, number=4, largest=None),
        made_case(Verdict.REGRESSION, number=5, largest=0.02),
        made_case(Verdict.REGRESSION, number=6, largest=math.nan),
    ]
    shown = worst_cases(cases).shown
    assert [case.case.rpartition("-")[2] for case in shown] == ["6", "5", "4", "3", "2", "1"]


def test_the_rest_is_counted_by_verdict() -> None:
    cases = [made_case(Verdict.REGRESSION, number=number) for number in range(MOST + 1)]
    cases += [made_case(Verdict.DRIFT, number=100 + number) for number in range(2)]
    cases += [made_case(Verdict.SAME, number=200)]
    worst = worst_cases(cases)
    assert len(worst.shown) == MOST
    assert worst.rest() == "and 3 more: 1 REGRESSION, 2 DRIFT"


def test_errors_with_one_reason_are_told_once() -> None:
    cases = [made_case(Verdict.ERROR, number=number, reason="not loaded") for number in range(MOST + 5)]
    cases += [made_case(Verdict.ERROR, number=50, reason="it died")]
    cases += [made_case(Verdict.DRIFT, number=number, reason="not loaded") for number in (60, 61)]
    worst = worst_cases(cases)
    assert [(case.verdict, case.reason) for case in worst.shown] == [
        (Verdict.ERROR, "not loaded"),
        (Verdict.ERROR, "it died"),
        *[(Verdict.DRIFT, "not loaded")] * 2,
    ]
    assert worst.rest() == f"and {MOST + 4} more: {MOST + 4} ERROR"


def test_text_of_an_engine_is_on_one_line_without_control_characters() -> None:
    assert one_line("out of\n\n  memory\x1b[31m\r\x00") == "out of memory [31m"
    assert one_line("x" * 20, longest=10) == "x" * 9 + "…"
