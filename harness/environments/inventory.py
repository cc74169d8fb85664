"""Which environments there are, and which engines of a folder of cases use them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.cases.profiles import EngineSpec, Profile
from harness.environments.folder import Marker, Size
from harness.environments.lock import Lock
from harness.environments.store import Environments

__all__ = ["NamedEngine", "Stored", "named_engines", "stored", "used_by"]


@dataclass(frozen=True, slots=True)
class NamedEngine:
    """An engine of a profile; ``label`` is ``profile-engine``."""

    label: str
    profile: str
    spec: EngineSpec

    @property
    def names(self) -> tuple[str, ...]:
        """By which it may be called."""
        return (self.profile, f"{self.profile}/{self.spec.name}", self.label)


@dataclass(frozen=True, slots=True)
class Stored:
    """An environment on disk, not complete without a ``marker``. ``used``: seconds since the epoch."""

    id: str
    marker: Marker | None
    size: Size
    used: float | None


def named_engines(profiles: Iterable[Profile]) -> list[NamedEngine]:
    """All engines of all profiles, in their order."""
    return [NamedEngine(f"{p.name}-{spec.name}", p.name, spec) for p in profiles for spec in p.engines]


def used_by(environments: Environments, engines: Sequence[NamedEngine]) -> dict[str, Lock | None]:
    """The lock of each engine with requirements, by label; None if never resolved. Raises OSError."""
    return {
        engine.label: environments.known_lock(engine.spec.environment)
        for engine in engines
        if engine.spec.environment is not None
    }


def stored(environments: Environments, environment: str) -> Stored:
    """What there is on disk of an environment. Raises OSError."""
    folder = environments.folder
    return Stored(
        environment, folder.marker(environment), folder.size(environment), folder.last_used(environment)
    )
