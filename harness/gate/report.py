"""From a comparison to what its report is made of, with what earlier stored runs answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.cases import Case
from harness.checks.answers import top_index
from harness.checks.intervals import letter_intervals
from harness.checks.log_odds import of_reading
from harness.fingerprint import engine_id_of
from harness.gate.comparison import Comparison
from harness.gate.side import GateSide
from harness.profiles import Profile
from harness.recordings import Recording, RecordingStore
from harness.reports.device import library_version
from harness.reports.report_input import HistoryPoint, ReportInput, ReportSide
from harness.reports.summary import CheckSummary
from harness.stored_runs import StoredRuns
from harness.tolerances import DEFAULTS, Tolerances, resolve

__all__ = ["report_input"]

_MOST_RUNS = 20


def report_input(
    comparison: Comparison,
    *,
    profiles: Sequence[Profile],
    store: RecordingStore,
    checks: Sequence[CheckSummary] = (),
) -> ReportInput:
    """What the report on ``comparison`` is made of.

    ``profiles`` are those of the folder of cases, ``store`` has the recordings and stored runs, ``checks``
    are those of a pytest run on either side. Raises `RecordingError` where a journal cannot be read.
    """
    baseline, candidate = comparison.baseline, comparison.candidate
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
        limits=_limits(comparison, profiles),
        checks=checks,
        histories=_histories(comparison, store),
    )


def _side(side: GateSide) -> ReportSide:
    return ReportSide(
        label=side.label,
        device=side.device,
        dtype="+".join(side.dtypes),
        made="" if side.live else side.made,
        model=side.model,
        fingerprint=side.fingerprint,
    )


def _limits(comparison: Comparison, profiles: Sequence[Profile]) -> Mapping[str, Tolerances]:
    """Those of the table, with what profiles and cases say; none where a side does not tell its dtype."""
    sides = (comparison.baseline, comparison.candidate)
    dtypes = [dtype for side in sides for dtype in side.dtypes if dtype in DEFAULTS]
    if not all(any(dtype in DEFAULTS for dtype in side.dtypes) for side in sides):
        return {}
    names = {side.profile for side in sides}
    own = [profile.tolerances for profile in profiles if profile.name in names]
    return {case.name: resolve(*dtypes, overrides=[*own, case.tolerances]) for case in comparison.cases}


def _histories(comparison: Comparison, store: RecordingStore) -> dict[str, list[HistoryPoint]]:
    """By case, one point for each other recording that the candidate's engine ever had, the oldest first."""
    candidate = comparison.candidate
    seen = {case: {recording.key} for case, recording in candidate.recordings.items()}
    found: dict[str, list[HistoryPoint]] = {case.name: [] for case in comparison.cases}
    runs = StoredRuns(store.root).of(candidate.profile, candidate.engine)[-_MOST_RUNS:]
    for case in comparison.cases:
        known = seen.setdefault(case.name, set())
        for run in runs:
            key = run.keys.get(case.name)
            if key is None or key in known:
                continue
            known.add(key)
            recording = store.get(key)
            if recording is not None and len(recording.answer.letter_ids or case.letters) == len(
                case.letters
            ):
                found[case.name].append(_point(case, recording, run.when))
    return found


def _point(case: Case, recording: Recording, when: str) -> HistoryPoint:
    answer = recording.answer
    reading = answer.readings[0] if answer.readings else None
    intervals = () if reading is None else letter_intervals(reading)
    place = case.letters.index(case.expect)
    share = log_odds = right = None
    if reading is not None and len(intervals) == len(case.letters):
        share = intervals[place].low if intervals[place].exact else None
        log_odds = of_reading(reading)[place]
        top = top_index(reading, answer.letter_ids)
        right = None if top is None else top == place
    return HistoryPoint(
        when=when,
        fingerprint=engine_id_of(recording.key),
        version=library_version(recording.fingerprint),
        probability=share,
        log_odds=log_odds,
        right=right,
    )
