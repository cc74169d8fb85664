"""The report as plain data: what `harness.schemas.report` describes, made from what was judged."""

from __future__ import annotations

import datetime
import math
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, JsonValue

from harness.cases.suites import Case
from harness.checks.agreement import Agreement
from harness.checks.log_odds import LogOdds
from harness.checks.side import Side
from harness.checks.tolerances import Tolerances
from harness.errors import EngineError
from harness.recordings.fingerprint import Difference, digest, image_fingerprint
from harness.reports.breakdown import accuracies, breakdown
from harness.reports.page.choosing import shown_cases
from harness.reports.page.engines import engine_entries
from harness.reports.report_input import Explanation, HistoryPoint, PytestRun, ReportInput, ReportSide
from harness.reports.summary import CheckSummary
from harness.reports.verdict_figures import verdict_words
from harness.reports.worst_cases import worst_cases
from harness.schemas import report as entries
from harness.verdicts.paired_accuracy import LostAndGained
from harness.verdicts.rules import TESTS
from harness.verdicts.verdict import CaseVerdict, Change, Evidence, SuiteVerdict

__all__ = ["Report", "make_report"]

_DISTRIBUTION = "vlm-consistency-harness"
_KEY_DIGITS = 16
_MOST, _MOST_OTHERS = 20, 5
M = TypeVar("M", bound=BaseModel)
# Beginnings of paths in a fingerprint, with what they are about, in the order in which people ask.
_KINDS: Mapping[str, entries.KindOfDifference] = {
    "installed.packages.": "version",
    "installed.python": "version",
    "environment.packages.": "package",
    "environment": "package",
    "model": "model",
    "settings.": "setting",
    "loaded.": "as loaded",
    "installed.": "machine",
}
_KIND_ORDER: tuple[entries.KindOfDifference, ...] = (*dict.fromkeys(_KINDS.values()), "other")


@dataclass(frozen=True, slots=True)
class Report:
    """The ``document``, and for the page where the ``pictures`` of its images are, by key, those of the worst
    cases first, ``explained``, and what a pytest run counted, where it is one's (``ran``).

    An explanation belongs to the comparison whose sides, both asked now, have its labels. ``whole`` are the
    comparisons where the document lacks cases, else none.
    """

    document: entries.ReportFile
    pictures: Mapping[str, Path] = field(repr=False)
    explained: Sequence[Explanation] = field(default=(), repr=False)
    ran: PytestRun | None = None
    whole: Sequence[ReportInput] = field(default=(), repr=False)

    def to_json(self) -> str:
        """The document as JSON text, valid by ``harness/schemas/report.schema.json``."""
        return self.document.model_dump_json(indent=1) + "\n"


def make_report(
    inputs: Sequence[ReportInput], *, made: datetime.datetime | None = None, page: bool = False
) -> Report:
    """The report on one or more comparisons; ``made`` None is now.

    Without ``page`` it has every case, with it as many as `shown_cases` says. An image that cannot be read is
    told in the document. Raises ValueError without a comparison.
    """
    if not inputs:
        raise ValueError("a report needs at least one comparison; found none")
    when = datetime.datetime.now().astimezone() if made is None else made
    pictures = _Pictures()
    every = [given.verdict.cases for given in inputs]
    shown = [shown_cases(cases, len(inputs)) if page else (cases, "") for cases in every]
    document = entries.ReportFile(
        version=3,
        harness=_own_version(),
        made=when.isoformat(timespec="seconds"),
        comparisons=(
            comparisons := [
                _comparison(given, pictures, *own) for given, own in zip(inputs, shown, strict=True)
            ]
        ),
        engines=engine_entries(inputs),
        images=pictures.entries,
    )
    whole = inputs if any(note for _, note in shown) else ()
    return Report(document, _worst_first(inputs, comparisons, pictures.paths), whole=whole)


def _worst_first(
    inputs: Sequence[ReportInput], comparisons: Sequence[entries.ComparisonEntry], paths: Mapping[str, Path]
) -> dict[str, Path]:
    """The pictures, those of the worst cases of each comparison before others."""
    ranks: dict[str, int] = {}
    for given, told in zip(inputs, comparisons, strict=True):
        images = {case.case: case.images for case in told.cases}
        for rank, case in enumerate(worst_cases(given.verdict.cases, most=len(images)).shown):
            for key in images.get(case.case, ()):
                ranks[key] = min(rank, ranks.get(key, rank))
    return dict(sorted(paths.items(), key=lambda item: ranks.get(item[0], len(paths))))


class _Pictures:
    """Images by content, each looked at once."""

    def __init__(self) -> None:
        self.entries: dict[str, entries.ImageEntry] = {}
        self.paths: dict[str, Path] = {}
        self._keys: dict[Path, str] = {}

    def key(self, path: Path) -> str:
        if path not in self._keys:
            problem = ""
            try:
                key = image_fingerprint(path)[:_KEY_DIGITS]
            except EngineError as error:
                key, problem = digest(str(path))[:_KEY_DIGITS], str(error).splitlines()[0]
            self._keys[path] = key
            self.paths.setdefault(key, path)
            self.entries.setdefault(key, entries.ImageEntry(file=_shown(path), problem=problem))
        return self._keys[path]


def _comparison(
    given: ReportInput, pictures: _Pictures, shown: Sequence[CaseVerdict], note: str
) -> entries.ComparisonEntry:
    judged = given.verdict
    changes = {change.case: change for change in given.changes}
    known = {case.name: case for case in given.cases}
    checks: dict[str, list[CheckSummary]] = defaultdict(list)
    for check in given.checks:
        checks[check.case].append(check)
    suites: dict[str, list[CaseVerdict]] = defaultdict(list)
    for case in judged.cases:
        suites[case.suite].append(case)
    found = breakdown(judged, given.changes, texts=given.texts)
    mass = found.mass
    return _entry(
        entries.ComparisonEntry,
        judged,
        name=given.name,
        baseline=_side(given.baseline),
        candidate=_side(given.candidate),
        words=verdict_words(judged),
        status=judged.status.name,
        changed=_differences(given.changed),
        notes=[*filter(None, [note]), *given.notes],
        whole=None if judged.whole is None else _suite(judged.whole, judged.cases),
        where=[_entry(entries.PlaceEntry, one, evidence=_evidence(one.evidence)) for one in judged.where],
        accuracy=None if found.accuracy is None else _lost_and_gained(found.accuracy),
        mass=None if mass is None else _entry(entries.MassEntry, mass, lost=mass.lost[:_MOST]),
        taken=[_entry(entries.TakenEntry, one, text=found.texts.get(one.id)) for one in found.taken[:_MOST]],
        suites=[_suite(suite, suites[suite.suite]) for suite in judged.suites],
        cases=[
            _case(
                verdict,
                changes.get(verdict.case),
                known.get(verdict.case),
                pictures,
                limits=given.limits.get(verdict.case),
                checks=checks[verdict.case],
                command=given.commands.get(verdict.case, ""),
                history=given.histories.get(verdict.case, ()),
                texts=given.texts,
            )
            for verdict in shown
        ],
        runs=given.runs,
    )


def _entry(model: type[M], given: object, **more: object) -> M:
    """An entry of the attributes of ``given`` by their names, and of ``more``."""
    names = [name for name in model.model_fields if name not in more and hasattr(given, name)]
    return model.model_validate({name: getattr(given, name) for name in names} | more)


def _side(side: ReportSide) -> entries.SideEntry:
    return _entry(entries.SideEntry, side, fingerprint=_json(side.fingerprint))


def _suite(suite: SuiteVerdict, cases: Sequence[CaseVerdict]) -> entries.SuiteEntry:
    return _entry(
        entries.SuiteEntry,
        suite,
        words=verdict_words(suite),
        within_margin=suite.shown.within,
        rest=suite.shown.rest,
        accuracies=accuracies(cases),
        evidence=[_evidence(one) for one in suite.evidence],
    )


def _evidence(one: Evidence) -> entries.EvidenceEntry:
    return _entry(entries.EvidenceEntry, one, rule=TESTS.get(one.name, ""))


def _lost_and_gained(found: LostAndGained) -> entries.LostAndGainedEntry:
    letters = [(*pair, count) for pair, count in found.letters.items()]
    return _entry(entries.LostAndGainedEntry, found, letters=letters)


def _differences(differences: Iterable[Difference]) -> list[entries.DifferenceEntry]:
    found = [
        _entry(
            entries.DifferenceEntry,
            each,
            kind=_kind(each.path),
            before=_json(each.before),
            after=_json(each.after),
        )
        for each in differences
    ]
    return sorted(found, key=lambda each: (_KIND_ORDER.index(each.kind), each.path))


def _kind(path: str) -> entries.KindOfDifference:
    return next((kind for start, kind in _KINDS.items() if path.startswith(start)), "other")


def _case(
    verdict: CaseVerdict,
    change: Change | None,
    case: Case | None,
    pictures: _Pictures,
    *,
    limits: Tolerances | None,
    checks: Sequence[CheckSummary],
    command: str,
    history: Sequence[HistoryPoint],
    texts: Mapping[int, str],
) -> entries.CaseEntry:
    agreement = None if change is None else change.agreement
    sides = (None, None) if agreement is None else (agreement.a, agreement.b)
    baseline, candidate = (
        None if side is None else _answer(side, verdict.letters, log_odds, right, texts)
        for side, log_odds, right in zip(
            sides, (verdict.baseline, verdict.candidate), verdict.right, strict=True
        )
    )
    flip = None
    if verdict.flip is not None:
        flip = entries.FlipEntry(kind=verdict.flip, before=verdict.answers[0], after=verdict.answers[1])
    return _entry(
        entries.CaseEntry,
        verdict,
        prompt=None if case is None else case.prompt,
        system=None if case is None else case.system,
        images=[] if case is None else list(map(pictures.key, case.images)),
        cluster=verdict.cluster or verdict.case,
        mass=None if verdict.rest is None else (1 - verdict.rest[0], 1 - verdict.rest[1]),
        baseline=baseline,
        candidate=candidate,
        errors=[] if change is None else change.errors,
        question=[] if agreement is None else [f"{q.title}: {q.text}" for q in agreement.question],
        flip=flip,
        metrics=_metrics(verdict, agreement, limits),
        checks=[_entry(entries.CheckEntry, one, status=one.status.name) for one in checks],
        command=command,
        history=history,
    )


def _answer(
    side: Side, letters: Sequence[str], log_odds: LogOdds, right: bool | None, texts: Mapping[int, str]
) -> entries.AnswerEntry:
    ids = side.answer.letter_ids
    others = [entry for entry in side.reading.top if ids and entry.id not in ids][:_MOST_OTHERS]
    return entries.AnswerEntry(
        engine=side.engine,
        path=side.reading.path,
        text=side.answer.text,
        reached=side.reached,
        partial=side.reading.partial,
        top=None if side.top is None else letters[side.top],
        right=right,
        least=[interval.low for interval in side.intervals],
        most=[interval.high for interval in side.intervals],
        log_odds=list(log_odds),
        coverage=_coverage(side, letters),
        others=[
            _entry(entries.TokenEntry, entry, text=texts.get(entry.id))
            for entry in others
            if math.isfinite(entry.logprob)
        ],
    )


def _coverage(side: Side, letters: Sequence[str]) -> entries.CoverageEntry:
    """A full reading knows every rank; of a partial one only the letters outside its list are known."""
    reading, count = side.reading, len(side.answer.reported_top)
    reported = count or (len(reading.top) if reading.partial else 0) or None
    if reading.letter_ranks:
        lowest = max(range(len(letters)), key=reading.letter_ranks.__getitem__)
        rank = reading.letter_ranks[lowest] + 1
        within = None if reported is None else rank <= reported
        return entries.CoverageEntry(reported=reported, within=within, lowest=letters[lowest], rank=rank)
    if reading.partial:
        within = not any(logit == -math.inf for logit in reading.letter_logits)
        return entries.CoverageEntry(reported=reported, within=within, lowest=None, rank=None)
    return entries.CoverageEntry(reported=reported, within=None, lowest=None, rank=None)


def _metrics(
    verdict: CaseVerdict, agreement: Agreement | None, limits: Tolerances | None
) -> list[entries.MetricEntry]:
    found: list[entries.MetricEntry] = []

    def add(
        name: str, value: float | None, limit: float | None, *, where: str = "", bounded: bool = False
    ) -> None:
        if value is not None:
            entry = entries.MetricEntry(
                name=name, value=_measured(value), limit=limit or None, where=where, bounded=bounded
            )
            found.append(entry)

    add("log-odds", verdict.largest, verdict.limit if math.isfinite(verdict.limit) else None)
    if agreement is None:
        return found
    worst = agreement.worst_letter
    add(
        "|Δp|",
        agreement.worst,
        None if limits is None else limits.probability,
        where="" if worst is None else agreement.letters[worst],
        bounded=agreement.partial and agreement.worst != agreement.least,
    )
    add(
        "total variation",
        agreement.total_variation,
        None if limits is None else limits.total_variation,
        bounded=agreement.partial and agreement.total_variation != agreement.least_total_variation,
    )
    if agreement.full is not None:
        add("KL", agreement.full.kl, None if limits is None else limits.kl)
        add("JS", agreement.full.js, None if limits is None else limits.js)
    return found


def _measured(value: float) -> float | Literal["nan", "inf", "-inf"]:
    if math.isfinite(value):
        return float(value)
    return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"


def _json(value: object) -> JsonValue:
    """Plain JSON; a number that JSON lacks is text."""
    if isinstance(value, Mapping):
        return {str(_json(str(name))): _json(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_json(one) for one in value]
    if isinstance(value, float):
        return _measured(value)
    if value is None or isinstance(value, bool | int):
        return value
    return str(value).encode("utf-8", "replace").decode("utf-8")


def _shown(path: Path) -> str:
    """The path from the folder one is in, where it lies within."""
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


def _own_version() -> str:
    try:
        return version(_DISTRIBUTION)
    except PackageNotFoundError:
        return "not installed"
