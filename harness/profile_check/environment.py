"""The environment of an engine: made or not, and whether the engine can be loaded there."""

from __future__ import annotations

from harness.cases.profiles import EngineSpec
from harness.environments.checking import check_loadable
from harness.environments.store import Environments
from harness.profile_check.findings import Finding, right, unknown, wrong
from harness.profile_check.places import Places

__all__ = ["look_at_environment"]


def look_at_environment(
    label: str, engine: EngineSpec, places: Places, environments: Environments
) -> tuple[Finding, str | None]:
    """The finding, and the interpreter to ask further; None where there is none that would do.

    ``label`` names the engine in commands. Nothing is made or installed.
    """
    loadable = check_loadable(label, engine, environments)
    if loadable:
        found = ", ".join(f"{name} {version}" for name, version in loadable.found.items())
        notes = [f"note: {note}" for note in loadable.notes]
        return right("environment", "\n".join([found, *notes])), loadable.python
    missing = "; ".join(loadable.missing)
    if loadable.python is None:
        return unknown("environment", f"{engine.environment}: {missing}", command=loadable.mend), None
    finding = wrong(
        "environment",
        f"{loadable.python}: missing: {missing}",
        places.of(engine, "requirements", "python"),
        allowed=f"an environment in which the engine {engine.settings.kind} loads",
        command=loadable.mend or f"harness env check {label}",
    )
    return finding, None
