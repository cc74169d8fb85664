"""Making a bundle: a stored run's recordings, with all that judging them elsewhere takes.

    cases/          the suites as they are with their images, those of tables imported, and of profiles.yaml
                    what a judge asks
    kept/           a folder of recordings: journals, rows, noise floors, traces
    snapshots/      what is accepted of the profiles' engines, and floors kept for them
    locks/          what each side ran with: its lock, or the packages that were looked at

What was asked and answered stays as it is; all else goes through `harness.bundles.privacy`.
"""

from __future__ import annotations

import datetime
import io
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from harness.bundles.container import BundleError, write_bundle
from harness.bundles.opening import opened
from harness.bundles.privacy import Private
from harness.cases.folder import Loaded
from harness.cases.kept import write_whole
from harness.cases.problems import ProblemList, shown
from harness.cases.suites import PROFILES_FILE
from harness.cases.writing import image_names, suite_text
from harness.cases.yaml_source import read_document
from harness.engines.contract import Json
from harness.environments.folder import default_folder
from harness.environments.lock import Lock
from harness.errors import CaseFileError
from harness.machine.hold import scratch
from harness.noise.store import NoiseStore
from harness.recordings.store import Recording, RecordingStore
from harness.scoring.stored_runs import StoredRun, StoredRuns

__all__ = ["make_bundle", "packages_of"]

_JUDGED = ("reference", "suites", "system", "tolerance", "tolerances", "budgets", "nondeterminism")
_ABSENT = "not-in-the-bundle"
_MOST_TOLD = 12
_Sides = dict[str, list[StoredRun]]


def make_bundle(
    file: Path,
    stored: str,
    loaded: Loaded,
    root: Path,
    *,
    snapshots: Path,
    environments: Path | None = None,
    rows: bool = True,
) -> tuple[StoredRun, ...]:
    """Write a run of the folder of recordings ``root`` to ``file``; returns its engines.

    ``stored`` is ``last``, a day, or the first digits of the run's name. Each engine's run before, if it was
    another engine then and its recordings are there, goes along as ``PROFILE/ENGINE@previous``. Raises
    `BundleError` where there is no such run, a recording is gone, a suite or what was accepted has a secret
    or a place of this machine in it, or what was written would not open; `RecordingError`, OSError.
    """
    store, runs = RecordingStore(root), StoredRuns(root).all()
    run = _chosen(runs, stored)
    sides: _Sides = {}
    for one in run:
        before = [r for r in runs[: runs.index(one)] if (r.profile, r.engine) == (one.profile, one.engine)]
        other = [r for r in before if r.fingerprint != one.fingerprint]
        other = [r for r in other if r.fingerprint == other[-1].fingerprint]
        if other and all(store.get(key) for r in other for key in r.keys.values()):
            sides[f"{one.profile}/{one.engine}@previous"] = other
        sides[f"{one.profile}/{one.engine}"] = [one]
    cases = {case for own in sides.values() for each in own for case in (*each.keys, *each.errors)}
    models = [engine.settings.model for profile in loaded.profiles for engine in profile.engines]
    private = Private(models=models, folder=loaded.folder)
    profiles = dict.fromkeys(one.profile for one in run)
    with scratch("harness-bundle-") as folder:
        _put_suites(loaded, private, folder / "cases")
        write_whole(folder / "cases" / PROFILES_FILE, _profiles(loaded, profiles))
        recordings = {label: _recordings(label, own, store) for label, own in sides.items()}
        for label, own in recordings.items():
            text = _lock(next((each.fingerprint for each in own.values()), {}), environments)
            write_whole(folder / "locks" / f"{label.replace('/', '-')}.txt", private.text(text))
        for each in (each for each in runs if any(each in own for own in sides.values())):
            model, errors = private.text(each.model), private.data(each.errors)
            StoredRuns(folder / "kept").add(replace(each, model=model, errors=errors))
        _keep_recordings(folder / "kept", store, recordings, private)
        keys = {each.key for own in recordings.values() for each in own.values()}
        _keep_traces(root / "traces", keys, folder / "kept" / "traces", private)
        for path in store.rows_folder.glob("*.npy") if rows else ():
            if path.name.partition(".")[0] in keys:
                write_whole(folder / "kept" / "rows" / path.name, path.read_bytes())
        for profile in profiles:
            for engine in loaded.profile(profile).engines:
                at = Path(profile, engine.name)
                for path in (snapshots / at).glob("*.*"):
                    write_whole(folder / "snapshots" / at / path.name, _as_it_is(path, private))
        for path in (*folder.rglob("*.lock"), *folder.rglob(".gitignore")):
            path.unlink()
        about: dict[str, Json] = {
            "harness": version("vlm-consistency-harness"),
            "made": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
            "stored": run[-1].when,
            "sides": {label: [each.run for each in own] for label, own in sides.items()},
            "cases": [*sorted(cases)],
        }
        write_bundle(file, about, folder)
    try:
        with opened(file) as inside:
            inside.load()
    except CaseFileError as error:
        file.unlink()
        raise BundleError(f"the bundle would not open elsewhere, so it was not kept: {error}") from error
    return run


def packages_of(fingerprint: Mapping[str, Any]) -> dict[str, str]:
    """The version of each package that an engine ran with, by name, as far as it was looked at."""
    looked_at = fingerprint.get("environment") or fingerprint.get("installed") or {}
    return dict(sorted(looked_at.get("packages", {}).items()))


def _chosen(runs: Sequence[StoredRun], text: str) -> tuple[StoredRun, ...]:
    found = [run.run for run in runs]
    if re.fullmatch(r"\d{4}-\d\d-\d\d", text):
        found = [run.run for run in runs if run.day <= text]
    elif text != "last":
        found = [run.run for run in runs if run.run.startswith(text)]
    if not runs:
        raise BundleError(
            "found no stored run; allowed: one of these recordings. Each run of pytest and of harness gate "
            "stores one:\n  harness gate PROFILE/ENGINE..PROFILE/ENGINE"
        )
    if not found:
        told = dict.fromkeys(f"  {run.run[:8]}  {run.when}  {run.profile}/{run.engine}" for run in runs)
        raise BundleError(
            f"found the run {text!r}, which is not stored; allowed: last, a day (the last one on or before "
            "it), or the first digits of a name. Each run of pytest and of harness gate stores one:\n"
            + "\n".join([*told][-_MOST_TOLD:])
        )
    return tuple(run for run in runs if run.run == found[-1])


def _recordings(label: str, runs: Sequence[StoredRun], store: RecordingStore) -> dict[str, Recording]:
    """By case name; the later run wins."""
    found = {case: store.get(key) for run in runs for case, key in run.keys.items()}
    if lost := [case for case, recording in found.items() if recording is None]:
        allowed = f"a run whose recordings are still in {shown(store.root)}"
        raise BundleError(f"{label}: {len(lost)} recordings are gone, first {lost[0]}; allowed: {allowed}")
    return {case: recording for case, recording in found.items() if recording is not None}


def _keep_recordings(
    target: Path, source: RecordingStore, recordings: Mapping[str, Mapping[str, Recording]], private: Private
) -> None:
    kept = RecordingStore(target)
    for each in (each for own in recordings.values() for each in own.values()):
        kept.put(replace(each, fingerprint=private.data(each.fingerprint)))
    for one, other in permutations(recordings.values(), 2):
        for case in one.keys() & other.keys():
            if metrics := source.get_metrics(one[case].key, other[case].key):
                kept.put_metrics(one[case].key, other[case].key, metrics)
    for file in sorted((source.root / "noise").glob("*.jsonl")):
        profile, _, engine = file.stem.rpartition("-")
        measured = NoiseStore(source.root, profile, engine)
        seen = [next(iter(own.values())).fingerprint for own in recordings.values() if own]
        for floor in (*map(measured.floor, seen), measured.floor()):  # the newest last, as it is here
            if floor is not None:
                own_floor = replace(floor, fingerprint=private.data(floor.fingerprint))
                NoiseStore(target, profile, engine).put_floor(own_floor)


def _put_suites(loaded: Loaded, private: Private, target: Path) -> None:
    for suite in loaded.suites:
        data: Any = read_document(suite.path, ProblemList()).data
        if "source" in data:
            images = image_names(suite)
            text = suite_text(suite, images).encode()
            write_whole(target / suite.path.name, _as_it_is(suite.path, private, text))
            for path, name in images.items():
                write_whole(target / name, path.read_bytes())
            continue
        write_whole(target / suite.path.name, _as_it_is(suite.path, private))
        for name in _image_names(data):
            write_whole(target / name, (loaded.folder / name).read_bytes())


def _as_it_is(file: Path, private: Private, content: bytes | None = None) -> bytes:
    """What is not changed, since sums and recordings are of it, and so must have nothing private in it.

    ``content`` is what is made of the file, where that is not given itself.
    """
    content = file.read_bytes() if content is None else content
    if line := private.line_in(content.decode("utf-8", "replace")):
        raise BundleError(
            f"{shown(file)}:{line}: found a key, a password, or a folder of this machine; allowed: none in a "
            "file that is given to others as it is"
        )
    return content


def _image_names(suite: Any) -> Iterator[str]:  # noqa: ANN401 - YAML, which was checked
    for entry in (suite.get("defaults") or {}, *suite["cases"]):
        yield from [entry["image"]] if entry.get("image") is not None else entry.get("images", ())


def _profiles(loaded: Loaded, names: Collection[str]) -> str:
    """Of each profile what a judge asks for, and its engines by kind: no place, no option, no model."""
    data: Any = read_document(loaded.folder / PROFILES_FILE, ProblemList()).data
    profiles: dict[str, Any] = {}
    for name in names:
        loaded.profile(name)  # it may be gone since
        entry = data["profiles"][name]
        engines: dict[str, Any] = {}
        for engine, fields in entry["engines"].items():
            kind = fields.get("kind", engine)
            engines[engine] = {"kind": kind, **{f: fields[f] for f in _JUDGED if f in fields}}
            if kind == "api":
                dtype = {**entry, **fields}.get("dtype", "float32")
                engines[engine] |= {"dtype": dtype, "options": {"url": f"http://{_ABSENT}"}}
        judged = {field: entry[field] for field in _JUDGED if field in entry}
        profiles[name] = {**judged, "model": f"{_ABSENT}/{name}", "engines": engines}
    plain = json.loads(json.dumps({"profiles": profiles}))  # else YAML would write what they share as aliases
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)


def _lock(fingerprint: Mapping[str, Any], environments: Path | None) -> str:
    """The lock of the environment that the harness made; else the packages that were looked at."""
    folder = default_folder() if environments is None else environments
    made = fingerprint.get("environment") or {}
    for path in sorted((folder / "resolved").glob("*.txt")) if made else ():
        if (lock := Lock.read(path)) is not None and lock.digest == made.get("lock"):
            return path.read_text(encoding="utf-8")
    return "".join(f"{name}=={number}\n" for name, number in packages_of(fingerprint).items())


def _keep_traces(folder: Path, keys: Collection[str], target: Path, private: Private) -> None:
    """Those of these recordings; their JSON (``index``, see `harness.engines.taps.sketches`) loses places."""
    for path in sorted(folder.glob("*..*/*.npz")):  # beside them lie states of what is traced right now
        with np.load(path, allow_pickle=False) as held:
            arrays = dict(held)
        index = json.loads(arrays["index"].tobytes()) if "index" in arrays else {}
        of = index.get("about", {}).get("keys", ["none"])
        if not any(of) or not {*filter(None, of)} <= {
            *keys
        }:  # of another run, or a noise that each trace has
            continue
        arrays["index"] = np.frombuffer(json.dumps(private.data(index)).encode(), dtype=np.uint8)
        made = io.BytesIO()
        np.savez(made, allow_pickle=False, **arrays)
        write_whole(target / path.relative_to(folder), made.getvalue())
