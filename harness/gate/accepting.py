"""Accepting an engine's present answers as the baseline: what moved, by whom it was decided, and why."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.cases.profiles import Profile
from harness.cases.suites import Case
from harness.engines.contract import Json
from harness.errors import GateError
from harness.gate.accepted import (
    Acceptance,
    AcceptedBaseline,
    AcceptedCase,
    Moved,
    accepted_case,
    read_accepted,
    write_accepted,
)
from harness.gate.comparable import WEIGHTS, differing_question
from harness.gate.comparison import Comparison, Terms, compare_sides
from harness.gate.side import GateSide, Kept, load_side
from harness.gate.side_floors import SideFloors
from harness.gate.sides import SideName, accepted_file
from harness.scoring.stored_runs import store_run
from harness.verdicts.verdict import CaseVerdict, Verdict

__all__ = ["Accepted", "Decision", "accept"]

_EDITED = "edited"
_NEW = "new"
_REMOVED = "removed"
_KEPT = (Verdict.SAME, Verdict.NOISE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Who accepts, and why. ``regression`` is whether lost right answers are accepted, too."""

    author: str
    reason: str
    regression: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """What was written to ``file``; ``comparison`` is that of the old baseline with the new one, if any."""

    file: Path
    acceptance: Acceptance
    comparison: Comparison | None


def accept(
    name: SideName, kept: Kept, profiles: Sequence[Profile], snapshots: Path, decision: Decision
) -> Accepted:
    """Make what is missing, judge it against the accepted baseline, and write that anew.

    Cases that are SAME or NOISE keep their old numbers, so that a baseline does not creep. Raises `GateError`
    and writes nothing where the engine could not answer, where right answers would be lost without
    ``decision.regression``, and where there is no reason.
    """
    if not decision.reason.strip():
        raise GateError("--reason: found nothing; allowed: why the answers are accepted, in words")
    if not decision.author.strip():
        raise GateError("--author: found nothing; allowed: the name of who accepts")
    if not name.live or name.profile is None or name.engine is None:
        raise GateError(f"found {name.text!r}; allowed: PROFILE/ENGINE as it is now, which is asked")
    file = accepted_file(snapshots, name.profile.name, name.engine.name)
    old = read_accepted(file) if file.exists() else None
    subjects = name.subjects(kept.cases)
    kept.scoring.make(subjects)
    side = load_side(name, kept)
    store_run(kept.scoring, subjects, folder=kept.folder)
    _refuse_errors(side)
    cases = {subject.case.name: subject.case for subject in subjects}
    new = {
        case: accepted_case(recording, cases[case].letters, side.asked[case] or {})
        for case, recording in side.recordings.items()
    }
    comparison = None if old is None else _compare(file, side, kept, profiles, list(cases.values()))
    if comparison is not None and not decision.regression:
        _refuse_regression(comparison)
    acceptance, chosen = _decide(old, new, comparison, decision)
    baseline = AcceptedBaseline(
        profile=side.profile,
        engine=side.engine,
        model=side.model,
        fingerprint=side.fingerprint,
        cases=chosen,
        accepted=(*(() if old is None else old.accepted), acceptance),
    )
    write_accepted(file, baseline)
    return Accepted(file=file, acceptance=acceptance, comparison=comparison)


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
    file: Path, side: GateSide, kept: Kept, profiles: Sequence[Profile], cases: Sequence[Case]
) -> Comparison | None:
    """The old baseline with the new answers, on the cases that still ask the same; None without any."""
    before = load_side(SideName(text=str(file), file=file), kept)
    names = set(before.cases) & set(side.cases)
    same = {
        case.name
        for case in cases
        if case.name in names and differing_question(case, before, side, profiles) is None
    }
    if not same:
        return None
    wanted = [
        replace(suite, cases=tuple(case for case in suite.cases if case.name in same))
        for suite in kept.suites
    ]
    terms = Terms(allow=(WEIGHTS,), floors=SideFloors(kept.scoring.store.root, profiles))
    return compare_sides(before, side, [s for s in wanted if s.cases], profiles, kept.scoring, terms)


def _refuse_regression(comparison: Comparison) -> None:
    lost = _lost(comparison.verdict.cases)
    if comparison.verdict.verdict is not Verdict.REGRESSION and not lost:
        return
    raise GateError(
        f"{comparison.verdict.sentence}\n"
        f"right answers that would be given up: {', '.join(lost) or 'none singly'}\n"
        "Nothing was accepted; allowed: to say so with --regression, beside the reason"
    )


def _lost(cases: Sequence[CaseVerdict]) -> list[str]:
    """Cases whose right answer is given up; one that flipped within noise keeps its old numbers."""
    return [
        case.case
        for case in cases
        if case.right[0] is True and case.right[1] is not True and case.verdict not in _KEPT
    ]


def _decide(
    old: AcceptedBaseline | None,
    new: Mapping[str, AcceptedCase],
    comparison: Comparison | None,
    decision: Decision,
) -> tuple[Acceptance, dict[str, AcceptedCase]]:
    before = {} if old is None else old.cases
    judged = {} if comparison is None else {case.case: case for case in comparison.verdict.cases}
    moved: dict[str, Moved] = {}
    chosen: dict[str, AcceptedCase] = {}
    for name, case in new.items():
        chosen[name] = case
        was, verdict = before.get(name), judged.get(name)
        if was is None:
            if old is not None:  # of the first acceptance everything is new, and stands below
                moved[name] = Moved(why=_NEW, old=None, new=_shares(case))
        elif verdict is not None and verdict.verdict in _KEPT:
            chosen[name] = was
        else:
            why = _EDITED if verdict is None else verdict.verdict.value
            moved[name] = Moved(why=why, old=_shares(was), new=_shares(case))
    for name in before.keys() - new.keys():
        moved[name] = Moved(why=_REMOVED, old=_shares(before[name]), new=None)
    acceptance = Acceptance(
        date=datetime.datetime.now().astimezone().date().isoformat(),
        author=decision.author.strip(),
        reason=decision.reason.strip(),
        verdict="" if comparison is None else comparison.verdict.verdict.value,
        sentence="" if comparison is None else comparison.verdict.sentence,
        lost=tuple(_lost(list(judged.values()))),
        moved=moved,
    )
    return acceptance, chosen


def _shares(case: AcceptedCase) -> dict[str, Json]:
    return {letter: _json(share) for letter, share in case.shares.items()}


def _json(share: float | Mapping[str, float]) -> Json:
    return share if isinstance(share, float) else dict(share)
