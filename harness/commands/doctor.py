"""`harness doctor`: this machine, and what engines need of it, on one page."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.commands.measuring import Outcome, add_folders, add_json, conclude, default_folder

if TYPE_CHECKING:
    from harness.cases.profiles import EngineSpec, Profile
    from harness.commands import Subparsers
    from harness.environments.inventory import NamedEngine
    from harness.machine.findings import Finding

__all__ = ["look", "register"]

_EPILOG = (
    "Nothing is loaded, made or downloaded. Exit status: 0 nothing is wrong (? is what may be, or cannot be "
    "known from here), 1 something is, 2 the command line is wrong."
)
# Bytes: with CUDA's libraries; of 8 billion parameters in 16 bits; of rows of logits.
_ENVIRONMENT, _MODEL, _RECORDINGS = 8 * 10**9, 17 * 10**9, 10**9


def register(commands: Subparsers) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "doctor",
        help="look this machine over: GPUs, driver, compiler, memory, disk, uv, hub; with what mends it",
        epilog=_EPILOG,
    )
    parser.add_argument("--profile", metavar="NAME", help="only what the engines of this profile need")
    add_folders(parser)
    add_json(parser)
    parser.set_defaults(run=lambda options: conclude(options, lambda: look(options)), cases=None)


def look(options: argparse.Namespace) -> Outcome:
    """Every finding on this machine, and on what the engines of the folder of cases need of it."""
    from harness.cases.folder import load
    from harness.environments.inventory import named_engines
    from harness.errors import UnknownName
    from harness.machine.findings import Mark

    profiles: Sequence[Profile] = ()
    asked, options.cases = options.cases or options.profile, options.cases or default_folder("cases")
    if options.cases.is_dir():
        loaded = load(options.cases)
        profiles = loaded.profiles if options.profile is None else [loaded.profile(options.profile)]
    elif asked is not None:
        raise UnknownName(f"--cases: found {options.cases}, no folder; allowed: one with profiles.yaml")
    machine: dict[str, Any] = {}
    findings = list(dict.fromkeys(_findings(options, named_engines(profiles), machine)))
    marks = [finding.mark for finding in findings]
    lines = [line for finding in findings for line in finding.lines()]
    lines.append(f"{marks.count(Mark.WRONG)} wrong, {marks.count(Mark.UNKNOWN)} not to be known from here\n")
    told = [
        {"mark": one.mark.name.lower(), "topic": one.topic, "text": one.text, "command": one.command}
        for one in findings
    ]
    data: dict[str, Any] = {"version": 1, "findings": told, "machine": machine}
    return Outcome(text="\n".join(lines), data=data, complete=Mark.WRONG not in marks)


def _findings(
    options: argparse.Namespace, engines: Sequence[NamedEngine], machine: dict[str, Any]
) -> Iterator[Finding]:
    """Each look; what was seen of the machine is noted in ``machine``, for machines."""
    from harness.cases.problems import shown
    from harness.environments.checking import needs_gpu, python_of
    from harness.environments.store import Environments
    from harness.environments.uv_program import look_at_uv
    from harness.errors import EngineError
    from harness.machine import looks
    from harness.machine.findings import lacking, right, unknown
    from harness.machine.nvidia import read_nvidia
    from harness.workers.hub_report import cache_folder, offline
    from harness.workers.interpreter import toolkit
    from harness.workers.interpreter_report import told

    every, specs = options.profile is None, [engine.spec for engine in engines]
    environments, found = Environments(options.environments), read_nvidia()
    gpus = [{**gpu._asdict(), "holders": [one._asdict() for one in gpu.holders]} for gpu in found.gpus]
    machine |= {**found._asdict(), "gpus": gpus, "pythons": {}}
    wanted = bool(found.gpus) if every else any(map(needs_gpu, specs))
    if every or wanted:
        yield from looks.look_at_gpus(found, os.environ, wanted=wanted)
    pythons: dict[str, list[str]] = {sys.executable: []} if every else {}
    unmade: dict[object, NamedEngine] = {}
    for engine in engines:
        python = python_of(engine.spec, environments)
        if python is None and engine.spec.environment:
            unmade.setdefault(engine.spec.environment, engine)
        elif python is not None and (every or needs_gpu(engine.spec)):
            pythons.setdefault(python, []).append(engine.label)
    for python, labels in pythons.items():
        more = f" and {len(labels) - 1} more" if len(labels) > 1 else ""
        of = ", ".join([shown(Path(python)), *labels[:1]]) + more
        try:
            machine["pythons"][python] = toolkit(python)
            yield from looks.look_at_python(machine["pythons"][python], found, of=of, wanted=wanted)
        except EngineError as error:
            yield lacking(True, "python", f"{error.first_line}; {of}", "change `python:` in the profile")
    unsaid = "not made, so what its torch needs of the driver is not known"
    for engine in unmade.values():
        make = environments.command_to_make(engine.label, engine.spec.location)
        if every:
            text = f"{len(unmade)} environments of {shown(options.cases)}: each is {unsaid}"
            yield unknown("torch", text, command=make.replace(f"make {engine.label}", "list"))
            break
        if needs_gpu(engine.spec):
            yield unknown("torch", f"environment of {engine.label} is {unsaid}", command=make)
    if every or any(needs_gpu(spec, compiler=True) for spec in specs):
        yield looks.look_at_compiler(os.environ, wanted=wanted)
    if made := every or any(spec.environment for spec in specs):
        yield look_at_uv()
    needed = [] if every else list(_to_fetch(specs))
    places = {"recordings": (options.recordings.absolute(), _RECORDINGS)}
    if made:
        places["environments"] = environments.folder.root, _ENVIRONMENT * len(unmade)
    if every or needed:
        places["models"] = cache_folder(), _MODEL * max(len(needed), 1)
    yield from looks.look_at_disk(places)
    yield looks.look_at_host()
    if every or needed:
        yield from looks.look_at_hub(os.environ, needed=needed, offline=offline())
    machine["variables"] = {name: os.environ[name] for name in sorted(os.environ) if told(name)}
    lines = [f"{name}={value}" for name, value in machine["variables"].items()] or ["none"]
    yield right("variables", "\n".join(["that may change answers, by which recordings are keyed:", *lines]))


def _to_fetch(specs: Sequence[EngineSpec]) -> Iterator[tuple[str, str]]:
    """Of each hub model that is not whole in the cache, what it lacks and the command that fetches it."""
    from harness.cases.problems import shown
    from harness.engines.api_server.running import is_running_server
    from harness.workers.hub_report import cache_folder, command, find_snapshot, lacking

    loaded = [spec for spec in specs if not is_running_server(spec.settings)]
    for model, revision in dict.fromkeys((spec.settings.model, spec.revision) for spec in loaded):
        if Path(model).is_absolute():
            continue
        snapshot, at = find_snapshot(model, revision), f" at revision {revision}" if revision else ""
        lacks = [] if snapshot is None else [lack.found for lack in lacking(snapshot)]
        there = f" is not in {shown(cache_folder())}"
        if snapshot is not None:
            there = f": {shown(snapshot)} has {', '.join(lacks)}"
        if snapshot is None or lacks:
            yield f"{model}{at}{there}", command(model, revision)
