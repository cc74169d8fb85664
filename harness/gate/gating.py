"""A gate from the command line: the sides are named, made where they are missing, loaded and compared."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import NamedTuple

from harness.cases.folder import Loaded
from harness.cases.profiles import Profile
from harness.cases.suites import Suite
from harness.checks.agreement import paths_with_rows
from harness.errors import EngineError, GateError
from harness.gate.comparison import Comparison, Terms, compare_sides, refused
from harness.gate.side import GateSide, Kept, load_side, store_of, unasked_side
from harness.gate.sides import SideName
from harness.scoring.scoring import Scoring
from harness.scoring.stored_runs import StoredRuns, store_run
from harness.scoring.subjects import Subject
from harness.verdicts.judging import shares
from harness.verdicts.rules import ALPHA
from harness.verdicts.verdict import Verdict

__all__ = [
    "Sides",
    "chosen_suites",
    "drop_rows",
    "gate",
    "known_cases",
    "make_shard",
    "quiet_rows",
    "sides_of",
]

_QUIET = (Verdict.SAME, Verdict.NOISE)


class Sides(NamedTuple):
    """The two names of a gate."""

    baseline: SideName
    candidate: SideName

    @property
    def command(self) -> list[str]:
        """The words of the command that compares them."""
        return ["harness", "gate", "--baseline", self.baseline.text, "--candidate", self.candidate.text]


def sides_of(profile: Profile) -> tuple[Sides, ...]:
    """Every engine of the profile against its reference; raises `GateError` where there is no other."""
    names = {
        e.name: SideName(text=f"{profile.name}/{e.name}", profile=profile, engine=e) for e in profile.engines
    }
    reference = names.pop(profile.reference)
    if not names:
        raise GateError(
            f"{profile.location}: profile {profile.name}: found the engine {profile.reference} alone; "
            "allowed: another one beside it, to be judged"
        )
    return tuple(Sides(reference, name) for name in names.values())


def gate(
    pairs: Sequence[Sides], loaded: Loaded, scoring: Scoring, terms: Terms, suites: Sequence[Suite]
) -> tuple[Comparison, ...]:
    """Make what is missing on ``suites`` and compare each pair; rows that only this needed are removed again.

    Several pairs have one baseline, and share `ALPHA` as `harness.verdicts.judging.shares` says; of them one
    that cannot be compared is an ERROR beside the others. ``terms.again`` has the words that follow
    ``Sides.command``. Raises `GateError`, for one pair also where it cannot be compared, and
    `RecordingError`.
    """
    kept = Kept(folder=loaded.folder, suites=suites, scoring=scoring)
    before = {file.name for file in scoring.store.rows_folder.glob("*.npy")}
    names = {side.text: side for sides in pairs for side in sides}
    subjects = {s.id: s for side in names.values() for s in side.subjects(kept.cases)}
    # What is stored comes first: a mistake there should not cost an engine's time.
    known = {text: load_side(side, kept) for text, side in names.items() if not side.live}
    asked: list[Subject] = []
    if len(pairs) > 1:  # without an answer of the reference that they share, no other need be asked
        first = pairs[0].baseline
        asked = [subjects.pop(s.id) for s in first.subjects(kept.cases)]
        scoring.make(asked)
        reference = load_side(first, kept)
        if reference.errors and not reference.recordings:
            store_run(scoring, asked, folder=loaded.folder)
            return _not_asked(reference, [unasked_side(sides.candidate, kept) for sides in pairs])
        known[first.text] = reference
    if subjects:
        scoring.make(subjects.values())
    known |= {text: load_side(side, kept) for text, side in names.items() if text not in known}
    store_run(scoring, [*asked, *subjects.values()], folder=loaded.folder)
    found = []
    for sides in pairs:
        baseline, candidate = (known[side.text] for side in sides)
        own = replace(terms, again=[*sides.command, *terms.again])
        try:
            found.append(compare_sides(baseline, candidate, suites, loaded.profiles, scoring, own))
        except GateError as error:
            if len(pairs) == 1:
                raise
            found.append(refused(baseline, candidate, str(error)))
    found[0] = replace(found[0], damaged=(*scoring.store.damage(), *kept.runs.damage()))  # told once
    levels = shares([one.verdict for one in found])
    comparisons = tuple(
        one if one.judged is None or level == ALPHA else replace(one, verdict=one.judged(alpha=level))
        for one, level in zip(found, levels, strict=True)
    )
    drop_rows(comparisons, scoring, before)
    return comparisons


def make_shard(
    pairs: Sequence[Sides], loaded: Loaded, scoring: Scoring, suites: Sequence[Suite]
) -> dict[str, str]:
    """Make what `gate` would, as far as it is the shard's of ``scoring``, and compare nothing.

    Returns, of each answer by its subject's id, why there is none, '' where there is one.
    """
    names = {side.text: side for sides in pairs for side in sides}
    cases = [case for suite in suites for case in suite.cases]
    subjects = {s.id: s for side in names.values() for s in side.subjects(cases)}
    dealt = scoring.dealt(subjects.values())
    scoring.make(dealt)
    store_run(scoring, dealt, folder=loaded.folder)
    found = {}
    for subject in dealt:
        try:
            scoring.recording(subject)
            found[subject.id] = ""
        except EngineError as error:
            found[subject.id] = error.message
    return found


def _not_asked(reference: GateSide, candidates: Sequence[GateSide]) -> tuple[Comparison, ...]:
    """An ERROR for each; why the reference gave no answer is told with the first one only."""
    reasons = list(dict.fromkeys(reference.errors.values()))
    more = f" (and {len(reasons) - 1} more reasons)" if reasons[1:] else ""
    told = f"not asked, as {reference.label} gave no answer"
    whys = [f"{told}: {reasons[0]}{more}"]
    whys += [f"{told}, as told of {candidates[0].label}"] * (len(candidates) - 1)
    return tuple(refused(reference, one, why) for one, why in zip(candidates, whys, strict=True))


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
    runs = StoredRuns(store_of(name, kept).root).of(name.profile.name, name.engine.name)
    return {case for run in runs for case in (*run.keys, *run.errors)}


def quiet_rows(comparison: Comparison, suite: str | None = None) -> dict[str, list[str]]:
    """By key, the paths of full rows of what was just asked, in cases that are SAME or NOISE.

    Of one ``suite``, or of all.
    """
    quiet = {
        case.case
        for case in comparison.verdict.cases
        if case.verdict in _QUIET and suite in (None, case.suite)
    }
    return {
        recording.key: paths_with_rows(recording)
        for side in (comparison.baseline, comparison.candidate)
        if side.live
        for case, recording in side.recordings.items()
        if case in quiet
    }


def drop_rows(comparisons: Sequence[Comparison], scoring: Scoring, before: Collection[str]) -> None:
    """Rows that no comparison wants any more; one side may be quiet in one and not in another."""
    made = {file.name for file in scoring.store.rows_folder.glob("*.npy")}.difference(before)
    if not made:
        return
    rows = {key: paths for one in comparisons for key, paths in quiet_rows(one).items()}
    wanted = {
        side.recordings[case.case].key
        for one in comparisons
        for case in one.verdict.cases
        if case.verdict not in _QUIET
        for side in (one.baseline, one.candidate)
        if case.case in side.recordings
    }
    for key, paths in rows.items():
        new = [path for path in paths if f"{key}.{path}.npy" in made]
        if new and key not in wanted:
            scoring.store.drop_rows(key, new)
