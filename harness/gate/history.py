"""What earlier stored runs of an engine answered, case by case."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.cases.suites import Case
from harness.checks.answers import top_index
from harness.checks.intervals import letter_intervals
from harness.checks.log_odds import of_reading
from harness.engines.contract import Json
from harness.gate.side import GateSide
from harness.recordings.device import library_version
from harness.recordings.store import Recording, RecordingStore
from harness.reports.report_input import HistoryPoint
from harness.scoring.stored_runs import StoredRun, StoredRuns

__all__ = ["histories"]


def histories(
    side: GateSide, cases: Sequence[Case], store: RecordingStore
) -> dict[str, tuple[HistoryPoint, ...]]:
    """The points of each case, oldest first: one where the recording is another than in the run before.

    The side's own recording is no history.

    Runs that were asked another question under the case's name are left out, and so are recordings that are
    gone. Raises `RecordingError` as the store does.
    """
    runs = StoredRuns(store.root).of(side.profile, side.engine)
    return {case.name: tuple(points) for case in cases if (points := _points(case, side, runs, store))}


def _points(
    case: Case, side: GateSide, runs: Sequence[StoredRun], store: RecordingStore
) -> list[HistoryPoint]:
    points: list[HistoryPoint] = []
    now = side.recordings.get(case.name)
    last = ""
    for run in runs:
        key = run.keys.get(case.name)
        if key is None or key == last:
            continue
        last = key
        if now is not None and key == now.key:
            continue
        recording = store.get(key)
        if recording is not None and _asks_the_same(recording, side.asked.get(case.name)):
            points.append(_point(case, run, recording))
    return points


def _asks_the_same(recording: Recording, today: Mapping[str, Json] | None) -> bool:
    return recording.asked is not None and today is not None and dict(recording.asked) == dict(today)


def _point(case: Case, run: StoredRun, recording: Recording) -> HistoryPoint:
    answer, index = recording.answer, case.letters.index(case.expect)
    reading = answer.readings[0] if answer.readings else None
    shares = () if reading is None else letter_intervals(reading)
    odds = () if reading is None else of_reading(reading)
    top = None if reading is None else top_index(reading, answer.letter_ids)
    log_odds = odds[index] if odds else None
    return HistoryPoint(
        when=run.when,
        fingerprint=run.fingerprint,
        version=library_version(recording.fingerprint),
        probability=shares[index].low if shares and shares[index].exact else None,
        log_odds=None if log_odds is None or log_odds != log_odds else log_odds,
        right=None if top is None else top == index,
    )
