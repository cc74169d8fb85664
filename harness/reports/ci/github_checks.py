"""What GitHub shows of a run of the suite without a verdict: totals, and the cases that did not pass."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.reports.ci.github import Level, annotation, cell, in_workspace, table
from harness.reports.summary import CheckSummary, Status, Tally, tallies_of, total
from harness.reports.worst_cases import MOST

__all__ = ["checks_annotations", "checks_summary"]

_WORDS = {
    Status.PASSED: "passed",
    Status.FAILED: "failed",
    Status.KNOWN: "known failures",
    Status.ERROR: "errors",
}
_BAD = (Status.FAILED, Status.ERROR)
_NONE: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bad:
    """A case that did not pass on one engine; ``checks`` are those that failed or had no answer.

    It stands for all ``cases`` of an engine that could not be loaded; ``refused`` says why.
    """

    place: str
    case: str
    side: str
    checks: tuple[str, ...]
    error: bool
    worst: float
    cases: int = 1
    refused: str = ""

    def words(self) -> str:
        """What happened, in words."""
        if self.refused:
            return f"{self.refused}; no answer to {self.cases} case{'s' * (self.cases > 1)}"
        listed = ", ".join(self.checks)
        return f"no answer from the engine ({listed})" if self.error else f"failed: {listed}"


def checks_summary(
    summaries: Sequence[CheckSummary],
    *,
    tallies: Sequence[Tally] = (),
    reasons: Mapping[str, str] = _NONE,
) -> str:
    """Markdown: totals of each profile, then at most `worst_cases.MOST` cases that did not pass.

    ``tallies`` are of other cases than ``summaries``; ``reasons`` says by label why an engine could not be
    loaded.
    """
    bad = _bad_cases([*summaries, *(one for tally in tallies for row in tally.rows for one in row)], reasons)
    tallies = [*tallies_of(summaries), *tallies]
    rows = []
    for profile in dict.fromkeys(tally.profile for tally in tallies):
        own = [tally for tally in tallies if tally.profile == profile]
        engines = {engine for tally in own for engine in tally.engines}
        counts = (total(own, status) for status in _WORDS)
        figures = (sum(tally.cases for tally in own), len(engines), total(own), *counts)
        rows.append((profile, *map(str, figures)))
    parts = [
        f"## {_sentence(tallies)}",
        table(("profile", "cases", "engines", "checks", *_WORDS.values()), rows),
    ]
    if bad:
        shown = [(one.place, one.case, one.side, one.words()) for one in bad[:MOST]]
        parts += ["### Cases that did not pass", table(("place", "case", "engine", "what"), shown)]
    if (more := max(0, len(bad) - MOST) + sum(tally.beyond for tally in tallies)) > 0:
        parts.append(f"and {more} more")
    told = {
        f"- {cell(f'{tally.profile}/{engine}: {device}')}": None
        for tally in tallies
        for engine, devices in tally.devices.items()
        for device in devices
    }
    parts.append("\n".join([*told][:MOST]))
    return "".join(f"{part}\n\n" for part in parts if part)


def checks_annotations(
    summaries: Sequence[CheckSummary],
    *,
    workspace: Path | None,
    folder: Path,
    reasons: Mapping[str, str] = _NONE,
) -> list[str]:
    """Lines that annotate at most `worst_cases.MOST` cases that did not pass, one for each engine."""
    return [
        annotation(
            Level.ERROR,
            title=f"{one.case} ({one.side})",
            message=f"{one.place}: {one.words()}",
            where=in_workspace(one.place, workspace=workspace, folder=folder),
        )
        for one in _bad_cases(summaries, reasons)[:MOST]
    ]


def _sentence(tallies: Sequence[Tally]) -> str:
    bad, answers = sum(tally.bad for tally in tallies), sum(sum(tally.engines.values()) for tally in tallies)
    if not bad:
        return f"All checks of {answers} answers passed or fail as is known"
    return f"{bad} of {answers} answers did not pass"


def _bad_cases(summaries: Sequence[CheckSummary], reasons: Mapping[str, str]) -> list[_Bad]:
    """The farthest from the reference first, and before them those whose change is not known."""
    groups: dict[tuple[str, str], list[CheckSummary]] = {}
    for summary in summaries:
        if summary.status in _BAD:
            case = "" if summary.refused else summary.case
            groups.setdefault((case, f"{summary.profile}/{summary.engine}"), []).append(summary)
    found = [
        _Bad(
            place=own[0].place,
            case=case or own[0].case,
            side=side,
            checks=tuple(dict.fromkeys(s.check for s in own)),
            error=any(s.status is Status.ERROR for s in own),
            worst=_farthest(own),
            cases=len({s.case for s in own}),
            refused="" if case else reasons.get(own[0].refused, "the engine could not be loaded"),
        )
        for (case, side), own in groups.items()
    ]
    return sorted(found, key=lambda one: (not one.error, -one.worst, one.case, one.side))


def _farthest(summaries: Sequence[CheckSummary]) -> float:
    known = [s.figures.worst for s in summaries if s.figures.worst is not None]
    return math.inf if not known or any(map(math.isnan, known)) else max(known)
