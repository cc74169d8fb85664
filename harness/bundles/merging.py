"""Merging: the recordings of several folders in one, such as those of shards. Nothing is ever overwritten."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness.cases.kept import whole
from harness.checks.answers import letter_probabilities
from harness.engines.contract import Answer
from harness.errors import HarnessError
from harness.recordings.device import hardware_of
from harness.recordings.journal import disk_error
from harness.recordings.leases import Lease
from harness.recordings.store import Recording, RecordingStore
from harness.scoring.stored_runs import StoredRuns

__all__ = ["MergeError", "Merged", "merge"]


class MergeError(HarnessError):
    """Folders of recordings do not belong into one."""


@dataclass(slots=True)
class Merged:
    """What was taken from one folder. ``conflicts`` are sentences on keys that have another answer there.

    ``damaged`` are sentences on journals that have lines that cannot be read, or no end: these are not taken.
    """

    source: str
    taken: int = 0
    equal: int = 0
    rows: int = 0
    runs: int = 0
    conflicts: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)


def merge(sources: Mapping[str, Path], into: Path, *, several_kinds: bool = False) -> list[Merged]:
    """Put what the folders ``sources``, by their names, have beside what is in the folder ``into``.

    Recordings, metrics, stored runs, full rows that are kept, and noise floors of engines that have none
    there; errors, which were for their run alone, are left. The same key with another answer stays as it is
    in ``into``, and is told. Runs count as stored in the order of ``sources``.

    Raises `MergeError`, before anything is written, where an engine's recordings were made on more than one
    kind of machine, unless ``several_kinds``: they stay two engines, of which a side takes one. And
    `RecordingError` as the store does.
    """
    kinds = _kinds({**sources, str(into): into})
    mixed = {engine: found for engine, found in kinds.items() if len(found) > 1}
    told = [
        f"{e}: {kind} in {', '.join(where)}" for e, found in mixed.items() for kind, where in found.items()
    ]
    if told and not several_kinds:
        raise MergeError(
            "found recordings of one engine from more than one kind of machine:\n"
            + "".join(f"  {line}\n" for line in told)
            + "allowed: one kind, as no side mixes them. To compare the machines, leave the folders as they "
            "are (docs/cluster.md); or keep both in one, where a side takes the kind of its last run:\n"
            "  --allow hardware"
        )
    done = [_merge_one(name, source, into) for name, source in sources.items()]
    if done:
        done[0].notes += [f"another kind of machine: {line}" for line in told]
    return done


def _kinds(folders: Mapping[str, Path]) -> dict[str, dict[str, list[str]]]:
    """By engine's name the kinds of machine, and the folders that have recordings from each."""
    kinds: dict[str, dict[str, list[str]]] = {}
    for name, folder in folders.items():
        store, runs = RecordingStore(folder), StoredRuns(folder).all()
        for engine in store.engines():
            # One is enough: the machine is in the engine's fingerprint, by which the journal is named.
            first = next(filter(None, map(store.get, store.answers(engine))), None)
            if first is None:
                continue
            called = {
                first.engine,
                *(f"{run.profile}-{run.engine}" for run in runs if run.fingerprint == engine),
            }
            for label in sorted(called):
                where = kinds.setdefault(label, {}).setdefault(hardware_of(first.fingerprint), [])
                if name not in where:
                    where.append(name)
    return kinds


def _merge_one(name: str, source: Path, into: Path) -> Merged:
    theirs, ours, done = RecordingStore(source), RecordingStore(into), Merged(name)
    for engine in theirs.engines():
        target = ours.journal_of(engine)
        target.path.parent.mkdir(parents=True, exist_ok=True)
        lease = Lease(target.path)
        lease.take()
        try:
            for key in theirs.answers(engine):
                _merge_recording(key, theirs, ours, done)
        finally:
            lease.release()
    pairs = theirs.metrics_journal.keys()
    for pair in pairs:
        first, _, second = pair.partition(" ")
        if ours.get_metrics(first, second) is None and (metrics := theirs.get_metrics(first, second)):
            ours.put_metrics(first, second, metrics)
    runs, more = StoredRuns(into), StoredRuns(source)
    known = {(run.run, run.profile, run.engine) for run in runs.all()}
    for run in more.all():
        if (run.run, run.profile, run.engine) not in known:
            runs.add(run)
            done.runs += 1
    for file in sorted(theirs.rows_folder.glob("*.npy")):
        done.rows += _copied(file, ours.rows_folder / file.name)
    for file in sorted((source / "noise").glob("*.jsonl")):
        if not _copied(file, into / "noise" / file.name):
            done.notes.append(f"noise floor of {file.stem} left, as one is there")
    unfinished = filter(None, (journal.unfinished for journal in theirs.journals()))
    done.damaged += [*theirs.damage(), *unfinished, *more.damage()]
    return done


def _merge_recording(key: str, theirs: RecordingStore, ours: RecordingStore, done: Merged) -> None:
    recording, there = theirs.get(key), ours.get(key)
    if recording is None:
        return
    if there is None:
        ours.put(recording)
        done.taken += 1
    elif _said(there) == _said(recording):
        done.equal += 1
    else:
        what = _difference(there.answer, recording.answer)
        done.conflicts.append(f"{there.case} of {there.engine}: {what} in {done.source} ({key})")


def _said(recording: Recording) -> object:
    """What was answered, without how long it took."""
    return replace(recording.answer, seconds={})


def _difference(kept: Answer, other: Answer) -> str:
    """Where two answers differ, with both numbers of the letter that differs most, to all digits."""
    for ours, theirs in zip(kept.readings, other.readings, strict=False):
        pairs = list(zip(letter_probabilities(ours), letter_probabilities(theirs), strict=False))
        if ours.path == theirs.path and (apart := [pair for pair in pairs if pair[0] != pair[1]]):
            mine, its = max(apart, key=lambda pair: abs(pair[0] - pair[1]))
            return f"{ours.path} has {mine:.17g}, which is kept, and {its:.17g}"
    names = Answer.__dataclass_fields__.keys() - {"seconds", "rows", "request"}
    differ = [name for name in sorted(names) if getattr(kept, name) != getattr(other, name)]
    return f"{', '.join(differ)} kept, and another"


def _copied(file: Path, target: Path) -> bool:
    """Copy a file where there is none; whether that was so."""
    if target.exists():
        return False
    try:
        with whole(target) as new:
            shutil.copyfile(file, new)
    except OSError as error:
        raise disk_error("write", target, error) from error
    return True
