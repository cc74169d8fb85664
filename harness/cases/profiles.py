"""Profiles: a model, and the engines to run it on, from profiles.yaml to validated objects."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Literal

from harness.cases.budgets import Budgets, budgets_of
from harness.cases.engine_options import (
    KINDS,
    check_engine_options,
    default_options,
    default_paths,
    file_of,
    with_places,
    without_rows,
)
from harness.cases.environment_request import EnvironmentRequest, check_environment, environment_request
from harness.cases.problems import Location, ProblemList, describe, is_file, is_folder, nearest, shown
from harness.cases.server_profiles import asks_running_server, check_api_engine, needs_model
from harness.cases.suites import Case, Suite, check_marks
from harness.cases.validation import Broken, validate
from harness.cases.yaml_document import Document, Steps
from harness.cases.yaml_source import read_document
from harness.engines.contract import EngineSettings
from harness.engines.pixel_limits import PIXELS
from harness.engines.template_date import TEMPLATE_DATE
from harness.schemas.options import PATHS, side_of, taken_by
from harness.schemas.profiles import ProfilesFile

__all__ = ["EngineSpec", "Profile", "paths_of", "read_profiles"]

_OF_DEADLINE = (
    0.9  # of the case's deadline: a server's silence is told by its engine, not by the worker's end
)
_DEFAULT_DEADLINES = {"load": 600.0, "case": 120.0}
_DEFAULT_TOP_K = 20
_DEFAULT_BATCH_SIZE = 16
_COMMIT = re.compile(r"[0-9a-f]{40}")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSpec:
    """An engine of a profile and how its worker is to be run.

    ``python`` is the absolute path of an interpreter, or None where ``environment`` says what one is to be
    made of (see `harness.environments`). ``patch`` is the path of a Python file to execute before the engine
    is imported. ``load_seconds`` and ``case_seconds`` are the worker's deadlines. Where ``settings.model`` is
    a hub id, ``revision`` is a commit, tag or branch of it. With ``nondeterminism`` "allow" the noise of an
    engine that is not deterministic counts as noise.
    """

    name: str
    settings: EngineSettings
    location: Location = field(compare=False)
    revision: str | None = None
    python: str | None = sys.executable
    environment: EnvironmentRequest | None = None
    patch: Path | None = None
    load_seconds: float = _DEFAULT_DEADLINES["load"]
    case_seconds: float = _DEFAULT_DEADLINES["case"]
    nondeterminism: Literal["refuse", "allow"] = "refuse"


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A model and the engines to run it on; ``reference`` names the one that the others are compared with.

    ``suites`` are the names of those to run, of which ``tags`` choose cases: those that bear one of them, or
    all where there are none. With ``by_name_only`` it runs only where --profile names it.
    ``system`` is the text of the system message for every case that has none of its own; None to send none.
    ``tolerance`` is where limits come from that are not named: ``noise``, ``table``, or None for a noise
    floor where there is a fresh one. ``budgets`` are what a gate lets pass of a whole comparison.
    """

    name: str
    reference: str
    engines: tuple[EngineSpec, ...]
    suites: tuple[str, ...]
    location: Location = field(compare=False)
    description: str = ""
    system: str | None = None
    marks: tuple[str, ...] = ()
    by_name_only: bool = False
    tolerance: Literal["noise", "table"] | None = None
    tolerances: Mapping[str, float] = field(default_factory=dict, hash=False)
    budgets: Budgets = field(default_factory=Budgets)
    tags: tuple[str, ...] = ()

    def takes(self, case: Case) -> bool:
        """Whether the case is among those to run."""
        chosen = not self.tags or not {*self.tags}.isdisjoint(case.tags)
        return chosen and (not self.suites or case.suite in self.suites)


def paths_of(settings: EngineSettings) -> tuple[str, ...]:
    """All ways to the logits that such an engine may have, best first; loading it tells which it has."""
    side = side_of(settings.kind, settings.options, settings.device)
    return tuple(
        path.name
        for path in PATHS
        if taken_by(path, side) and not without_rows(side, settings.options, path.name)
    )


def read_profiles(path: Path, suites: Sequence[Suite], problems: ProblemList) -> tuple[Profile, ...]:
    """All profiles of a file, which may name the ``suites``; () where there are problems, which are noted."""
    before = len(problems)
    document = read_document(path, problems)
    if not document.complete:
        return ()
    broken = validate(ProfilesFile, document)
    entries = document.data.get("profiles") if isinstance(document.data, dict) else None
    if not isinstance(entries, dict):
        return ()
    suite_names = [suite.name for suite in suites]
    for name, entry in entries.items():
        if isinstance(entry, dict):
            _Checks(document, broken).check_profile(("profiles", name), entry, suites)
    _check_distinct_ids(document, list(entries), suites)
    if len(problems) > before:
        return ()
    return tuple(_profile(document, name, entry, suite_names) for name, entry in entries.items())


class _Checks:
    """The rules that concern more than one field or the file system, for whatever has the right type."""

    def __init__(self, document: Document, broken: Broken) -> None:
        self._document = document
        self._broken = broken

    def _sound(self, steps: Steps, entry: Mapping[str, Any], name: str) -> bool:
        return entry.get(name) is not None and name not in self._broken.get(steps, ())

    def check_profile(self, steps: Steps, entry: Mapping[str, Any], suites: Sequence[Suite]) -> None:
        suite_names = [suite.name for suite in suites]
        engines = entry.get("engines")
        if isinstance(engines, dict):
            reference = entry.get("reference")
            if engines and self._sound(steps, entry, "reference") and reference not in engines:
                allowed = f"an engine of this profile: {nearest(str(reference), engines)}"
                self._document.add((*steps, "reference"), describe(reference), allowed)
            for name, engine in engines.items():
                if isinstance(engine, dict):
                    self._check_engine((*steps, "engines", name), engine, entry)
        self._check_day(steps, entry)
        if self._sound(steps, entry, "suites"):
            for number, suite in enumerate(entry["suites"]):
                if suite not in suite_names:
                    allowed = f"a suite in this folder: {nearest(suite, suite_names)}"
                    self._document.add((*steps, "suites", number), describe(suite), allowed)
        if self._sound(steps, entry, "tags"):
            borne = sorted({tag for suite in suites for case in suite.cases for tag in case.tags})
            for number, tag in enumerate(entry["tags"]):
                if tag not in borne:
                    allowed = f"a tag of a case in this folder: {nearest(tag, borne)}"
                    self._document.add((*steps, "tags", number), describe(tag), allowed)
        if self._sound(steps, entry, "marks"):
            check_marks(self._document, steps, entry["marks"])
        if self._sound(steps, entry, "model") and needs_model(entry):
            self._check_model(steps, entry)

    def _check_model(self, steps: Steps, entry: Mapping[str, Any]) -> None:
        model, here = entry["model"], self._document.file.parent
        if _is_hub_id(model, here):
            if is_folder(there := Path(model)) and there.resolve() != (here / model).resolve():
                found = f"{model!r}, which is no folder beside this file, and one beside where you are"
                allowed = f"{os.path.relpath(there, here)}: a folder relative to this file, or a hub id"
                self._document.add((*steps, "model"), found, allowed)
            return
        folder = file_of(model, here)
        if not is_folder(folder):
            allowed = f"a folder (looked for {shown(folder)}), or a hub id such as org/name"
            self._document.add((*steps, "model"), f"{model!r}, which does not exist", allowed)
        elif not (folder / "config.json").is_file():
            found = f"{model!r}, a folder without config.json"
            self._document.add((*steps, "model"), found, "the folder of a saved model")
        if "revision" in entry:
            self._refuse_revision(steps)

    def _refuse_revision(self, steps: Steps) -> None:
        self._document.add((*steps, "revision"), "a revision of a folder", "a revision for a hub id only")

    def _check_trust(
        self, steps: Steps, entry: Mapping[str, Any], profile: Mapping[str, Any], options: Mapping[str, Any]
    ) -> None:
        """Code from a hub runs only at a commit: that of a branch or tag may be another tomorrow."""
        if options.get("trust_remote_code") is not True:
            return
        own = "model" in entry
        model = entry["model"] if own else profile.get("model")
        if not isinstance(model, str) or not _is_hub_id(model, self._document.file.parent):
            return
        revision = entry.get("revision", None if own else profile.get("revision"))
        if isinstance(revision, str) and _COMMIT.fullmatch(revision):
            return
        if "revision" in entry:
            place: Steps = (*steps, "revision")
        elif revision is not None:
            place = (*steps[:2], "revision")
        else:
            place = (*steps, "options", "trust_remote_code")
        found = "true without a revision" if revision is None else describe(revision)
        allowed = (
            f"a full commit of {model} (40 digits) as `revision`, so that the code that runs is the code "
            "that was read; or the model's folder, which needs none"
        )
        self._document.add(place, found, allowed)

    def _check_engine(self, steps: Steps, entry: Mapping[str, Any], profile: Mapping[str, Any]) -> None:
        name = str(steps[-1])
        here = self._document.file.parent
        if asks_running_server(name, entry):
            pass  # its model is a name that the server knows
        elif self._sound(steps, entry, "model"):
            self._check_model(steps, entry)
        elif "revision" in entry and not _is_hub_id(str(profile.get("model")), here):
            self._refuse_revision(steps)
        if self._sound(steps, entry, "python") and _interpreter(entry["python"], here) is None:
            allowed = "an executable Python: a path, or the name of a command on PATH"
            self._document.add((*steps, "python"), f"{entry['python']!r}, which cannot be executed", allowed)
        check_environment(self._document, steps, entry, lambda field: self._sound(steps, entry, field))
        if self._sound(steps, entry, "patch"):
            patch = file_of(entry["patch"], here)
            if patch.suffix != ".py" or not is_file(patch):
                allowed = f"a Python file that exists; looked for {shown(patch)}"
                self._document.add((*steps, "patch"), describe(entry["patch"]), allowed)
        self._check_day(steps, entry)
        if "kind" in self._broken.get(steps, ()):
            return
        kind = entry.get("kind", name)
        if kind not in KINDS:
            allowed = f"{' or '.join(KINDS)}, needed as {name!r} is none of them"
            self._document.add((*steps, "kind"), "nothing", allowed)
            return
        either = {**profile, **entry}
        if kind == "api":
            check_api_engine(self._document, steps, entry, profile, tuple(self._broken.get(steps, ())))
        is_lmdeploy = kind == "lmdeploy" or (kind == "api" and not asks_running_server(name, entry))
        if is_lmdeploy and (either.get("device"), either.get("dtype")) == ("cuda", "float32"):
            # LMDeploy knows no float32 and turns it into float16 without a word.
            owner = steps if "dtype" in entry else steps[:2]
            self._document.add((*owner, "dtype"), "float32 for lmdeploy on cuda", "float16, bfloat16 or auto")
        self._check_asked(steps, entry, profile, kind)
        options = entry["options"] if isinstance(entry.get("options"), dict) else {}
        if options.get("kernels") == "interpreted" and either.get("dtype") == "bfloat16":
            owner = steps if "dtype" in entry else steps[:2]
            allowed = "float32 or float16, since Triton's interpreter computes with the bits of bfloat16"
            self._document.add((*owner, "dtype"), "bfloat16 for interpreted kernels", allowed)
        side = side_of(kind, options, "cuda" if either.get("device") == "cuda" else "cpu")
        check_engine_options(self._document, self._broken, steps, entry, side)
        self._check_trust(steps, entry, profile, options)

    def _check_day(self, steps: Steps, entry: Mapping[str, Any]) -> None:
        if self._sound(steps, entry, TEMPLATE_DATE):
            try:
                date.fromisoformat(entry[TEMPLATE_DATE])
            except ValueError:
                allowed = "a day of the calendar, such as 2026-01-31"
                self._document.add((*steps, TEMPLATE_DATE), describe(entry[TEMPLATE_DATE]), allowed)

    def _check_asked(
        self, steps: Steps, entry: Mapping[str, Any], profile: Mapping[str, Any], kind: str
    ) -> None:
        """What goes into a prompt: a server cannot be told, and the fewest pixels are not above the most."""
        owners = ((steps, entry), (steps[:2], profile))
        found = {
            name: ((*owner, name), data[name])
            for name in ("max_tiles", *PIXELS, TEMPLATE_DATE)
            for owner, data in reversed(owners)
            if self._sound(owner, data, name)
        }
        for name, (place, value) in found.items() if kind == "api" else ():
            own = "clock" if name == TEMPLATE_DATE else "model's own limit"
            allowed = f"no {name} for {steps[-1]}, a server, which keeps to its {own}"
            self._document.add(place, f"{name}: {value}", allowed)
        (_, least), (place, most) = (found.get(name, (steps, None)) for name in PIXELS)
        if least is not None and most is not None and least > most:
            self._document.add(place, f"max_pixels: {most}", f"{least} or more, which is min_pixels")


def _check_distinct_ids(document: Document, names: Sequence[str], suites: Sequence[Suite]) -> None:
    """Note profiles by which two tests would get one id, such as case x on a-b and case x-a on b."""
    for long, short in itertools.permutations(names, 2):
        middle = long.removesuffix(f"-{short}")
        if middle == long:
            continue
        for suite in suites:
            ids = {case.id for case in suite.cases}
            for case in sorted(ids):
                if f"{case}-{middle}" in ids:
                    found = (
                        f"a profile with which {case} of {suite.name} gets the test id that {case}-{middle} "
                    )
                    found += f"gets with the profile {short}"
                    document.add(("profiles", long), found, "names that keep test ids apart", at_key=True)


def _is_hub_id(model: str, here: Path) -> bool:
    # Where its first folder exists it is a path, so that a slip in `models/embedded` is not sought on a hub.
    return _HUB_ID.fullmatch(model) is not None and not os.path.lexists(here / model.partition("/")[0])


def _interpreter(python: str, here: Path) -> str | None:
    """The absolute path of an interpreter; None where there is no such executable."""
    if re.search(r"[/\\]", python):
        path = file_of(python, here)
        return str(path) if is_file(path) and os.access(path, os.X_OK) else None
    return shutil.which(python)


def _profile(document: Document, name: str, entry: Mapping[str, Any], suite_names: Sequence[str]) -> Profile:
    here = document.file.parent
    steps: Steps = ("profiles", name)
    return Profile(
        name=name,
        description=entry.get("description", ""),
        system=entry.get("system"),
        reference=entry["reference"],
        suites=tuple(dict.fromkeys(entry.get("suites", suite_names))),
        marks=tuple(dict.fromkeys(entry.get("marks", ()))),
        by_name_only=entry.get("by_name_only", False),
        tolerance=entry.get("tolerance"),
        tolerances=dict(entry.get("tolerances", {})),
        budgets=budgets_of(entry.get("budgets")),
        tags=tuple(entry.get("tags", ())),
        engines=tuple(
            _engine(engine_name, engine, entry, document.key_place((*steps, "engines", engine_name)), here)
            for engine_name, engine in entry["engines"].items()
        ),
        location=document.key_place(steps),
    )


def _engine(
    name: str, entry: Mapping[str, Any], shared: Mapping[str, Any], location: Location, here: Path
) -> EngineSpec:
    kind = entry.get("kind", name)
    deadlines = {**_DEFAULT_DEADLINES, **shared.get("deadlines", {}), **entry.get("deadlines", {})}
    merged = {**shared, **entry}
    as_written = asks_running_server(name, entry) or _is_hub_id(merged["model"], here)
    model = merged["model"] if as_written else str(file_of(merged["model"], here))
    own = entry.get("options", {})
    side = side_of(kind, own, merged.get("device", "cpu"))
    options = {**default_options(side, own), **own}
    if "engine_config" in entry:
        options["engine_config"] = entry["engine_config"]
    options |= {name: merged[name] for name in (*PIXELS, TEMPLATE_DATE) if name in merged}
    if kind == "api":
        options.setdefault("timeout", _OF_DEADLINE * deadlines["case"])
    # A revision says something of the model that it stands beside.
    revision = entry.get("revision", None if "model" in entry else shared.get("revision"))
    environment = environment_request(entry, here)
    python = (_interpreter(entry["python"], here) if "python" in entry else None) or sys.executable
    return EngineSpec(
        name=name,
        settings=EngineSettings(
            kind=kind,
            model=model,
            dtype=merged.get("dtype", "auto"),
            device=merged.get("device", "cpu"),
            paths=tuple(entry.get("paths", default_paths(side))),
            top_k=entry.get("top_k", _DEFAULT_TOP_K),
            batch_size=merged.get("batch_size", _DEFAULT_BATCH_SIZE),
            max_tiles=merged.get("max_tiles"),
            options=with_places(options, here),
        ),
        nondeterminism=merged.get("nondeterminism", "refuse"),
        location=location,
        revision=revision,
        python=python if environment is None else None,
        environment=environment,
        patch=file_of(entry["patch"], here) if "patch" in entry else None,
        load_seconds=deadlines["load"],
        case_seconds=deadlines["case"],
    )
