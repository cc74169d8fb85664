"""The whole run against the bare engine calls, the second run against the first, and what is kept."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.ratios import interleaved, paired
from benchmarks.results import Row
from benchmarks.workload import Workload

__all__ = ["measure_run"]

_REPEATS = 5
_MOST_OVERHEAD = 1.1
_MOST_FOR_SECOND = 0.5  # any engine that starts again costs more
_MOST_BYTES = 2048


def measure_run(workload: Workload, names: frozenset[str]) -> list[Row]:
    """Rows of ``whole-run``, ``second-run`` and ``journals``, as far as they are among ``names``."""
    workload = workload.with_repeats(_REPEATS)
    kept, fresh = workload.scratch / "recordings", workload.scratch / "recordings-fresh"
    shutil.rmtree(kept, ignore_errors=True)
    _whole_run(workload, kept)

    def first_run() -> None:
        shutil.rmtree(fresh, ignore_errors=True)
        _whole_run(workload, fresh)

    def bare_calls() -> None:
        for engine in workload.profile.engines:
            workload.script("score_only", engine)

    def second_run() -> None:
        _whole_run(workload, kept)

    work = {"first": first_run}
    if "whole-run" in names:
        work["bare"] = bare_calls
    if "second-run" in names:
        work["second"] = second_run
    rows = []
    if len(work) > 1:
        rows += run_rows(interleaved(work, workload.repeats or _REPEATS))
    if "journals" in names:
        rows += journal_rows(kept, len(workload.cases))
    return rows


def run_rows(seconds: Mapping[str, Sequence[float]]) -> list[Row]:
    """Rows from seconds of ``first``, ``bare`` and ``second``."""
    rows = []
    if "bare" in seconds:
        values = paired(seconds["first"], seconds["bare"])
        what = "whole run / bare engine calls"
        rows.append(Row(measurement="whole-run", what=what, values=values, target=_MOST_OVERHEAD))
        extra = tuple(first - bare for first, bare in zip(seconds["first"], seconds["bare"], strict=True))
        rows.append(
            Row(measurement="whole-run", what="whole run less bare engine calls", values=extra, unit=" s")
        )
    if "second" in seconds:
        values = paired(seconds["second"], seconds["first"])
        what = "run with recordings / run without"
        rows.append(Row(measurement="second-run", what=what, values=values, target=_MOST_FOR_SECOND))
    return rows


def journal_rows(recordings: Path, cases: int) -> list[Row]:
    """Bytes a case of each journal in the folder ``recordings``, and of all of them."""
    by_engine = sorted((recordings / "recordings").glob("*.jsonl"))
    rows = [
        Row(
            measurement="journals",
            what=f"journal of {journal.stem.rpartition('-')[0]}, for each case",
            values=(journal.stat().st_size / cases,),
            unit=" bytes",
            target=_MOST_BYTES,
        )
        for journal in by_engine
    ]
    metrics = recordings / "metrics.jsonl"  # not there with one engine, which is compared with none
    total = sum(journal.stat().st_size for journal in [*by_engine, metrics] if journal.exists())
    what = f"all {len(by_engine)} engines and their metrics, for each case"
    rows.append(Row(measurement="journals", what=what, values=(total / cases,), unit=" bytes"))
    return rows


def _whole_run(workload: Workload, recordings: Path) -> None:
    # With '=', since pytest takes a folder that stands alone for the place of its own configuration.
    workload.pytest(
        f"--cases={workload.folder}",
        f"--recordings={recordings}",
        f"--profile={workload.profile.name}",
    )
