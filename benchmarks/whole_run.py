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
_MOST_BYTES_OF_AN_ENGINE = 1024


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
    sizes = {each: each.stat().st_size for each in sorted((recordings / "recordings").glob("*.jsonl"))}
    metrics = recordings / "metrics.jsonl"  # not there with one engine, which is compared with none
    beside = metrics.stat().st_size if metrics.exists() else 0

    def row(what: str, size: int, target: float | None = None) -> Row:
        what = f"{what}, for each case"
        return Row(measurement="journals", what=what, values=(size / cases,), unit=" bytes", target=target)

    total = sum(sizes.values())
    return [
        *(row(f"journal of {each.stem.rpartition('-')[0]}", size) for each, size in sizes.items()),
        row(f"all {len(sizes)} engines", total, _MOST_BYTES_OF_AN_ENGINE * len(sizes)),
        row(f"all {len(sizes)} engines and their metrics", total + beside),
    ]


def _whole_run(workload: Workload, recordings: Path) -> None:
    # With '=', since pytest takes a folder that stands alone for the place of its own configuration.
    workload.pytest(
        f"--cases={workload.folder}",
        f"--recordings={recordings}",
        f"--profile={workload.profile.name}",
        *(["-k", workload.selected] if workload.selected else []),
    )
