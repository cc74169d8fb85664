"""The message of a failed check: place, what is wrong, both distributions, limits, and what to type."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence

from harness.checks.expected_letter import ExpectedLetter
from harness.checks.intervals import Interval, letter_intervals
from harness.checks.result import Metric, Result
from harness.checks.same_question import SameQuestion
from harness.recordings.device import device_line
from harness.recordings.store import Recording
from harness.reports.bars import Column, distinct, side_by_side
from harness.reports.question import question_lines

__all__ = ["WIDTH", "render_failure"]

WIDTH = 100
MOST_COLUMNS = 3


def render_failure(
    result: Result,
    *,
    location: str,
    recordings: Sequence[Recording],
    again: str,
    explain: str = "",
    tokens: Sequence[Mapping[int, str]] = (),
) -> str:
    """The whole message, no line longer than 100 columns but the command, which is to be copied.

    ``location`` is the case's ``file:line``; ``recordings`` are those that ``result`` is about, the reference
    first; ``again`` is the command that runs just this case, ``explain`` the one that says where its
    difference begins, '' for none. ``tokens`` are the texts of ids, one mapping for
    each recording, as far as they are known.
    """
    lines = [f"{location}: {result.check}: {result.headline}", f"  {result.case}, {result.subject}", ""]
    for finding in result.findings:
        lines += _wrapped(str(finding), first="  - ")
    for note in result.notes:
        lines += _wrapped(f"note: {note}", first="    ")
    expected = result.expected if isinstance(result, ExpectedLetter) else None
    if isinstance(result, SameQuestion):
        lines += ["", *question_lines(result, width=WIDTH, tokens=tokens)]
    elif columns := _columns(result, recordings):
        lines += ["", *side_by_side(result.letters, columns, expected=expected)]
    limited = [metric for metric in result.metrics if metric.limit is not None]
    if limited:
        lines += ["", *_table(limited)]
    lines.append("")
    for recording in recordings:
        lines += _wrapped(f"{recording.engine}: {device_line(recording.fingerprint)}", first="  ")
    lines += ["", f"run again: {again}"]
    lines += [f"where it begins: {explain}"] if explain else []
    return "\n".join(lines)


def _columns(result: Result, recordings: Sequence[Recording]) -> list[Column]:
    """Two engines side by side, or all accounts of one; as many as fit."""
    if len(recordings) > 1:
        return [_accounts(result, recording)[0]._replace(title=recording.engine) for recording in recordings]
    return [column for recording in recordings for column in _accounts(result, recording)][:MOST_COLUMNS]


def _accounts(result: Result, recording: Recording) -> list[Column]:
    answer = recording.answer
    columns = [
        _column(f"path '{reading.path}'", letter_intervals(reading), answer.text)
        for reading in answer.readings
        if reading.log_z is not None
    ]
    if not columns:
        return [Column(recording.engine, (None,) * len(result.letters), answer.text)]
    if answer.reported_top and answer.letter_ids:
        reported = {entry.id: math.exp(entry.logprob) for entry in answer.reported_top}
        columns.insert(1, Column("as reported", tuple(reported.get(i) for i in answer.letter_ids)))
    return columns


def _column(title: str, shares: Sequence[Interval], text: str) -> Column:
    return Column(
        title,
        tuple(share.low if share.exact else None for share in shares),
        text,
        tuple(None if share.exact else share.high for share in shares),
    )


def _table(metrics: Sequence[Metric]) -> Iterator[str]:
    names = [f"{metric.name} ({metric.where})" if metric.where else metric.name for metric in metrics]
    room = min(max(map(len, names)), WIDTH - 36)
    yield f"  {'metric':<{room}}  {'value':>10}  {'limit':>10}"
    for name, metric in zip(names, metrics, strict=True):
        short = name if len(name) <= room else f"{name[: room - 1]}…"
        over = "" if metric.ok else "  over"
        value, limit = distinct((metric.value, math.nan if metric.limit is None else metric.limit))
        yield f"  {short:<{room}}  {value:>10}  {limit:>10}{over}"


def _wrapped(text: str, *, first: str) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=first, subsequent_indent=" " * len(first), break_on_hyphens=False
    )
