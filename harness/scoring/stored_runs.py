"""Stored runs: which recordings each run used, so that last month's can be named.

``runs.jsonl`` in the folder of recordings is a journal with an entry for every engine of every run of pytest
or of `harness gate`. The answers stay in the journals of the recordings. A run that used the same recordings
as the one before it names that one instead of repeating it.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import EngineError
from harness.recordings.fingerprint import engine_id_of
from harness.recordings.journal import Journal

if TYPE_CHECKING:
    from harness.cases.profiles import EngineSpec
    from harness.engines.contract import Json
    from harness.scoring.scoring import Scoring
    from harness.scoring.subjects import Subject

__all__ = ["StoredRun", "StoredRuns", "model_name", "runs_of", "store_run"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRun:
    """One engine in one run.

    ``when`` is ISO 8601 with the zone of its clock, for people: it orders nothing. ``fingerprint`` is the
    engine's name by content, as `harness.recordings.fingerprint.engine_id` makes it, and ``model`` what the
    profile calls its model. ``keys`` has the recording's key of each case that was answered, ``errors`` the
    first line of why for each that was not.
    """

    run: str
    when: str
    profile: str
    engine: str
    fingerprint: str
    model: str
    keys: Mapping[str, str]
    errors: Mapping[str, str] = field(default_factory=dict)

    @property
    def day(self) -> str:
        """The day of ``when``, ISO."""
        return self.when[:10]


class StoredRuns:
    """All stored runs of the folder of recordings ``root``. Methods raise `RecordingError` as `Journal`."""

    def __init__(self, root: Path) -> None:
        """Touches nothing yet."""
        self._journal = Journal(root / "runs.jsonl", format_name="vlm-harness runs", version=1)

    def add(self, run: StoredRun) -> None:
        """Append ``run``; the same engine of the same run again adds its cases to those noted before."""
        key = f"{run.run} {run.profile}/{run.engine}"
        with self._journal.locked():
            known = self._read()
            before = known.get(key)
            if before is not None and before.fingerprint == run.fingerprint:
                keys = {**before.keys, **run.keys}
                errors = {case: text for case, text in before.errors.items() if case not in run.keys}
                run = replace(run, when=before.when, keys=keys, errors={**errors, **run.errors})
                if run == before:
                    return
            entry = _entry(run)
            # Of what is written before it only: it is read first, also when it was added to since.
            earlier = takewhile(lambda name: name != key, known)
            others = [known[name] for name in earlier if _same_engine(known[name], run)]
            if others and others[-1].keys == run.keys:
                entry["as"] = f"{others[-1].run} {run.profile}/{run.engine}"
            else:
                entry["keys"] = dict(run.keys)
            self._journal.append(key, entry)

    def keep_only(self, runs: Collection[StoredRun]) -> int:
        """Forget all others; returns the bytes that the file shrank by.

        A run that was noted as another one's like is written out, as that one may go.
        """
        stay = {f"{run.run} {run.profile}/{run.engine}": run for run in runs}
        with self._journal.locked():
            for key, run in stay.items():
                if (self._journal.get(key) or {}).get("keys") is None:
                    self._journal.append(key, _entry(run) | {"keys": dict(run.keys)})
            return self._journal.compact(stay.__contains__)[1]

    def of(self, profile: str, engine: str) -> tuple[StoredRun, ...]:
        """Every stored run of one engine, in the order in which they were stored, whatever clocks said."""
        return tuple(run for run in self.all() if (run.profile, run.engine) == (profile, engine))

    def all(self) -> tuple[StoredRun, ...]:
        """Every stored run, in that order."""
        return tuple(self._read().values())

    def damage(self) -> tuple[str, ...]:
        """A sentence where lines are damaged: what stood on them is not known any more."""
        self._journal.refresh()
        damage = self._journal.damage
        return (f"{damage}: runs that are not known any more",) if damage else ()

    def _read(self) -> dict[str, StoredRun]:
        """By key, in the order of writing. A run whose like is lost with a damaged line is left out."""
        runs: dict[str, StoredRun] = {}
        names = self._journal.keys()
        for key in names:
            entry = self._journal.get(key)
            if entry is None:
                continue
            keys = entry.get("keys")
            if keys is None:
                like = runs.get(str(entry.get("as")))
                if like is None:
                    continue
                keys = like.keys
            with self._journal.understood():
                runs[key] = _run(entry, keys)
        return runs


def store_run(scoring: Scoring, subjects: Iterable[Subject], *, folder: Path) -> None:
    """Note which recordings ``subjects`` have in this run; ``folder`` is that of the cases."""
    runs = StoredRuns(scoring.store.root)
    for run in runs_of(scoring, subjects, folder=folder):
        runs.add(run)


def runs_of(
    scoring: Scoring, subjects: Iterable[Subject], *, folder: Path, before: Sequence[StoredRun] = ()
) -> list[StoredRun]:
    """What `store_run` notes, one for each engine, with the cases of those ``before``."""
    now = datetime.datetime.now(datetime.UTC).astimezone().isoformat(timespec="seconds")
    by_engine: dict[str, list[Subject]] = {}
    for subject in subjects:
        by_engine.setdefault(subject.engine_label, []).append(subject)
    found = {(run.profile, run.engine): run for run in before}
    for group in by_engine.values():
        if (run := _run_of(scoring, group, now, folder)) is not None:
            earlier = found.get(key := (run.profile, run.engine), run)
            keys, errors = {**earlier.keys, **run.keys}, {**earlier.errors, **run.errors}
            found[key] = replace(run, keys=keys, errors=errors)
    return list(found.values())


def model_name(engine: EngineSpec, folder: Path) -> str:
    """What the profile calls the engine's model: a hub id with its revision, or a folder.

    A folder beside or below ``folder``, that of the cases, is named from there, so that the name holds on
    other machines.
    """
    model = engine.settings.model
    if engine.revision is not None:
        return f"{model}@{engine.revision}"
    path, here = Path(model), folder.parent
    if not path.is_absolute() or not path.is_relative_to(here):
        return model
    return Path(os.path.relpath(path, folder)).as_posix()


def _run_of(scoring: Scoring, group: Sequence[Subject], now: str, folder: Path) -> StoredRun | None:
    first = group[0]
    keys: dict[str, str] = {}
    errors: dict[str, str] = {}
    fingerprint = ""
    for subject in group:
        try:
            key = scoring.key(subject)
            fingerprint = engine_id_of(key)
            if not scoring.is_answered(subject):
                scoring.recording(subject)  # which raises why not
        except EngineError as error:
            errors[subject.case.name] = error.first_line
        else:
            keys[subject.case.name] = key
    if not fingerprint:
        return None  # the engine is not there, so nothing of it can be named later
    return StoredRun(
        run=scoring.run_id,
        when=now,
        profile=first.profile.name,
        engine=first.engine.name,
        fingerprint=fingerprint,
        model=model_name(first.engine, folder),
        keys=keys,
        errors=errors,
    )


def _entry(run: StoredRun) -> dict[str, Json]:
    """All of a run but its keys."""
    names = ("run", "when", "profile", "engine", "fingerprint", "model")
    return {**{name: getattr(run, name) for name in names}, "errors": dict(run.errors)}


def _same_engine(a: StoredRun, b: StoredRun) -> bool:
    return (a.profile, a.engine) == (b.profile, b.engine)


def _run(entry: Mapping[str, Any], keys: Mapping[str, str]) -> StoredRun:
    names = ("run", "when", "profile", "engine", "fingerprint", "model")
    return StoredRun(
        **{name: str(entry[name]) for name in names}, keys=dict(keys), errors=dict(entry["errors"])
    )
