"""Merging: the recordings of several folders in one, such as those of shards. Nothing is ever overwritten."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness.cases.kept import whole
from harness.checks.answers import logit_size
from harness.checks.tolerances import known_dtypes, resolve
from harness.engines.contract import Answer
from harness.errors import HarnessError
from harness.recordings.device import hardware_of
from harness.recordings.fingerprint import loaded_dtype
from harness.recordings.journal import disk_error
from harness.recordings.leases import Lease
from harness.recordings.store import Recording, RecordingStore
from harness.reports.bars import short
from harness.scoring.stored_runs import StoredRuns

__all__ = ["MergeError", "Merged", "merge"]

_REPORTED = ("reported_top", "reported_logprobs")


class MergeError(HarnessError):
    """Folders of recordings do not belong into one."""


@dataclass(slots=True)
class Merged:
    """What was taken from one folder. ``conflicts`` are sentences on keys that have another answer there.

    ``close`` is how many others have one that differs by rounding alone: by up to ``apart`` in a
    log-probability, within the ``limit`` of its dtype. ``damaged`` are sentences on journals that have lines
    that cannot be read, or no end: these are not taken.
    """

    source: str
    taken: int = 0
    equal: int = 0
    rows: int = 0
    runs: int = 0
    conflicts: list[str] = field(default_factory=list)
    close: int = 0
    apart: float = 0.0
    limit: float = 0.0
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
        _hold_apart(there, recording, key, done)


def _said(recording: Recording) -> object:
    """What was answered, without how long it took."""
    return replace(recording.answer, seconds={})


def _hold_apart(kept: Recording, other: Recording, key: str, done: Merged) -> None:
    """Count two answers that differ by what rounding does, and name others with their numbers."""
    ours, theirs = kept.answer, other.answer
    apart, where, mine, its = max(_differences(ours, theirs), default=(0.0, "", 0.0, 0.0))
    limit = resolve(*known_dtypes(_dtype(kept))).logprob_at(logit_size(ours))
    before, after = _exact(ours), _exact(theirs)
    if before == after and apart <= limit:
        done.close += 1
        done.apart, done.limit = max((done.apart, done.limit), (apart, limit))
        return
    parts = [
        f"{name} {short(str(before.get(name)))} kept, {short(str(after.get(name)))} in {done.source}"
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    ]
    told = f"log-probability of {where} {mine:.9g} kept, {its:.9g} in {done.source}, {apart:.3g} apart"
    parts.append(f"{told}, limit {limit:.3g}" if where else "no log-probability differs")
    done.conflicts.append(f"{kept.case} of {kept.engine}: {'; '.join(parts)} ({key})")


def _dtype(recording: Recording) -> str:
    settings = recording.fingerprint["settings"]
    asked = settings["dtype"] if isinstance(settings, dict) else ""
    return loaded_dtype(recording.fingerprint) or str(asked)


def _exact(answer: Answer) -> dict[str, object]:
    """What is the same or is not, by its name."""
    names = Answer.__dataclass_fields__.keys() - {"readings", "seconds", "rows", "request", *_REPORTED}
    most = {f"{reading.path}'s most probable tokens": reading.argmax for reading in answer.readings}
    return {**{name: getattr(answer, name) for name in names}, **most}


def _differences(ours: Answer, theirs: Answer) -> Iterator[tuple[float, str, float, float]]:
    """By how much each log-probability differs, of what it is, and both; what one lacks is its lowest."""
    mine, its = _logprobs(ours), _logprobs(theirs)
    for what in mine.keys() & its.keys():
        for token in mine[what].keys() | its[what].keys():
            pair = [
                side.get(token, min(side.values(), default=-math.inf)) for side in (mine[what], its[what])
            ]
            if pair[0] != pair[1]:
                yield abs(pair[0] - pair[1]), f"{what} {token}", pair[0], pair[1]


def _logprobs(answer: Answer) -> dict[str, dict[int, float]]:
    """Log-probabilities by path and kind, then by token id, or by place in a text."""
    found: dict[str, dict[int, float]] = {
        "reported_top's token": {entry.id: entry.logprob for entry in answer.reported_top},
        "reported_logprobs' token at": dict(enumerate(answer.reported_logprobs)),
    }
    for one in answer.readings:
        letters = [logit - (one.log_z or 0.0) for logit in one.letter_logits]
        found[f"{one.path}'s letter"] = dict(enumerate(letters))
        found[f"{one.path}'s token"] = {entry.id: entry.logprob for entry in one.top}
        found[f"{one.path}'s token at"] = dict(enumerate(one.logprobs))
        found[f"{one.path}'s target at"] = dict(enumerate(score.logprob for score in one.target))
    return found


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
