"""A comparison: two sides of a gate, what was judged of them, and what a reader asks next."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from harness.cases.budgets import Budgets, default_margin
from harness.cases.profiles import Profile
from harness.cases.suites import Case, Suite
from harness.checks.question.kept import compare_kept
from harness.checks.target import stretch
from harness.checks.tolerances import Tolerances, known_dtypes, resolve
from harness.errors import GateError
from harness.gate.changed import WhatChanged, what_changed
from harness.gate.comparable import (
    QUESTION,
    Common,
    asked_now,
    find_common,
    is_upgrade,
    renamed_since,
    require_comparable,
)
from harness.gate.findings import check_findings, question_causes, question_findings, removed_findings
from harness.gate.side import GateSide, few
from harness.gate.side_floors import SideFloors
from harness.noise.case_limits import noise_limits
from harness.recordings.fingerprint import digest
from harness.scoring.scoring import Scoring
from harness.snapshots.accepted import ROUNDING
from harness.verdicts.judging import judge
from harness.verdicts.noise_floor import NoiseFloor
from harness.verdicts.noise_model import Noise
from harness.verdicts.upgrade_judging import judge_upgrade
from harness.verdicts.verdict import Change, ComparisonVerdict, ExitStatus, Verdict

__all__ = ["Comparison", "Terms", "compare_sides", "refused"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two sides and what was judged of them.

    ``changes`` and ``cases`` are what the judge was given and the cases as the suites have them, in one
    order. ``common`` says which cases one side only has, ``changed`` what differs between the questions
    and the fingerprints.
    ``commands`` has, by case name, the command that shows just this case, and ``limits`` those of the
    metrics, by the noise floors or the table. ``asking`` is the one that asks what was stored without being
    asked, '' where there is none. ``allowed`` is what was let pass that would else be refused,
    ``stale`` says which noise floors no longer hold, ``damaged`` which files of the folder of recordings have
    lost something. ``judged`` judges again, with another share of false alarms. ``looks`` says how often and
    when the cases were looked at, '' where once.
    """

    baseline: GateSide
    candidate: GateSide
    verdict: ComparisonVerdict
    changed: WhatChanged = field(repr=False)
    changes: tuple[Change, ...] = field(default=(), repr=False)
    cases: tuple[Case, ...] = field(default=(), repr=False)
    common: Common = field(default=Common(), repr=False)
    commands: Mapping[str, str] = field(default_factory=dict, repr=False)
    limits: Mapping[str, Tolerances] = field(default_factory=dict, repr=False)
    asking: str = ""
    allowed: tuple[str, ...] = ()
    stale: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()
    judged: partial[ComparisonVerdict] | None = field(default=None, repr=False)
    looks: str = ""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader should know of cases that were not compared, and of what the comparison rests on."""
        candidate, baseline = self.candidate.label, self.baseline.label
        told = (
            ("asked of {b} and not of {c}, which counts as ERROR", self.common.missing),
            ("asked of {b} only: {c} was asked nothing of their suite", self.common.only_baseline),
            ("new, and so not judged: {b} was not asked", self.common.only_candidate),
        )
        cases = [
            f"{_count(names)} {text.format(b=baseline, c=candidate)}: {few(names)}"
            for text, names in told
            if names
        ]
        if unasked := self.common.unasked:
            told_of = f"{few(unasked)}{self.asking and f'; to ask: {self.asking}'}"
            cases.append(
                f"{_count(unasked)} asked of neither {baseline} nor {candidate}, not judged: {told_of}"
            )
        if renames := self.common.renamed:
            told_of = few([f"{old} is now {new}" for old, new in renames.items()])
            cases.append(f"{_count(tuple(renames))} under another name, and asking the very same: {told_of}")
        let_pass = (f"let pass: other {name} under one name" for name in self.allowed)
        looks = (self.looks,) if self.looks else ()
        return (*looks, *cases, *let_pass, *self.stale, *self.damaged)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """On what terms two sides are compared.

    ``margin`` wins over those of suites and profiles, None leaves them. ``strict`` lets no margin excuse what
    was found. ``allow`` names what is let pass (see `harness.gate.comparable.ALLOWED`). ``floors`` has the
    noise floors of sides; without, the table is taken. ``again`` are the words of the command that compares
    the two again. ``every`` names all cases of the folder, where only some are compared.
    """

    margin: float | None = None
    strict: bool = False
    allow: Collection[str] = ()
    floors: SideFloors | None = None
    again: Sequence[str] = ()
    every: Collection[str] = ()


def compare_sides(
    baseline: GateSide,
    candidate: GateSide,
    suites: Sequence[Suite],
    profiles: Sequence[Profile],
    scoring: Scoring,
    terms: Terms,
) -> Comparison:
    """Judge ``candidate`` against ``baseline`` on the cases of ``suites`` that both were asked.

    Raises `GateError` where there is no such case or the sides cannot be compared.
    """
    cases = [case for suite in suites for case in suite.cases]
    asking = _asking(baseline, candidate, terms.again)
    now = asked_now(cases, (baseline, candidate), profiles, scoring)
    renamed = [renamed_since(side, now, cases) for side in (baseline, candidate)]
    baseline, candidate = baseline.renamed(renamed[0]), candidate.renamed(renamed[1])
    common = find_common(baseline, candidate, cases, profiles, every=terms.every)
    common = replace(common, renamed=renamed[1] | renamed[0])
    if not common.both:
        raise GateError(
            f"found no case that {baseline.label} ({few(baseline.cases) or 'none'}) and {candidate.label} "
            f"({few(candidate.cases) or 'none'}) were both asked; allowed: sides with cases in common that a "
            f"suite has now{asking and f'; to ask those: {asking}'}"
        )
    let_pass = require_comparable(
        baseline, candidate, common, profiles, now, allow=terms.allow, asking=asking
    )
    limits = _Limits(baseline, candidate, profiles, terms)
    changes = tuple(_change(case, baseline, candidate, scoring) for case in common.both)
    budgets = {suite.name: _budgets(suite.budgets, terms) for suite in suites}
    own = next((profile.budgets for profile in profiles if profile.name == candidate.profile), Budgets())
    if upgrade := is_upgrade(baseline, candidate, terms.allow):
        judged = partial(judge_upgrade, models=(baseline.model, candidate.model))
        if own.accuracy is not None:
            judged = partial(judged, margin=own.accuracy)
    else:
        judged = partial(
            judge,
            whole=_budgets(own, terms),
            margin=default_margin(*limits.dtypes) if terms.margin is None else terms.margin,
            noise=limits.noise,
            strict=terms.strict,
        )
    asked = question_findings(changes, allowed=QUESTION in terms.allow, upgrade=upgrade)
    judged = partial(
        judged,
        changes,
        baseline=baseline.label,
        candidate=candidate.label,
        budgets=budgets,
        findings=(
            *asked,
            *check_findings(common.both, baseline, candidate, profiles),
            *removed_findings(common.gone, (baseline, candidate), strict=terms.strict),
        ),
    )
    changed = what_changed(baseline.fingerprint, candidate.fingerprint)
    again = shlex.join([*terms.again, "--case"])
    return Comparison(
        baseline=baseline,
        candidate=candidate,
        verdict=judged(),
        changes=changes,
        cases=common.both,
        common=common,
        changed=changed._replace(lines=(*question_causes(changes), *changed.lines)),
        commands={case.name: f"{again} {shlex.quote(case.name)}" for case in common.both},
        limits={
            case.name: limits.metrics(change, case.tolerances, cases=len(changes))
            for case, change in zip(common.both, changes, strict=True)
            if not upgrade
        },
        asking=asking,
        allowed=let_pass,
        stale=() if upgrade else limits.stale,
        judged=judged,
    )


def refused(baseline: GateSide, candidate: GateSide, why: str) -> Comparison:
    """Two sides that cannot be compared: an ERROR without cases, beside comparisons that were made."""
    return Comparison(
        baseline=baseline,
        candidate=candidate,
        verdict=ComparisonVerdict(
            baseline=baseline.label,
            candidate=candidate.label,
            verdict=Verdict.ERROR,
            sentence=f"{Verdict.ERROR}: {candidate.label} against {baseline.label}: {why}",
            status=ExitStatus.ERROR,
            suites=(),
            cases=(),
            noise="nothing was judged",
        ),
        changed=what_changed(baseline.fingerprint, candidate.fingerprint),
    )


class _Limits:
    """How far apart noise brings the two sides."""

    def __init__(
        self, baseline: GateSide, candidate: GateSide, profiles: Sequence[Profile], terms: Terms
    ) -> None:
        both = (baseline, candidate)
        self.dtypes = tuple(dict.fromkeys(dtype for side in both for dtype in known_dtypes(side.dtype)))
        names = {baseline.profile, candidate.profile}
        self._overrides = [profile.tolerances for profile in profiles if profile.name in names]
        self._usual = self.table({})
        known_floors = terms.floors
        floors: tuple[NoiseFloor | None, NoiseFloor | None] = (None, None)
        note = ""
        if known_floors is not None:
            before, after, note = known_floors.of_pair(baseline, candidate)
            floors = before, after
        self.stale = tuple(
            told for side in both if known_floors is not None and (told := known_floors.stale(side))
        )
        self._floors = [
            floor for floor in (floors[0] or floors[1], floors[1] or floors[0]) if floor is not None
        ]
        self.noise = Noise(
            floors[0],
            floors[1],
            dtypes=(baseline.dtype, candidate.dtype),
            table=self._usual.log_odds,
            rounding=ROUNDING**2 * sum(1 for side in both if side.rounded),
            note=note,
        )

    def table(self, own: Mapping[str, float]) -> Tolerances:
        """The limits of the dtypes and profiles; those that a case has of its ``own`` win."""
        return resolve(*self.dtypes, overrides=[*self._overrides, own])

    def metrics(self, change: Change, own: Mapping[str, float], *, cases: int) -> Tolerances:
        """The limits of one case's metrics; by noise where it was measured, and else `table`."""
        if change.agreement is None or not self.noise.measured:
            return self.table(own) if own else self._usual
        noise = self.noise.of(change.case, change.asked)
        if not noise.measured:
            return self.table(own)
        a = change.agreement.a
        measured = noise_limits(
            noise,
            a.intervals,
            case=change.case,
            cases=cases,
            floors=self._floors,
            stretch=stretch(a.reading),
        )
        return resolve(*self.dtypes, overrides=[*self._overrides, own], measured=measured)


def _change(case: Case, baseline: GateSide, candidate: GateSide, scoring: Scoring) -> Change:
    before, after = baseline.recordings.get(case.name), candidate.recordings.get(case.name)
    errors = [
        f"{side.label}: {side.errors.get(case.name, 'was not asked')}"
        for side, recording in ((baseline, before), (candidate, after))
        if recording is None
    ]
    agreement = None
    if before is not None and after is not None:
        agreement = scoring.beside(before, after, case.letters)
        if baseline.rounded or candidate.rounded:  # of what was accepted there are hashes only
            shown = baseline.shown(case.name), candidate.shown(case.name)
            agreement = replace(agreement, question=compare_kept(*shown))
    asked = candidate.asked.get(case.name) or baseline.asked.get(case.name) or {}
    images = asked.get("images")
    return Change.of(
        case,
        images=list(map(str, images)) if isinstance(images, list) else (),
        agreement=agreement,
        asked=digest(dict(asked)),
        errors=errors,
    )


def _asking(baseline: GateSide, candidate: GateSide, again: Sequence[str]) -> str:
    """The commands that ask two stored sides' engines what the suites have now; '' for any others.

    Of a bundle no engine is asked.
    """
    sides, words = (baseline, candidate), list(again)
    if not words or "--from" in words or any(side.live for side in sides):
        return ""
    for side, place in zip(sides, (3, 5), strict=True):  # harness gate --baseline A --candidate B
        words[place] = words[place] if side.rounded else f"{side.profile}/{side.engine}"
    folder, *others = {side.label.partition("@")[2] for side in sides if not side.rounded} or {""}
    if folder and not others and Path(folder).is_dir():
        words += ["--recordings", folder]
    accept = [f"harness accept {side.profile}/{side.engine} --reason TEXT" for side in sides if side.rounded]
    gate = [shlex.join(words)] if len(accept) < len(sides) else []
    return "; ".join(dict.fromkeys([*gate, *accept]))


def _budgets(budgets: Budgets, terms: Terms) -> Budgets:
    return budgets if terms.margin is None else replace(budgets, margin=terms.margin)


def _count(names: Sequence[str]) -> str:
    return "1 case" if len(names) == 1 else f"{len(names)} cases"
