"""Engines as they will run: in which interpreter, on which folder of weights, under which fingerprint."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from harness.engines.api_server.running import is_running_server
from harness.engines.contract import EngineSettings, Json
from harness.environments.store import Environments
from harness.errors import EngineError
from harness.recordings.fingerprint import engine_fingerprint
from harness.scoring.subjects import Subject
from harness.workers import find_model, probe

__all__ = ["EngineProgress", "Engines", "ResolvedEngine"]


@dataclass(frozen=True, slots=True)
class EngineProgress:
    """How far one engine is: ``done`` of ``total`` missing recordings; ``reused`` were there before.

    ``note`` is about the phase and changes within it, such as the seconds that it has taken.
    """

    engine: str
    phase: str
    done: int
    total: int
    reused: int
    errors: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class ResolvedEngine:
    """An engine as it will run: the model's folder is local, the fingerprint is from before loading."""

    python: str
    settings: EngineSettings
    fingerprint: dict[str, Json]


class Engines:
    """The engines of one run, each resolved when it is first asked for, and once.

    That makes environments, looks at interpreters, downloads hub models and hashes weights. ``cache`` is the
    folder for hashes of large files; ``show`` is called with the progress.
    """

    def __init__(
        self, environments: Environments, *, cache: Path, show: Callable[[EngineProgress], None]
    ) -> None:
        """Touches nothing yet."""
        self._environments = environments
        self._cache = cache
        self._show = show
        self._installed: dict[str, dict[str, Json]] = {}  # by interpreter, which engines often share
        self._found: dict[str, ResolvedEngine | EngineError] = {}  # by engine label

    def resolve(self, subject: Subject) -> ResolvedEngine:
        """The subject's engine; raises `EngineError`, the same each time, where there is none."""
        label = subject.engine_label
        if label not in self._found:
            try:
                self._found[label] = self._described(subject)
            except EngineError as error:
                error.refused = error.refused or error.message
                self._found[label] = error
        found = self._found[label]
        if isinstance(found, EngineError):
            raise found.with_traceback(None)  # else it grows with every test that asks
        return found

    def _described(self, subject: Subject) -> ResolvedEngine:
        spec, settings = subject.engine, subject.engine.settings

        def show(phase: str, note: str) -> None:
            self._show(EngineProgress(subject.engine_label, phase, 0, 0, 0, 0, note))

        python = self._environments.interpreter(subject.engine_label, spec, show)
        if not (is_running_server(settings) or Path(settings.model).is_absolute()):  # a hub id
            found = find_model(
                python.path,
                settings.model,
                revision=spec.revision,
                show=partial(show, f"downloading {settings.model}"),
            )
            settings = replace(settings, model=str(found["folder"]))
        if python.path not in self._installed:
            self._installed[python.path] = probe(
                python.path, cache=self._cache, show=partial(show, "looking at its interpreter")
            )
        fingerprint = engine_fingerprint(
            settings,
            self._installed[python.path],
            patch=spec.patch,
            cache=self._cache,
            environment=python.fingerprint,
        )
        return ResolvedEngine(python.path, settings, fingerprint)
