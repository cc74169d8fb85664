"""The interpreter of an engine, and what is installed there."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from harness.engines.contract import Json
from harness.errors import EngineError
from harness.profile_check.findings import Finding, right, wrong
from harness.profile_check.places import Places
from harness.profiles import EngineSpec
from harness.workers import probe
from harness.workers.serving import REQUIREMENTS

__all__ = ["Surroundings", "look_at_interpreter"]

_NEEDED = {"torch": ("torch", "transformers"), "lmdeploy": ("lmdeploy", "torch", "transformers")}


class Surroundings:
    """What interpreters say of themselves, each asked once."""

    def __init__(self) -> None:
        """Asks nobody yet."""
        self._known: dict[str, dict[str, Json]] = {}

    def of(self, python: str) -> dict[str, Json]:
        """See `harness.workers.probe`; sources are not hashed. Raises EngineError (LOAD)."""
        if python not in self._known:
            self._known[python] = probe(python, sources=())
        return self._known[python]

    def gpus(self) -> tuple[str, ...]:
        """GPUs that any of them saw."""
        found = [report.get("gpus") for report in self._known.values()]
        return tuple(dict.fromkeys(str(gpu) for gpus in found if isinstance(gpus, list) for gpu in gpus))


def look_at_interpreter(engine: EngineSpec, places: Places, surroundings: Surroundings) -> Iterator[Finding]:
    """One finding: there and with the engine's library, or not."""
    kind = engine.settings.kind
    place = places.of(engine, "python")
    try:
        report = surroundings.of(engine.python)
    except EngineError as error:
        yield wrong(
            "environment",
            str(error),
            place,
            allowed="a Python 3.11 or newer that starts",
            command=f"{shlex.quote(engine.python)} --version",
        )
        return
    packages = report["packages"]
    assert isinstance(packages, dict)  # noqa: S101 - probe's own promise
    needed = _NEEDED.get(kind, ())
    if missing := [name for name in needed if packages.get(name) is None]:
        wanted = " ".join(shlex.quote(requirement) for requirement in REQUIREMENTS[kind])
        yield wrong(
            "environment",
            f"{engine.python} (Python {report['python']}) without {', '.join(missing)}",
            place,
            allowed=f"an interpreter with {', '.join(needed)}",
            command=f"{shlex.quote(engine.python)} -m pip install {wanted}",
        )
        return
    versions = ", ".join(f"{name} {packages[name]}" for name in needed)
    yield right("environment", f"Python {report['python']}, {versions}")
