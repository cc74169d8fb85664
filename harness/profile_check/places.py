"""Where in profiles.yaml a field of an engine stands: with the engine, or with its profile for all."""

from __future__ import annotations

from pathlib import Path

from harness.cases.problems import Location, ProblemList
from harness.cases.profiles import EngineSpec, Profile
from harness.cases.yaml_source import read_document

__all__ = ["Places"]


class Places:
    """Looks fields up in the profiles file that a valid ``profile`` came from."""

    def __init__(self, profile: Profile) -> None:  # noqa: D107
        self._document = read_document(Path(profile.location.file), ProblemList())
        self._profile = ("profiles", profile.name)

    def of(self, engine: EngineSpec, *names: str) -> Location:
        """The place of the first of the fields ``names`` (``options.dtype`` goes deeper) that is written.

        The engine's own comes before its profile's; where none is written, the engine's.
        """
        own = (*self._profile, "engines", engine.name)
        for owner in (own, self._profile):
            for name in names:
                steps = (*owner, *name.split("."))
                if self._holds(steps):
                    return self._document.place(steps)
        return engine.location

    def _holds(self, steps: tuple[str, ...]) -> bool:
        node = self._document.data
        for step in steps:
            if not isinstance(node, dict) or step not in node:
                return False
            node = node[step]
        return True
