"""The engine whose package is bisected, and the row of its versions."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from packaging.version import InvalidVersion, Version

from harness.cases.environment_request import EnvironmentRequest, pinned
from harness.cases.folder import Loaded
from harness.cases.problems import nearest
from harness.cases.profiles import EngineSpec, Profile
from harness.cases.suites import Suite
from harness.engines.api_server.running import is_running_server
from harness.engines.requirements import REQUIREMENTS
from harness.errors import UnknownName
from harness.gate.gating import chosen_suites
from harness.gate.sides import SideName

__all__ = ["Candidate", "Target", "ordered", "suites_of", "target_of"]

_PACKAGES = {"lmdeploy": "lmdeploy", "torch": "transformers", "api": "lmdeploy"}  # by kind of engine


class Candidate(NamedTuple):
    """One of a row: its ``name`` for people, the environment it asks for, and a ``tag`` of its own."""

    name: str
    request: EnvironmentRequest
    tag: str

    @property
    def key(self) -> str:
        """Hash of all that is asked for."""
        whole = "\n".join((*sorted(self.request.requirements), str(self.request.as_of)))
        return hashlib.sha256(whole.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The engine whose ``package`` is bisected; ``request`` is what else it asks for."""

    profile: Profile
    engine: EngineSpec
    package: str
    request: EnvironmentRequest

    @property
    def name(self) -> str:
        """``PROFILE/ENGINE``."""
        return f"{self.profile.name}/{self.engine.name}"

    def candidate(self, version: str) -> Candidate:
        """The engine with this version of the package, and else what its profile asks for."""
        return Candidate(f"{self.package} {version}", pinned(self.request, {self.package: version}), version)

    def spec(self, candidate: Candidate) -> EngineSpec:
        """The engine in the candidate's environment, by a name that no engine of a profile can have."""
        name = f"{self.engine.name}@{candidate.tag}"
        return replace(self.engine, name=name, environment=candidate.request, python=None)

    def side(self, candidate: Candidate) -> SideName:
        """The candidate as a side of a gate."""
        spec = self.spec(candidate)
        profile = replace(self.profile, engines=(*self.profile.engines, spec))
        return SideName(text=f"{profile.name}/{spec.name}", profile=profile, engine=spec)


def target_of(loaded: Loaded, name: str | None, package: str | None) -> Target:
    """The engine ``PROFILE/ENGINE``, or the first that has the package of the profiles that run by default.

    An engine without ``requirements`` gets those of its kind. Raises `UnknownName`.
    """
    pairs = {f"{p.name}/{e.name}": (p, e) for p in loaded.profiles for e in p.engines}
    if name is None:
        wanted = package or "lmdeploy"
        fits = (n for n, (p, e) in pairs.items() if not p.by_name_only and _package_of(e) == wanted)
        name = next(fits, None)
        if name is None:
            raise UnknownName(
                f"found no engine of {wanted} in the profiles that run by default; allowed: --engine with "
                f"one of {', '.join(pairs)}"
            )
    if name not in pairs:
        raise UnknownName(f"--engine: found {name!r}; allowed: {nearest(name, pairs)}")
    profile, engine = pairs[name]
    package = package or _package_of(engine)
    running = is_running_server(engine.settings)
    if running or engine.python not in (None, sys.executable):
        where = "a server that runs already" if running else engine.python
        raise UnknownName(
            f"--engine: found {name}, which runs in {where} ({engine.location}); allowed: an engine with "
            "`requirements` or without `python`, whose environments can be made"
        )
    request = engine.environment or EnvironmentRequest(
        requirements=REQUIREMENTS[engine.settings.kind], folder=loaded.folder
    )
    return Target(profile=profile, engine=engine, package=package, request=request)


def _package_of(engine: EngineSpec) -> str:
    return _PACKAGES[engine.settings.kind]


def ordered(good: str, bad: str, between: Sequence[str]) -> list[str]:
    """Versions from ``good`` to ``bad``, whichever is newer; raises `UnknownName` for what is no version."""
    try:
        low, high = sorted((Version(good), Version(bad)))
        inner = sorted({Version(text) for text in between if text and low < Version(text) < high})
    except InvalidVersion as error:
        raise UnknownName(
            f"--good, --bad, --versions: {error}; allowed: such as 0.12.3 and 0.18.0"
        ) from error
    if low == high:
        raise UnknownName(f"found {good} as good and as bad; allowed: two versions")
    texts = [str(version) for version in inner]
    return [good, *(texts if low == Version(good) else texts[::-1]), bad]


def suites_of(loaded: Loaded, profile: Profile, names: Sequence[str]) -> tuple[Suite, ...]:
    """The profile's suites, or the cases and suites that are named; raises `UnknownName`."""
    suites = {suite.name: suite for suite in loaded.suites if suite.name in profile.suites}
    taken = {name: list(filter(profile.takes, suite.cases)) for name, suite in suites.items()}
    known = {case.name: [case.name] for cases in taken.values() for case in cases}
    known |= {name: [case.name for case in cases] for name, cases in taken.items()}
    if unknown := [name for name in names if name not in known]:
        raise UnknownName(f"case or suite: found {unknown[0]!r}; allowed: {nearest(unknown[0], known)}")
    chosen = [case for name in names or suites for case in known[name]]
    return chosen_suites(loaded, chosen)
