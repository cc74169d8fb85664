"""What is found of two sides before their numbers: other questions, and an engine that contradicts itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.cases.profiles import Profile
from harness.cases.suites import Case
from harness.checks.question.causes import Cause, QuestionDifference
from harness.checks.result import Result
from harness.checks.stages import Stages, check_stages
from harness.checks.tolerances import known_dtypes, resolve
from harness.checks.top_k import TopKAudit, check_top_k
from harness.engines.codec import settings_from_json
from harness.engines.contract import EngineSettings, Json
from harness.errors import RecordingError
from harness.gate.comparable import QUESTION
from harness.gate.side import GateSide, few
from harness.recordings.fingerprint import loaded_dtype
from harness.scoring.subjects import has_two_accounts, reports_log_probabilities
from harness.verdicts.findings import Finding
from harness.verdicts.verdict import Change

__all__ = ["check_findings", "question_causes", "question_findings", "removed_findings"]

_Group = list[tuple[Change, QuestionDifference]]


def question_causes(changes: Sequence[Change]) -> list[str]:
    """Why the two sides were not asked the same, a line for each cause: for a list of what changed."""
    of = f"of {len(changes)} cases"
    return [f"the question: {group[0][1].title} ({len(_cases(group))} {of})" for group in _by_cause(changes)]


def question_findings(changes: Sequence[Change], *, allowed: bool, upgrade: bool) -> tuple[Finding, ...]:
    """A finding for each cause by which the two sides were not asked the same, that of most cases first.

    They block, unless that is ``allowed``, or in an ``upgrade`` to another model, which may well be asked
    otherwise.
    """
    end = f"allowed: the same question on both sides, or --allow {QUESTION}"
    if allowed or upgrade:
        end = f"let pass: --allow {QUESTION}" if allowed else "let pass: the sides are of two models"
    found: list[Finding] = []
    for group in _by_cause(changes):
        (first, difference), cases = group[0], _cases(group)
        text = f"asked different questions in {len(cases)} of {len(changes)} cases: {difference.title}: "
        text += f"{difference.text} (first {first.case}; {first.place})" + ("" if found else f"; {end}")
        found.append(Finding(name=QUESTION, text=text, cases=cases, blocks=not (allowed or upgrade)))
    return tuple(found)


def removed_findings(gone: Sequence[str], sides: Sequence[GateSide], *, strict: bool) -> tuple[Finding, ...]:
    """That cases of the sides are in no suite any more, which blocks where one is ``strict``."""
    if not gone:
        return ()
    of = " and ".join(dict.fromkeys(side.label for side in sides if not set(gone).isdisjoint(side.cases)))
    count = "1 case" if len(gone) == 1 else f"{len(gone)} cases"
    end = "allowed with --strict: none" if strict else "let pass without --strict"
    text = f"removed: {count} of {of} in no suite any more: {few(gone)}; {end}"
    return (Finding(name="removed cases", text=text, cases=tuple(gone), blocks=strict),)


def check_findings(
    cases: Sequence[Case], baseline: GateSide, candidate: GateSide, profiles: Sequence[Profile]
) -> tuple[Finding, ...]:
    """What the suite's checks of one engine's own answer find, with the limits that the suite has.

    What fails on the candidate and not on the baseline blocks. Where an engine gives one account of its
    answers only, or its answers are accepted ones, nothing is said.
    """
    own = {profile.name: profile.tolerances for profile in profiles}
    both = [case for case in cases if case.name in baseline.recordings and case.name in candidate.recordings]
    before, after = (_failed(side, both, own.get(side.profile, {})) for side in (baseline, candidate))
    kinds = (
        (after.keys() - before.keys(), f"{candidate.label} and not on {baseline.label}"),
        (after.keys() & before.keys(), "both sides"),
        (before.keys() - after.keys(), f"{baseline.label} and not on {candidate.label}"),
    )
    found = []
    for place, (keys, where) in enumerate(kinds):
        for check in (TopKAudit.check, Stages.check):
            if failing := [case for case in both if (check, case.name) in keys]:
                first = failing[0]
                text = f"{check}: fails on {where} in {len(failing)} of {len(cases)} cases: "
                told = (before | after)[check, first.name].findings[0]
                text += f"{told} (first {first.name}; {first.location})"
                names = tuple(case.name for case in failing)
                found.append(Finding(name=check, text=text, cases=names, blocks=place == 0))
    return tuple(found)


def _by_cause(changes: Sequence[Change]) -> list[_Group]:
    groups: dict[Cause, _Group] = {}
    for change in changes:
        for each in () if change.agreement is None else change.agreement.question:
            if not each.note:
                groups.setdefault(each.cause, []).append((change, each))
    return sorted(groups.values(), key=lambda group: -len(_cases(group)))


def _cases(group: _Group) -> tuple[str, ...]:
    return tuple(dict.fromkeys(change.case for change, _ in group))


def _failed(
    side: GateSide, cases: Sequence[Case], overrides: Mapping[str, float]
) -> dict[tuple[str, str], Result]:
    """What fails, by check and case."""
    found: dict[tuple[str, str], Result] = {}
    loaded: dict[int, tuple[EngineSettings, tuple[str, ...]] | None] = {}
    for case in () if side.rounded else cases:
        recording = side.recordings[case.name]
        one = id(recording.fingerprint)  # which thousands of recordings share
        if one not in loaded:
            loaded[one] = _loaded(recording.fingerprint)
        if (told := loaded[one]) is None:
            continue
        settings, dtypes = told
        limits = resolve(*dtypes, overrides=[overrides, case.tolerances])
        results: list[Result] = []
        if reports_log_probabilities(settings):
            results.append(check_top_k(recording, case.letters, limits, asked=settings.top_k))
        if has_two_accounts(settings):
            results.append(check_stages(recording, case.letters, limits))
        found |= {(result.check, case.name): result for result in results if not result}
    return found


def _loaded(fingerprint: Mapping[str, Json]) -> tuple[EngineSettings, tuple[str, ...]] | None:
    """How an engine was loaded and in which dtypes; None of a version that told less."""
    told = fingerprint.get("settings")
    if not isinstance(told, dict):
        return None
    try:
        settings = settings_from_json({"model": "", **told})
    except RecordingError:
        return None
    return settings, known_dtypes(loaded_dtype(fingerprint) or settings.dtype)
