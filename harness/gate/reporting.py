"""A comparison as reports take it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.gate.comparison import Comparison
from harness.gate.history import past_of
from harness.gate.side import GateSide
from harness.recordings.pace import pace_of
from harness.recordings.store import RecordingStore
from harness.reports.breakdown import Breakdown, breakdown
from harness.reports.report_input import ReportInput, ReportSide
from harness.reports.summary import CheckSummary
from harness.reports.token_texts import token_texts

__all__ = ["breakdown_of", "report_input"]


def breakdown_of(comparison: Comparison) -> Breakdown:
    """What the cases come to, with the texts of tokens where the candidate's tokenizer is at hand."""
    return breakdown(comparison.verdict, comparison.changes, texts=_texts(comparison.candidate))


def report_input(
    comparison: Comparison, store: RecordingStore, *, checks: Sequence[CheckSummary] = ()
) -> ReportInput:
    """The comparison with the candidate's history; raises `RecordingError` as the store does.

    ``checks`` are those of a pytest run on either side.
    """
    baseline, candidate = comparison.baseline, comparison.candidate
    clusters = {case.case: case.cluster or case.case for case in comparison.verdict.cases}
    past = past_of(candidate, comparison.cases, store, clusters=clusters)
    return ReportInput(
        name=f"{candidate.label} against {baseline.label}",
        baseline=_side(baseline),
        candidate=_side(candidate),
        verdict=comparison.verdict,
        changes=comparison.changes,
        cases=comparison.cases,
        changed=comparison.changed.differences,
        notes=comparison.notes,
        commands=comparison.commands,
        limits=comparison.limits,
        checks=checks,
        histories=past.cases,
        runs=past.runs,
        texts=_texts(candidate),
    )


def _texts(side: GateSide) -> Mapping[int, str]:
    return token_texts(side.folder) if side.folder else {}


def _side(side: GateSide) -> ReportSide:
    return ReportSide(
        label=side.label,
        device=side.device,
        dtype=side.dtype,
        made="" if side.live else side.made,
        model=side.model,
        fingerprint=side.fingerprint,
        pace=None if side.errors else pace_of(side.recordings.values()),
    )
