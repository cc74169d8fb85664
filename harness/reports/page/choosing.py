"""Of more cases than a page can hold, those that it shows, and a table of all."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Final

from harness.reports.report_input import ReportInput
from harness.reports.worst_cases import worst_cases
from harness.verdicts.verdict import CaseVerdict

__all__ = ["ROWS", "all_rows", "shown_cases"]

ROWS: Final = ".cases.csv"
"""How the file beside a page ends that has the rows of all cases."""

_MOST: Final = 2_000
_MOST_TOGETHER: Final = 9_000  # as many open in a second, in 14 MB with their pictures
_LEAST: Final = 200
_WORST: Final = 0.75  # of those that are shown, at most; the rest is a sample
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
_HEAD: Final = (
    *("comparison", "case", "suite", "verdict", "expected", "answer baseline", "answer candidate"),
    *("largest change of log-odds", "its limit", "noise (sigma)", "margin", "tags", "place", "reason"),
)


def shown_cases(cases: Sequence[CaseVerdict], comparisons: int) -> tuple[Sequence[CaseVerdict], str]:
    """Those of a comparison, one of so many, that a page shows, and a note on the others, '' without any.

    The worst, as in `worst_cases`, and of the rest every so many-th.
    """
    most = min(_MOST, max(_LEAST, _MOST_TOGETHER // comparisons))
    if len(cases) <= most:
        return cases, ""
    names = {case.case for case in worst_cases(cases, most=int(_WORST * most)).shown}
    others = [case.case for case in cases if case.case not in names]
    worst, room = len(names), most - len(names)
    names.update(others[place * len(others) // room] for place in range(room))
    note = (
        f"of {len(cases):,} cases this page shows {most:,}: the {worst:,} worst, and a sample of {room:,} of "
        f"the others; the figures are of all. A row for each case is in the file {ROWS} beside this page, "
        "and all of it in the document that --json (of pytest and harness run: --report-json) writes"
    )
    return [case for case in cases if case.case in names], note


def all_rows(inputs: Sequence[ReportInput]) -> Iterator[str]:
    """Every case of every comparison as CSV, a line at a time."""
    yield _line(_HEAD)
    for given in inputs:
        for case in given.verdict.cases:
            figures = (case.largest, case.limit, case.sigma, case.gap)
            words = (given.name, case.case, case.suite, case.verdict.value, case.expect, *case.answers)
            yield _line((*words, *figures, " ".join(case.tags), case.place, case.reason))


def _line(row: Sequence[object]) -> str:
    # What a spreadsheet would take for a formula gets an apostrophe.
    safe = (f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell for cell in row)
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(safe)
    return out.getvalue()
