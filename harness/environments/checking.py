"""Whether an interpreter can load an engine, and what mends it."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

from harness.cases.profiles import EngineSpec
from harness.engines.api_server.running import is_running_server
from harness.engines.requirements import ARCHITECTURES, LOADED_NAMES, REQUIREMENTS
from harness.environments.store import Environments
from harness.errors import EngineError
from harness.machine.findings import Finding
from harness.machine.looks import look_at_compiler, look_at_python
from harness.machine.nvidia import Nvidia
from harness.workers.interpreter import ask, toolkit

__all__ = ["Loadable", "check_loadable", "look_at_needs", "needs_gpu", "python_of"]

_SCRIPT = Path(__file__).with_name("loadable_report.py")
_OLDEST_PYTHON = (3, 11)
_MODULES = {"pillow": "PIL"}  # where a package's module is named otherwise
_SECONDS = 600.0  # the first import of gigabytes from a cold disk


@dataclass(frozen=True, slots=True, kw_only=True)
class Loadable:
    """Whether an engine could be loaded.

    ``found`` maps Python and packages to versions. ``missing`` holds what stands in the way, ``notes`` what
    may, and ``mend`` is the command, or the change, that puts it right. ``fields`` are those of LMDeploy's
    engine config, and ``architectures`` those of models that its backend has a class for, where the engine is
    LMDeploy's and tells them.
    """

    python: str | None
    found: Mapping[str, str]
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    mend: str = ""
    fields: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether nothing is missing."""
        return not self.missing


def python_of(spec: EngineSpec, environments: Environments) -> str | None:
    """The interpreter of an engine; None where its environment is not made."""
    if spec.environment is None:
        return spec.python
    lock = environments.known_lock(spec.environment)
    made = lock is not None and environments.folder.marker(lock.id) is not None
    return str(environments.folder.python(lock.id)) if lock is not None and made else None


def needs_gpu(spec: EngineSpec, *, compiler: bool = False) -> bool:
    """Whether an engine computes on a GPU here, and with ``compiler`` whether Triton compiles for it."""
    settings = spec.settings
    if settings.device != "cuda" or is_running_server(settings):
        return False
    pytorch = settings.options.get("backend", "pytorch") == "pytorch"
    return not compiler or (settings.kind in ("api", "lmdeploy") and pytorch)


def look_at_needs(
    spec: EngineSpec, environments: Environments, found: Nvidia, *, wanted: bool
) -> list[Finding]:
    """What an engine on a GPU needs beside its packages: a driver that fits torch, a compiler, headers.

    What lacks is wrong where it is ``wanted``. Nothing of an interpreter that is not there or does not start.
    """
    python = python_of(spec, environments)
    if python is None or not needs_gpu(spec):
        return []
    try:
        findings = [*look_at_python(toolkit(python), found, of=python, wanted=wanted)]
    except EngineError:
        return []
    findings.append(look_at_compiler(os.environ, wanted=wanted))
    compiled = needs_gpu(spec, compiler=True)
    return [finding for finding in findings if compiled or finding.topic == "torch"]


def check_loadable(label: str, spec: EngineSpec, environments: Environments) -> Loadable:
    """Try in an engine's interpreter what the engine needs; its environment is not made for it."""
    python = python_of(spec, environments)
    if python is None:
        make = environments.command_to_make(label, spec.location)
        return Loadable(python=None, found={}, missing=("its environment, which is not made",), mend=make)
    # A server that the harness starts is LMDeploy's, in the same interpreter.
    kinds = [spec.settings.kind, *(["lmdeploy"] if spec.settings.options.get("serve") else [])]
    texts = dict.fromkeys(text for kind in kinds for text in REQUIREMENTS.get(kind, ()))
    requirements = [Requirement(text) for text in texts]
    packages = {r.name: _MODULES.get(r.name, r.name) for r in requirements}
    backend = str(spec.settings.options.get("backend", "pytorch"))
    of_lmdeploy = "lmdeploy" in kinds
    order = {
        "packages": {"numpy": "numpy", **packages},
        "names": [name for kind in kinds for name in LOADED_NAMES.get(kind, ())],
        "cuda": spec.settings.device == "cuda" and any(kind in LOADED_NAMES for kind in kinds),
        "fields_of": f"lmdeploy.{backend.title()}EngineConfig" if of_lmdeploy else None,
        "keys_of": ARCHITECTURES.get(backend) if of_lmdeploy else None,
    }
    try:
        told = ask(str(python), order, _SECONDS, script=_SCRIPT)
    except EngineError as error:
        return Loadable(
            python=python, found={}, missing=(str(error),), mend=f"see `python` at {spec.location}"
        )
    return _judged(str(python), spec, requirements, told)


def _judged(
    python: str, spec: EngineSpec, requirements: list[Requirement], told: Mapping[str, Any]
) -> Loadable:
    found = {"Python": told["python"]}
    missing, notes, install = [], [], []
    wanted = {requirement.name: requirement for requirement in requirements}
    if tuple(map(int, re.findall(r"\d+", told["python"])[:2])) < _OLDEST_PYTHON:
        oldest = ".".join(map(str, _OLDEST_PYTHON))
        missing.append(f"Python {oldest} or newer; found {told['python']}")
    for name, package in told["packages"].items():
        version, error = package["version"], package["error"]
        if version is not None:
            found[name] = version
        if error is not None:
            missing.append(f"{name}: {error}")
            install.append(str(wanted.get(name, name)))
        elif (
            name in wanted
            and version is not None
            and not wanted[name].specifier.contains(version, prereleases=True)
        ):
            notes.append(
                f"{name} {version} is outside of what the harness is tested with: {wanted[name].specifier}"
            )
    broken = {name.partition(".")[0] for name, error in told["names"].items() if error}
    if not install:  # else it is known already
        missing += [f"{name}: {error}" for name, error in told["names"].items() if error]
        install += [str(wanted.get(name, name)) for name in sorted(broken)]
    mend = _install(python, spec, install)
    if told["cuda"]:
        missing.append(f"an NVIDIA GPU, for `device: cuda`: {told['cuda']}")
        mend = mend or "harness doctor; or say `device: cpu`"
    if missing and not mend:
        mend = f"name another `python` or `python_version` at {spec.location}"
    return Loadable(
        python=python,
        found=found,
        missing=tuple(missing),
        notes=tuple(notes),
        mend=mend,
        fields=tuple(told.get("fields", ())),
        architectures=tuple(told.get("keys", ())),
    )


def _install(python: str, spec: EngineSpec, install: list[str]) -> str:
    if not install:
        return ""
    if spec.environment is None:
        return shlex.join([python, "-m", "pip", "install", *install])
    return f"add to `requirements` at {spec.location}: {', '.join(install)}"
