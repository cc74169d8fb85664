"""One gate from the command line: the sides are named, made where they are missing, loaded and compared."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from harness.cases.folder import Loaded
from harness.cases.suites import Suite
from harness.errors import GateError
from harness.gate.comparison import Comparison, Terms, compare_sides
from harness.gate.side import Kept, load_side
from harness.gate.sides import SideName
from harness.scoring.scoring import Scoring, paths_with_rows
from harness.scoring.stored_runs import store_run
from harness.verdicts.verdict import Verdict

__all__ = ["Sides", "chosen_suites", "gate", "known_cases", "quiet_rows"]


class Sides(NamedTuple):
    """The two names of a gate."""

    baseline: SideName
    candidate: SideName


def gate(sides: Sides, loaded: Loaded, scoring: Scoring, terms: Terms, suites: Sequence[Suite]) -> Comparison:
    """Make what is missing on ``suites`` and compare; full rows that only this needed are removed again.

    Raises `GateError` and `RecordingError`.
    """
    kept = Kept(folder=loaded.folder, suites=suites, scoring=scoring)
    before = {file.name for file in scoring.store.rows_folder.glob("*.npy")}
    subjects = {s.id: s for side in sides for s in side.subjects(kept.cases)}
    # What is stored comes first: a mistake there should not cost an engine's time.
    stored = {side.text: load_side(side, kept) for side in sides if not side.live}
    if subjects:
        scoring.make(subjects.values())
    baseline, candidate = (stored.get(side.text) or load_side(side, kept) for side in sides)
    store_run(scoring, subjects.values(), folder=loaded.folder)
    comparison = compare_sides(baseline, candidate, suites, loaded.profiles, scoring, terms)
    _drop_rows(comparison, scoring, before)
    return comparison


def chosen_suites(loaded: Loaded, names: Collection[str]) -> tuple[Suite, ...]:
    """All suites, or with ``names`` of cases only these cases; raises `GateError` for an unknown one."""
    if not names:
        return loaded.suites
    known = {case.name for suite in loaded.suites for case in suite.cases}
    if unknown := sorted(set(names) - known):
        raise GateError(f"--case: found {', '.join(unknown)}; allowed: SUITE.ID of a case in {loaded.folder}")
    kept = ((suite, tuple(case for case in suite.cases if case.name in names)) for suite in loaded.suites)
    return tuple(
        Suite(name=s.name, path=s.path, cases=own, description=s.description, budgets=s.budgets)
        for s, own in kept
        if own
    )


def known_cases(name: SideName, kept: Kept) -> set[str]:
    """The cases that a side has, or may have, without asking an engine."""
    if name.live:
        return {subject.case.name for subject in name.subjects(kept.cases)}
    if name.path is not None:
        return set(load_side(name, kept).cases)
    if name.profile is None or name.engine is None:
        return set()
    runs = kept.runs.of(name.profile.name, name.engine.name)
    return {case for run in runs for case in (*run.keys, *run.errors)}


def quiet_rows(comparison: Comparison, suite: str) -> dict[str, list[str]]:
    """By key, the paths of full rows of what was just asked, in cases of ``suite`` that are SAME or NOISE."""
    quiet = _quiet(comparison, suite)
    return {
        recording.key: paths_with_rows(recording)
        for side in (comparison.baseline, comparison.candidate)
        if side.live
        for case, recording in side.recordings.items()
        if case in quiet
    }


def _quiet(comparison: Comparison, suite: str | None = None) -> set[str]:
    return {
        case.case
        for case in comparison.verdict.cases
        if case.verdict in (Verdict.SAME, Verdict.NOISE) and suite in (None, case.suite)
    }


def _drop_rows(comparison: Comparison, scoring: Scoring, before: Collection[str]) -> None:
    quiet = _quiet(comparison)
    for side in (comparison.baseline, comparison.candidate):
        for case, recording in side.recordings.items():
            paths = [
                path for path in paths_with_rows(recording) if f"{recording.key}.{path}.npy" not in before
            ]
            if case in quiet and paths:
                scoring.store.drop_rows(recording.key, paths)
