"""What of a folder of recordings may go: what no kept run needs, and what is old.

Kept are the newest runs of each engine, whatever their age, and all that are not older than a limit, with the
recordings that they name; noise floors, looks of early gates and whatever is accepted are never touched. The
rest is made again where it is asked for, so that nothing but time is lost.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import filterfalse
from pathlib import Path
from typing import NamedTuple

from harness.recordings.journal import Journal, disk_error
from harness.recordings.leases import Lease
from harness.recordings.store import RecordingStore
from harness.scoring.stored_runs import StoredRun, StoredRuns

__all__ = ["ALWAYS", "Cleaned", "clean"]

ALWAYS = 2
"""So many runs of an engine stay however old they are: the last, and the one that it is compared with."""

_SECONDS_A_DAY = 86400.0
_BY_AGE = {"rows": "rows/*.npy", "logs": "logs/*.log", "traces": "traces/**/*.npz"}


class Cleaned(NamedTuple):
    """What went, or would: how many things of a kind, and their bytes; ``note`` is why some stayed."""

    what: str
    number: int
    freed: int
    note: str = ""


def clean(root: Path, *, days: float, most: int | None = None, dry: bool = False) -> Iterator[Cleaned]:
    """Clean the folder of recordings ``root`` of what is older than ``days``; yields what went, kind by kind.

    With ``most`` rows, logs and traces go from the oldest on until the folder is no larger, in bytes. With
    ``dry`` nothing is removed. An engine that a run is asking meanwhile is left as it is. Raises
    `RecordingError` where the disk refuses.
    """
    before = time.time() - days * _SECONDS_A_DAY
    store, runs = RecordingStore(root), StoredRuns(root)
    every = runs.all()
    kept = list(_kept(every, before))
    named, wanted = _keys(every), _keys(kept)
    held: set[str] = set()
    yield from _recordings(store, named=named, wanted=wanted, before=before, held=held, dry=dry)
    yield _compacted("metrics", store.metrics_journal, lambda key: {*key.split(" ")} <= held, dry=dry)
    if len(kept) < len(every):
        freed = 0 if dry else runs.keep_only(kept)
        yield Cleaned("runs", len(every) - len(kept), freed)
    hashes = Journal(root / "cache" / "file-hashes.jsonl", format_name="vlm-harness file hashes", version=1)
    yield _compacted("hashes of files that are gone", hashes, _there, dry=dry)
    over = (
        0 if most is None else sum(each.stat().st_size for each in root.rglob("*") if each.is_file()) - most
    )
    for what, pattern in _BY_AGE.items():
        number = freed = 0
        # Those that go by age first, then from the oldest on what is too much.
        states = [(file, file.stat()) for file in root.glob(pattern)]
        aged = {file for file, state in states if state.st_mtime < before or _is_row_of_none(file, held)}
        for file, state in sorted(states, key=lambda one: (one[0] not in aged, one[1].st_mtime)):
            if file not in aged and over <= 0:
                break
            number, freed, over = number + 1, freed + state.st_size, over - state.st_size
            if not dry:
                _unlink(file)
        yield Cleaned(what, number, freed)


def _kept(runs: Iterable[StoredRun], before: float) -> Iterator[StoredRun]:
    by_engine: dict[tuple[str, str], list[StoredRun]] = {}
    for run in runs:
        by_engine.setdefault((run.profile, run.engine), []).append(run)
    for own in by_engine.values():
        # In the order in which they were stored, which no clock decides.
        newest = {id(run) for run in own[-ALWAYS:]}
        yield from (run for run in own if id(run) in newest or _when(run) >= before)


def _when(run: StoredRun) -> float:
    return datetime.datetime.fromisoformat(run.when).timestamp()


def _keys(runs: Iterable[StoredRun]) -> set[str]:
    return {key for run in runs for key in run.keys.values()}


def _recordings(
    store: RecordingStore, *, named: set[str], wanted: set[str], before: float, held: set[str], dry: bool
) -> Iterator[Cleaned]:
    """Each journal without errors, which were for their run alone, and without what no kept run names.

    What no run at all names, such as the answers of a measurement, goes by the journal's own age. ``held``
    is filled with the keys that stay.
    """
    count = freed = 0
    busy = []
    for engine in store.engines():
        journal = store.journal_of(engine)
        old = journal.path.stat().st_mtime < before
        lease = Lease(journal.path)
        if not lease.try_take():
            busy.append(engine)
            held.update(store.answers(engine))
            continue
        try:
            # Looked up while it is held, or what another run has just made would go.
            answers = store.answers(engine)
            stay = {key for key in answers if key in wanted or (key not in named and not old)}
            held |= stay
            needed = store.shared(engine, stay)
            done = _compacted("", journal, (stay | needed).__contains__, dry=dry)
        finally:
            lease.release()
        count, freed = count + done.number, freed + done.freed
    note = f"{', '.join(busy)}: in use, left as it is" if busy else ""
    yield Cleaned("recordings and errors", count, freed, note)


def _compacted(what: str, journal: Journal, keep: Callable[[str], bool], *, dry: bool) -> Cleaned:
    if not journal.path.exists():
        return Cleaned(what, 0, 0)
    if dry:
        return Cleaned(what, len(list(filterfalse(keep, journal.keys()))), 0)
    return Cleaned(what, *journal.compact(keep))


def _there(key: str) -> bool:
    path, *_ = key.rsplit(" ", 4)
    return Path(path).exists()


def _is_row_of_none(file: Path, held: set[str]) -> bool:
    """Whether it is a row of a recording that is no more."""
    key = file.name.removesuffix(".npy").rpartition(".")[0]
    return file.suffix == ".npy" and key not in held


def _unlink(file: Path) -> None:
    try:
        file.unlink(missing_ok=True)
    except OSError as error:
        raise disk_error("delete", file, error) from error
    with suppress(OSError):
        file.parent.rmdir()  # where nothing is left in it
