"""Engines as they will run: in which interpreter, on which folder of weights, under which fingerprint."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from harness.engines.api_server.running import is_running_server
from harness.engines.contract import EngineSettings, Json
from harness.environments.store import Environments
from harness.errors import EngineError
from harness.recordings.fingerprint import engine_fingerprint, model_fingerprint
from harness.scoring.subjects import Subject
from harness.workers import find_model, probe
from harness.workers.executors import Executor
from harness.workers.executors.devices import gpus_per_worker

__all__ = ["EngineProgress", "Engines", "Plan", "ResolvedEngine"]


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


@dataclass(slots=True)
class Plan:
    """One engine with the subjects it is asked about, by key: equal content is scored once."""

    label: str
    engine: ResolvedEngine
    subjects: dict[str, Subject] = field(default_factory=dict)

    def begun(self, missing: Collection[str]) -> int:
        """How many cases of a batch that was broken off are answered, so that those behind it stay whole.

        0 where more is ``missing``, or less, than what would have been asked after them.
        """
        size, keys = max(1, self.engine.settings.batch_size), list(self.subjects)
        first = next((place for place, key in enumerate(keys) if key in missing), 0) // size * size
        if not all(key in missing for key in keys[first + size :]):
            return 0
        return sum(key not in missing for key in keys[first : first + size])


class Engines:
    """The engines of one run, each resolved when it is first asked for, and once.

    That makes environments, looks at interpreters, downloads hub models and hashes weights. ``cache`` is the
    folder for hashes of large files; ``show`` is called with the progress.
    """

    def __init__(
        self,
        environments: Environments,
        *,
        cache: Path,
        show: Callable[[EngineProgress], None],
        executor: Executor | None = None,
    ) -> None:
        """Touches nothing yet. ``executor`` has the workers, and says what they will run on."""
        self._environments = environments
        self._cache = cache
        self._show = show
        self._executor = executor
        # by interpreter, which engines often share, and where it matters how many GPUs it is to see
        self._installed: dict[tuple[str, int], dict[str, Json]] = {}
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

    def changed(self, engine: ResolvedEngine) -> str:
        """What of its model or patch is no more as it was when it was resolved, in words; '' for nothing.

        What is loaded meanwhile is not what its recordings would be filed under.
        """
        if is_running_server(engine.settings):
            return ""
        before: Any = engine.fingerprint["model"]
        try:
            now: Any = model_fingerprint(Path(engine.settings.model), self._cache)
        except EngineError as error:
            return error.message
        names = {name for name, _ in {*before["files"].items()} ^ {*now["files"].items()}}
        return f"{', '.join(sorted(names))} of {engine.settings.model} changed" if names else ""

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
        looking = partial(show, "looking at its interpreter")
        place = python.path, 0 if self._executor is None else gpus_per_worker(settings)
        if place not in self._installed:
            self._installed[place] = (
                probe(python.path, cache=self._cache, show=looking)
                if self._executor is None
                else self._executor.probe(python.path, settings, cache=self._cache, show=looking)
            )
        fingerprint = engine_fingerprint(
            settings,
            self._installed[place],
            patch=spec.patch,
            cache=self._cache,
            environment=python.fingerprint,
        )
        return ResolvedEngine(python.path, settings, fingerprint)
