"""What earlier stored runs of an engine answered, case by case and over all cases."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from harness.cases.suites import Case
from harness.checks.answers import top_index
from harness.checks.intervals import letter_intervals
from harness.checks.log_odds import LogOdds, difference, largest, mean_square, of_reading
from harness.engines.contract import Json
from harness.gate.side import GateSide
from harness.recordings.device import library_version
from harness.recordings.store import Recording, RecordingStore
from harness.reports.breakdown import share_of
from harness.reports.report_input import HistoryLine, HistoryPoint
from harness.scoring.stored_runs import StoredRun, StoredRuns

__all__ = ["Past", "past_of"]


class Past(NamedTuple):
    """The points of each case, and a line for all cases of each run; the oldest first."""

    cases: Mapping[str, Sequence[HistoryPoint]]
    runs: Sequence[HistoryLine]


@dataclass(slots=True)
class _Last:
    """A case's last answer before the run that is read."""

    key: str
    point: HistoryPoint
    log_odds: LogOdds


@dataclass(slots=True)
class _Reader:
    """Reads each recording once, however many runs in a row used it."""

    side: GateSide
    cases: Mapping[str, Case]
    clusters: Mapping[str, str]
    store: RecordingStore
    last: dict[str, _Last] = field(default_factory=dict)
    points: dict[str, list[HistoryPoint]] = field(default_factory=dict)

    def line(self, run: StoredRun) -> HistoryLine | None:
        """The line of one run, None where it asked none of the cases."""
        right: list[tuple[str, bool]] = []
        moved: list[tuple[float, float, str]] = []
        version, own, failed = "", 0, self.cases.keys() & run.errors.keys()
        shown = failed <= self.side.errors.keys()
        for name, case in self.cases.items():
            key, before = run.keys.get(name), self.last.get(name)
            if key is None:
                continue
            if before is None or before.key != key:
                if (now := self._read(run, case, key)) is None:
                    continue
                self.last[name] = now
            else:
                now = before
            change = difference(before.log_odds, now.log_odds) if before is not None else ()
            if (most := largest(change)) is not None:
                moved.append((most, mean_square(change), name))
            own, version = own + 1, now.point.version
            if now.point.right is not None:
                right.append((self.clusters.get(name, name), now.point.right))
            mine = self.side.recordings.get(name)
            shown &= mine is not None and mine.key == key
        if not own + len(failed):
            return None
        most, _, where = max(moved, default=(None, None, ""))
        return HistoryLine(
            when=run.when,
            until=run.when,
            runs=1,
            fingerprint=run.fingerprint,
            version=version,
            cases=own,
            errors=len(failed),
            accuracy=share_of(*map(list, zip(*right, strict=True))) if right else None,
            spread=math.sqrt(math.fsum(one for _, one, _ in moved) / len(moved)) if moved else None,
            largest=most,
            case=where if most else "",
            shown=shown and own == len(self.side.recordings.keys() & self.cases.keys()),
        )

    def _read(self, run: StoredRun, case: Case, key: str) -> _Last | None:
        recording = self.store.get(key)
        if recording is None or not _asks_the_same(recording, self.side.asked.get(case.name)):
            return None
        point, odds = _point(case, run, recording)
        now = self.side.recordings.get(case.name)
        if now is None or now.key != key:  # the side's own answer is no history of its case
            self.points.setdefault(case.name, []).append(point)
        return _Last(key, point, odds)


def past_of(
    side: GateSide, cases: Sequence[Case], store: RecordingStore, *, clusters: Mapping[str, str]
) -> Past:
    """What is stored of the side's engine; a case has a point where its recording is another than before.

    Runs in a row that used the same recordings are one line. Answers to another question under a case's name
    are left out, and so are recordings that are gone. ``clusters`` are those of the cases' `Change`, by name.
    Raises `RecordingError` as the store does.
    """
    reader = _Reader(side, {case.name: case for case in cases}, clusters, store)
    lines: list[HistoryLine] = []
    before: StoredRun | None = None
    for run in StoredRuns(store.root).of(side.profile, side.engine):
        if before is not None and (run.keys, run.errors) == (before.keys, before.errors) and lines:
            lines[-1] = replace(lines[-1], until=run.when, runs=lines[-1].runs + 1)
        elif (line := reader.line(run)) is not None:
            lines.append(line)
        else:
            continue
        before = run
    return Past(cases={name: tuple(points) for name, points in reader.points.items()}, runs=tuple(lines))


def _asks_the_same(recording: Recording, today: Mapping[str, Json] | None) -> bool:
    return recording.asked is not None and today is not None and dict(recording.asked) == dict(today)


def _point(case: Case, run: StoredRun, recording: Recording) -> tuple[HistoryPoint, LogOdds]:
    answer, index = recording.answer, case.letters.index(case.expect)
    reading = answer.readings[0] if answer.readings else None
    shares = () if reading is None else letter_intervals(reading)
    odds = () if reading is None else of_reading(reading)
    top = None if reading is None else top_index(reading, answer.letter_ids)
    log_odds = odds[index] if odds else None
    point = HistoryPoint(
        when=run.when,
        fingerprint=run.fingerprint,
        version=library_version(recording.fingerprint),
        probability=shares[index].low if shares and shares[index].exact else None,
        log_odds=None if log_odds is None or log_odds != log_odds else log_odds,
        right=None if top is None else top == index,
    )
    return point, odds
