"""Accepting an engine's present answers as the baseline: what moved, by whom it was decided, and why."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.cases.problems import shown
from harness.cases.profiles import Profile
from harness.cases.suites import Case
from harness.errors import GateError
from harness.gate.changed import what_changed
from harness.gate.comparable import QUESTION, WEIGHTS, differing_question, renamed_since
from harness.gate.comparison import Comparison, Terms, compare_sides
from harness.gate.side import GateSide, Kept, accepted_side, load_side
from harness.gate.side_floors import SideFloors
from harness.gate.sides import SideName
from harness.scoring.stored_runs import store_run
from harness.snapshots.accepted import (
    Acceptance,
    AcceptedCase,
    AcceptedSuite,
    Moved,
    accepted_case,
    engine_folder,
    suite_of,
)
from harness.snapshots.files import locked, read_engine, read_suite, require_converted, write_suite
from harness.verdicts.verdict import CaseVerdict, Verdict

__all__ = ["Accepted", "Decision", "accept"]

_CONVERTED = "converted"
_TOGETHER = "with all cases together"
_EDITED = "edited"
_NEW = "new"
_REMOVED = "removed"
_RENAMED = "renamed from"
_KEPT = (Verdict.SAME, Verdict.NOISE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Who accepts, and why. ``regression`` is whether lost right answers are accepted, too."""

    author: str
    reason: str
    regression: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """What was written to ``files``; ``comparison`` is that of what was accepted with the answers, if any."""

    files: tuple[Path, ...]
    acceptance: Acceptance
    comparison: Comparison | None


def accept(
    name: SideName, kept: Kept, profiles: Sequence[Profile], snapshots: Path, decision: Decision
) -> Accepted:
    """Make what is missing, judge it against what is accepted, and write that anew.

    Cases that are SAME or NOISE keep their old numbers, so that what is accepted does not creep, unless what
    all cases show together is more than noise: then all move, or it could never be accepted. A suite in which
    nothing moved gets no decision, unless it was another engine's. Raises
    `GateError` and writes nothing where the engine could not answer, where right answers would be lost
    without ``decision.regression``, and where there is no reason.
    """
    if not decision.reason.strip():
        raise GateError("--reason: found nothing; allowed: why the answers are accepted, in words")
    if not decision.author.strip():
        raise GateError("--author: found nothing; allowed: the name of who accepts")
    if not name.live or name.profile is None or name.engine is None:
        raise GateError(f"found {name.text!r}; allowed: PROFILE/ENGINE as it is now, which is asked")
    require_converted(snapshots)
    folder = engine_folder(snapshots, name.profile.name, name.engine.name)
    old = {suite.suite: suite for suite in (read_engine(folder) if any(folder.glob("*.jsonl")) else ())}
    subjects = name.subjects(kept.cases)
    kept.scoring.make(subjects)
    side = load_side(name, kept)
    store_run(kept.scoring, subjects, folder=kept.folder)
    _refuse_errors(side)
    cases = {subject.case.name: subject.case for subject in subjects}
    new = {
        one.case.name: accepted_case(
            side.recordings[one.case.name].answer,
            one.case.letters,
            kept.scoring.dtype(one),
            side.asked[one.case.name],
        )
        for one in subjects
    }
    renamed: Mapping[str, str] = {}
    comparison = None
    if old:
        accepted = accepted_side(list(old.values()))
        renamed = renamed_since(accepted, side.asked, list(cases.values()))
        comparison = _compare(
            accepted.renamed(renamed), side, kept, profiles, list(cases.values()), snapshots
        )
    before = {renamed.get(case, case): held for suite in old.values() for case, held in suite.cases.items()}
    judged = {} if comparison is None else {case.case: case for case in comparison.verdict.cases}
    whole = None if comparison is None else comparison.verdict.whole
    together = whole is not None and whole.together
    lost = _lost(list(judged.values())) + [
        case
        for case, held in before.items()
        if held.logprobs is None and case in new and held.top == cases[case].expect != new[case].top
    ]
    if not decision.regression:
        _refuse_regression(comparison, lost)
    first = not any(suite.decisions for suite in old.values())
    moved, chosen = _decide(before, new, judged, first=first, together=together)
    for was, now in renamed.items():
        moved.setdefault(
            now, Moved(why=f"{_RENAMED} {was}", old=before[now].letters, new=chosen[now].letters)
        )
    acceptance = Acceptance(
        decision=datetime.datetime.now().astimezone().date().isoformat(),
        author=decision.author.strip(),
        reason=decision.reason.strip(),
        verdict="" if comparison is None else comparison.verdict.verdict.value,
        sentence="" if comparison is None else comparison.verdict.sentence,
        lost=tuple(lost),
        moved=moved,
    )
    files = tuple(
        _write(snapshots, side, suite, old.get(suite), acceptance, chosen)
        for suite in sorted(old.keys() | {suite_of(case) for case in new})
        if suite not in old or not old[suite].decisions or _changed(old[suite], side, acceptance)
    )
    return Accepted(files=files, acceptance=acceptance, comparison=comparison)


def _changed(old: AcceptedSuite, side: GateSide, acceptance: Acceptance) -> bool:
    """Whether there is anything to decide in a suite."""
    if (
        old.of(acceptance.moved)
        or old.of(acceptance.lost)
        or any(case.logprobs is None for case in old.cases.values())
    ):
        return True
    return bool(what_changed(old.fingerprint, side.fingerprint).differences) or old.model != side.model


def _write(
    snapshots: Path,
    side: GateSide,
    suite: str,
    old: AcceptedSuite | None,
    acceptance: Acceptance,
    chosen: Mapping[str, AcceptedCase],
) -> Path:
    """Write what the decision is for one suite; refused where somebody else wrote the file meanwhile."""
    head = AcceptedSuite(
        profile=side.profile,
        engine=side.engine,
        suite=suite,
        model=side.model,
        fingerprint=side.fingerprint,
    )
    file = head.file(snapshots)
    own = replace(
        acceptance,
        lost=head.of(acceptance.lost),
        moved={case: acceptance.moved[case] for case in head.of(acceptance.moved)},
    )
    with locked(file):
        if (read_suite(file) if file.exists() else None) != old:
            raise GateError(f"{shown(file)}: was written by another run meanwhile; accept again")
        decisions = (*(() if old is None else old.decisions), own)
        cases = {case: chosen[case] for case in head.of(chosen)}
        return write_suite(snapshots, replace(head, decisions=decisions, cases=cases))


def _refuse_errors(side: GateSide) -> None:
    if side.errors:
        case, error = next(iter(side.errors.items()))
        more = f" (and {len(side.errors) - 1} more cases)" if len(side.errors) > 1 else ""
        raise GateError(
            f"ERROR: {side.label} could not answer {case}{more}, so nothing was accepted: {error}\n"
            "allowed: an engine that answers every case"
        )
    if not side.recordings:
        raise GateError(f"{side.label} was asked no case, so there is nothing to accept")


def _compare(
    before: GateSide,
    side: GateSide,
    kept: Kept,
    profiles: Sequence[Profile],
    cases: Sequence[Case],
    snapshots: Path,
) -> Comparison | None:
    """What was accepted with the new answers, on the cases that still ask the same; None without any.

    Cases of which probabilities alone are kept are not among them.
    """
    names = set(before.cases) & set(side.cases)
    same = {
        case.name
        for case in cases
        if case.name in names and differing_question(case, before, side, profiles, None) is None
    }
    if not same:
        return None
    wanted = [
        replace(suite, cases=tuple(case for case in suite.cases if case.name in same))
        for suite in kept.suites
    ]
    floors = SideFloors(kept.scoring.store.root, profiles, snapshots=snapshots)
    terms = Terms(allow=(WEIGHTS, QUESTION), floors=floors, every=[case.name for case in kept.cases])
    return compare_sides(before, side, [s for s in wanted if s.cases], profiles, kept.scoring, terms)


def _refuse_regression(comparison: Comparison | None, lost: Sequence[str]) -> None:
    worse = comparison is not None and comparison.verdict.verdict is Verdict.REGRESSION
    if not (worse or lost):
        return
    sentence = "" if comparison is None else f"{comparison.verdict.sentence}\n"
    raise GateError(
        f"{sentence}right answers that would be given up: {', '.join(lost) or 'none singly'}\n"
        "Nothing was accepted; allowed: to say so with --regression, beside the reason"
    )


def _lost(cases: Sequence[CaseVerdict]) -> list[str]:
    """Cases whose right answer is given up; one that flipped within noise keeps its old numbers."""
    return [
        case.case
        for case in cases
        if case.right[0] is True and case.right[1] is not True and case.verdict not in _KEPT
    ]


def _still_right(case: CaseVerdict) -> bool:
    """Whether no right answer is given up with the case, as one near a tie may be by noise."""
    return case.right[0] is not True or case.right[1] is True


def _decide(
    before: Mapping[str, AcceptedCase],
    new: Mapping[str, AcceptedCase],
    judged: Mapping[str, CaseVerdict],
    *,
    first: bool,
    together: bool = False,
) -> tuple[dict[str, Moved], dict[str, AcceptedCase]]:
    """What moved, and what is accepted from now on; of a ``first`` decision only what was accepted before.

    ``together`` is whether all cases move, as more was found in them than in any single one.
    """
    moved: dict[str, Moved] = {}
    chosen: dict[str, AcceptedCase] = {}
    for name, case in new.items():
        chosen[name] = case
        was, verdict = before.get(name), judged.get(name)
        if was is None:
            if not first:  # of the first acceptance everything is new, and stands below
                moved[name] = Moved(why=_NEW, old=None, new=case.letters)
        elif verdict is not None and verdict.verdict in _KEPT and not (together and _still_right(verdict)):
            chosen[name] = replace(was, rendered=case.rendered)
        elif was.logprobs is not None or was.letters != case.letters:
            why = _TOGETHER if verdict is not None and verdict.verdict in _KEPT else ""
            why = (
                why or verdict.verdict.value if verdict is not None else _EDITED if was.asked else _CONVERTED
            )
            moved[name] = Moved(why=why, old=was.letters, new=case.letters)
    for name in before.keys() - new.keys():
        moved[name] = Moved(why=_REMOVED, old=before[name].letters, new=None)
    return moved, chosen
