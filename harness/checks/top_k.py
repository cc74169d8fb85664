"""Are the log-probabilities that an engine reports those of its own full row, and all of the largest?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

from harness.checks.answers import id_text, letter_probabilities, logit_size
from harness.checks.result import Finding, Metric, Result
from harness.checks.temperature import Scaling, find_scaling
from harness.checks.tolerances import Tolerances
from harness.distributions import log_softmax, top_k
from harness.engines.contract import Answer, Entry, Reading, Row
from harness.recordings.store import Recording

__all__ = ["TopKAudit", "check_top_k"]


MASS_ROUNDING = 1e-2
"""How far the sum of a list's probabilities may be above 1: that of log-probabilities kept in bfloat16."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TopKAudit(Result):
    """``missed`` are the letters outside the reported list, each with its probability; not a failure.

    ``scaling`` is set where the reported values are off by one factor throughout.
    """

    check: ClassVar[str] = "top-k against the full row"

    missed: tuple[tuple[str, float], ...] = ()
    scaling: Scaling | None = None


@dataclass(frozen=True, slots=True)
class _Full:
    """What one path knows of the full row: log-probabilities by id, as far as they count, and the largest."""

    path: str
    logprobs: Mapping[int, float]
    top: tuple[Entry, ...]


def check_top_k(
    recording: Recording,
    letters: Sequence[str],
    tolerances: Tolerances,
    *,
    asked: int,
    rows: Mapping[str, Row] | None = None,
) -> TopKAudit:
    """Audit the ``asked`` log-probabilities reported at the answer's row against every path's reading of it.

    ``rows`` are raw logits [V] of the answer's row by path, for those paths whose row was kept; without, an
    entry is looked up among those that the reading kept. Membership at the edge of the list is held to the
    ``logprob`` tolerance: of two tokens that close, either may be in. A partial reading knows no more than
    the list and audits nothing; where there is no other, the list itself is looked at, with a note. Raises
    ValueError if ``asked`` is 0.
    """
    if asked < 1:
        raise ValueError(f"found asked = {asked}; an engine that was asked for nothing has nothing to audit")
    answer = recording.answer
    rows = rows or {}
    fulls = [
        _full(reading, answer, asked, rows.get(reading.path))
        for reading in answer.readings
        if reading.top and not reading.partial
    ]
    findings, notes = _list_findings(answer, fulls, asked), []
    if not fulls and any(reading.partial for reading in answer.readings):
        notes.append("no path has the full row, so the reported values themselves were not audited")
    metrics: list[Metric] = []
    missed: tuple[tuple[str, float], ...] = ()
    scaling: Scaling | None = None
    if answer.reported_top and fulls:
        limit = tolerances.logprob_at(logit_size(answer))
        for full in fulls:
            metric, differing, found = _values(answer, letters, full, limit)
            metrics.append(metric)
            findings += differing
            findings += _membership(answer, letters, full, limit)
            scaling = scaling or found
        missed = _missed(answer, letters)
        if missed:
            named = ", ".join(f"{letter} ({probability:.3g})" for letter, probability in missed)
            total = sum(probability for _, probability in missed)
            notes.append(
                f"letters outside the {len(answer.reported_top)} reported: {named}; {total:.3g} missed"
            )
    return TopKAudit(
        case=recording.case,
        subject=recording.engine,
        letters=tuple(letters),
        findings=tuple(findings),
        metrics=tuple(metrics),
        notes=tuple(notes),
        missed=missed,
        scaling=scaling,
    )


def _full(reading: Reading, answer: Answer, asked: int, row: Row | None) -> _Full:
    if row is not None:
        logprobs = log_softmax(row)
        top = tuple(Entry(int(i), float(logprobs[i])) for i in top_k(row, asked).ids)
        told = {entry.id for entry in (*answer.reported_top, *top) if 0 <= entry.id < row.size}
        return _Full(reading.path, {i: float(logprobs[i]) for i in sorted(told)}, top)
    known = {entry.id: entry.logprob for entry in reading.top}
    if reading.log_z is not None:
        # Of a text, whose ids are in no row together, there are none.
        for token_id, logit in zip(answer.letter_ids, reading.letter_logits, strict=False):
            known.setdefault(token_id, logit - reading.log_z)
    return _Full(reading.path, known, reading.top[:asked])


def _list_findings(answer: Answer, fulls: Sequence[_Full], asked: int) -> list[Finding]:
    """What is wrong with the list itself: its length, its order, and whether there is one."""
    reported = answer.reported_top
    if not fulls and not any(reading.partial for reading in answer.readings):
        return [
            Finding("answer", None, None, f"no reading has the answer's row; the model wrote {answer.text!r}")
        ]
    if not reported:
        text = f"the engine reports no log-probabilities, although {asked} were asked for"
        return [Finding("entries", 0, asked, text)]
    findings = []
    for full in fulls:
        kept = math.fsum(math.exp(entry.logprob) for entry in full.top)
        if len(full.top) < asked and not abs(kept - 1.0) <= 1e-3:
            text = (
                f"path '{full.path}' kept {len(full.top)} entries of the full row, too few to audit {asked}"
            )
            findings.append(Finding("entries", len(full.top), asked, text))
    expected = min(asked, max((len(full.top) for full in fulls), default=asked))
    if len(reported) != expected:
        text = f"found {len(reported)} entries; expected {expected}"
        if len(reported) == 1 and reported[0].logprob == 0.0:
            text += (
                " (a single entry of 0.0: the engine normalised over its one candidate, not the vocabulary)"
            )
        findings.append(Finding("entries", len(reported), expected, text))
    mass = math.fsum(math.exp(entry.logprob) for entry in reported)
    if not mass <= 1.0 + MASS_ROUNDING:
        findings.append(
            Finding("mass", mass, 1.0, f"the reported probabilities sum to {mass:.6g}; allowed: 1")
        )
    ids = [entry.id for entry in reported]
    twice = sorted({i for i in ids if ids.count(i) > 1})
    if twice:
        findings.append(Finding("entries", None, None, f"ids {twice} are in the list more than once"))
    for place, (one, other) in enumerate(pairwise(reported)):
        if not one.logprob >= other.logprob:
            text = f"not in descending order: {one.logprob:.6g} before {other.logprob:.6g} at place {place}"
            findings.append(Finding("order", None, None, text))
            break
    return findings


def _values(
    answer: Answer, letters: Sequence[str], full: _Full, limit: float
) -> tuple[Metric, list[Finding], Scaling | None]:
    """Every reported value that the path knows must equal the path's."""
    pairs = [(e.id, e.logprob, full.logprobs[e.id]) for e in answer.reported_top if e.id in full.logprobs]
    name = f"logprob, '{full.path}'"
    if not pairs:
        text = f"none of the {len(answer.reported_top)} reported ids is known to path '{full.path}'"
        return Metric(name, math.nan, limit), [Finding(name, None, limit, text)], None
    off = [pair for pair in pairs if not abs(pair[1] - pair[2]) <= limit]
    worst = max(pairs, key=lambda pair: (math.isnan(pair[1] - pair[2]), abs(pair[1] - pair[2])))
    difference = abs(worst[1] - worst[2])
    where = id_text(worst[0], answer, letters)
    metric = Metric(name, difference, limit, where)
    if not off:
        return metric, [], None
    text = (
        f"{len(off)} of {len(pairs)} values differ, the most by {difference:.3g} at {where} "
        f"({worst[1]:.6g} reported, {worst[2]:.6g} in the full row); allowed: {limit:.3g}"
    )
    scaling = find_scaling(full.logprobs, {i: value for i, value, _ in pairs}, tolerance=limit)
    shifts = [value - true for _, value, true in pairs]
    if scaling is not None:
        text += f"; {scaling.describe('the reported list', f'the full row of {full.path!r}')}"
    elif len(shifts) > 1 and max(shifts) - min(shifts) <= limit:
        text += f"; all are shifted by {shifts[0]:+.4g}: normalised over a part of the vocabulary"
    return metric, [Finding(name, difference, limit, text)], scaling


def _membership(answer: Answer, letters: Sequence[str], full: _Full, limit: float) -> list[Finding]:
    """The reported ids must be those of the largest values, ties at the edge aside."""
    reported = {entry.id: entry.logprob for entry in answer.reported_top}
    edge = full.top[min(len(reported), len(full.top)) - 1].logprob
    strange = [i for i, value in reported.items() if not full.logprobs.get(i, value) >= edge - limit]
    # An id the path knows nothing of is no larger than the edge; it may be reported only as its equal.
    strange += [i for i, value in reported.items() if i not in full.logprobs and not value <= edge + limit]
    lost = [entry for entry in full.top if entry.id not in reported and not entry.logprob <= edge + limit]
    findings = []
    if strange:
        named = ", ".join(id_text(i, answer, letters) for i in strange)
        text = f"{named} reported, but not among the {len(reported)} largest of path '{full.path}'"
        findings.append(Finding("membership", len(strange), 0, text))
    if lost:
        named = ", ".join(f"{id_text(e.id, answer, letters)} ({e.logprob:.6g})" for e in lost)
        text = f"{named} missing from the list, although among the largest of path '{full.path}'"
        findings.append(Finding("membership", len(lost), 0, text))
    return findings


def _missed(answer: Answer, letters: Sequence[str]) -> tuple[tuple[str, float], ...]:
    reading = next(reading for reading in answer.readings if reading.top and not reading.partial)
    reported = {entry.id for entry in answer.reported_top}
    triples = zip(letters, answer.letter_ids, letter_probabilities(reading), strict=False)
    return tuple((letter, p) for letter, token_id, p in triples if token_id not in reported)
