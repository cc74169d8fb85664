"""The rows of the page's first table: every engine of a report, what others are compared with first."""

from __future__ import annotations

from collections.abc import Sequence

from harness.reports.breakdown import accuracies
from harness.reports.overview import worst_case
from harness.reports.report_input import ReportInput, ReportSide
from harness.reports.verdict_figures import verdict_words
from harness.schemas.report import EngineEntry
from harness.verdicts.verdict import ExitStatus

__all__ = ["engine_entries"]

_STATUS = (ExitStatus.FAILED, ExitStatus.ERROR, ExitStatus.INCONCLUSIVE, ExitStatus.PASSED)
_VERDICTS = ("REGRESSION", "ERROR", "DRIFT", "INCONCLUSIVE", "NOISE", "SAME")


def engine_entries(inputs: Sequence[ReportInput]) -> list[EngineEntry]:
    """A row for each baseline, of the comparison with most cases, then for each candidate, the worst first.

    Those of one verdict come in the order of their spread.
    """
    baselines: dict[tuple[str, str], tuple[int, ReportInput]] = {}
    for place, one in enumerate(inputs):
        name = (one.baseline.label, one.baseline.made)
        if name not in baselines or len(baselines[name][1].verdict.cases) < len(one.verdict.cases):
            baselines[name] = (place, one)
    candidates = sorted(enumerate(inputs), key=lambda item: _badness(item[1]))
    return [
        *(_row(place, one, one.baseline, 0) for place, one in baselines.values()),
        *(_row(place, one, one.candidate, 1) for place, one in candidates),
    ]


def _badness(one: ReportInput) -> tuple[int, int, float]:
    spread = None if one.verdict.whole is None else one.verdict.whole.spread
    return (
        _STATUS.index(one.verdict.status),
        _VERDICTS.index(one.verdict.verdict),
        -spread.value if spread is not None else 0.0,
    )


def _row(place: int, one: ReportInput, side: ReportSide, number: int) -> EngineEntry:
    judged, shares, is_candidate = one.verdict, accuracies(one.verdict.cases), number == 1
    spread = judged.whole.spread if judged.whole is not None and is_candidate else None
    told = {
        "label": side.label,
        "against": one.baseline.label if is_candidate else "",
        "comparison": place,
        "verdict": judged.verdict.value if is_candidate else None,
        "words": verdict_words(judged) if is_candidate else "",
        "cases": len(judged.cases),
        "accuracy": None if shares is None else shares[number],
        "spread": spread,
        "flips": sum(suite.flips for suite in judged.suites) if is_candidate else None,
        "worst": worst_case(judged) if is_candidate else "",
        "pace": side.pace,
    }
    return EngineEntry.model_validate(told)
