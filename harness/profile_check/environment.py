"""The environment of an engine: made or not, and whether the engine can be loaded there."""

from __future__ import annotations

from collections.abc import Sequence

from harness.cases.engine_options import passed_fields
from harness.cases.problems import nearest
from harness.cases.profiles import EngineSpec
from harness.environments.checking import Loadable, check_loadable
from harness.environments.store import Environments
from harness.machine.findings import Finding, right, unknown, wrong
from harness.profile_check.places import Places

__all__ = ["look_at_environment"]


def look_at_environment(
    label: str,
    engine: EngineSpec,
    places: Places,
    environments: Environments,
    known: dict[tuple[object, ...], Loadable],
    architectures: Sequence[str] = (),
) -> tuple[list[Finding], str | None]:
    """The findings, and the interpreter to ask further; None where there is none that would do.

    ``label`` names the engine in commands. Each field that LMDeploy's engine config lacks is a finding of its
    own, and so is a model of whose ``architectures`` LMDeploy has none. Nothing is made or installed.
    ``known`` remembers what loaded where, for seconds are spent on it.
    """
    settings = engine.settings
    of = (settings.options.get("backend"), settings.options.get("serve"))
    asked = (engine.environment, engine.python, settings.kind, settings.device, of)
    loadable = known.get(asked) or check_loadable(label, engine, environments)
    if loadable:
        known[asked] = loadable
        found = ", ".join(f"{name} {version}" for name, version in loadable.found.items())
        notes = [f"note: {note}" for note in loadable.notes]
        unlike = [
            wrong(
                "engine_config",
                f"{name}, a field that LMDeploy {loadable.found.get('lmdeploy')} does not have",
                places.of(engine, f"engine_config.{name}", f"options.{name}"),
                allowed=nearest(name, loadable.fields),
                command="change the line in the profile",
            )
            for name in (passed_fields(engine.settings) if loadable.fields else ())
            if name not in loadable.fields
        ]
        if loadable.architectures and architectures and not {*architectures} & {*loadable.architectures}:
            backend = settings.options.get("backend", "pytorch")
            version = loadable.found.get("lmdeploy")
            unlike.append(
                wrong(
                    "model",
                    f"{', '.join(architectures)}, for which the {backend} engine of LMDeploy {version} has "
                    "no class",
                    places.of(engine, "model"),
                    allowed=nearest(architectures[0], loadable.architectures),
                    command="name an LMDeploy that has one (`requirements:`), or leave this engine out",
                )
            )
        return [right("environment", "\n".join([found, *notes])), *unlike], loadable.python
    missing = "; ".join(loadable.missing)
    if loadable.python is None:
        return [unknown("environment", f"{engine.environment}: {missing}", command=loadable.mend)], None
    finding = wrong(
        "environment",
        f"{loadable.python}: missing: {missing}",
        places.of(engine, "requirements", "python"),
        allowed=f"an environment in which the engine {engine.settings.kind} loads",
        command=loadable.mend or f"harness env check {label}",
    )
    return [finding], None
