"""Which looks an engine gets, in which order. What does not depend on what is wrong goes on regardless."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from harness.cases.folder import Loaded
from harness.cases.problems import shown
from harness.cases.profiles import EngineSpec, Profile
from harness.cases.suites import Case
from harness.environments.checking import Loadable, look_at_needs, needs_gpu
from harness.environments.store import Environments
from harness.machine.findings import Finding, right, unknown, wrong
from harness.machine.nvidia import read_nvidia
from harness.profile_check.clock import look_at_clock
from harness.profile_check.environment import look_at_environment
from harness.profile_check.fit import look_at_fit
from harness.profile_check.letters import Letters, look_at_letters
from harness.profile_check.memory import look_at_memory
from harness.profile_check.model_files import ModelFiles, look_into
from harness.profile_check.model_shapes import ModelShapes, ShapesError, read_shapes
from harness.profile_check.places import Places
from harness.profile_check.published import PUBLISHED
from harness.profile_check.server import look_at_server
from harness.profile_check.settings import look_at_overrides, look_at_settings
from harness.schemas.options import OPTIONS
from harness.workers.hub_report import cache_folder, command, find_snapshot, lacking, offline

__all__ = ["ProfileCheck"]

_NEXT = {"template": "put the template that you serve with into that folder"}
_OF_SERVERS = {option.name for option in OPTIONS if "lmdeploy" not in option.kinds}
_DTYPES = {"BF16": "bfloat16", "F16": "float16", "F32": "float32"}


@dataclass(frozen=True, slots=True)
class _Model:
    """What could be found out of a model; ``files`` None where it is not on this machine."""

    findings: tuple[Finding, ...]
    files: ModelFiles | None = None
    shapes: ModelShapes | None = None


class ProfileCheck:
    """Checks one profile of a folder that is valid as a whole; nothing is made, downloaded or loaded."""

    def __init__(self, loaded: Loaded, profile: Profile, environments: Environments) -> None:  # noqa: D107
        self._profile = profile
        self._places = Places(profile)
        self._environments = environments
        self._nvidia = read_nvidia()
        gpus = self._nvidia.at_hand(os.environ)
        self._gpu = min(gpus, key=lambda gpu: gpu.free or 0, default=None)  # that holds the least now
        self._loadable: dict[tuple[object, ...], Loadable] = {}
        self._files = lru_cache(maxsize=None)(look_into)  # engines often share a folder
        self.suites = profile.suites or tuple(suite.name for suite in loaded.suites)
        self.cases: tuple[Case, ...] = tuple(filter(profile.takes, loaded.cases))

    def engine(self, engine: EngineSpec) -> Iterator[Finding]:
        """Every finding on ``engine``, as soon as it is known."""
        if served := engine.settings.kind == "api":
            if not engine.settings.options.get("serve"):
                yield from look_at_server(engine, self._places)
                return
            engine = _what_it_serves_with(engine)
        model = self._look_at_model(engine)
        yield from model.findings
        if model.files is not None:
            yield from look_at_clock(engine, model.files.folder, served=served)
        yield from self._remote_code(engine, model)
        yield from look_at_settings(engine, self._places, saved_as=_saved_as(model))
        if model.files is not None and model.files.config:
            yield from look_at_overrides(engine, self._places, model.files.config)
        if needs_gpu(engine) and self._gpu is None:
            text = "no NVIDIA GPU is visible here; the profile asks for device: cuda"
            yield unknown("GPU", text, command="harness doctor, on the machine that is to run it")
        if model.files is not None:
            yield from look_at_fit(engine, self._places, model.files, model.shapes, self.cases)
        findings, python = self._environment(engine, model)
        yield from findings
        yield from look_at_needs(engine, self._environments, self._nvidia, wanted=self._gpu is not None)
        letters = self._letters(engine, model, python)
        yield from letters.findings
        if model.shapes is None:
            yield unknown("memory", "no estimate without the sizes in a config.json")
            return
        yield look_at_memory(
            engine,
            self._places,
            shapes=model.shapes,
            files=model.files,
            cases=self.cases,
            letters=letters,
            gpu=self._gpu,
        )

    def _environment(self, engine: EngineSpec, model: _Model) -> tuple[list[Finding], str | None]:
        # Without a GPU here the question is whether the engine's library would load at all.
        device = engine.settings.device if self._gpu is not None else "cpu"
        asked = replace(engine, settings=replace(engine.settings, device=device))
        label = f"{self._profile.name}-{engine.name}"
        files = model.files
        named = () if files is None or files.own_code else files.architectures
        return look_at_environment(label, asked, self._places, self._environments, self._loadable, named)

    def _letters(self, engine: EngineSpec, model: _Model, python: str | None) -> Letters:
        files = model.files
        if files is None or not files.tokenizer or not files.template:
            return Letters((unknown("letters", "not looked at without a tokenizer and a chat template"),))
        if python is None:
            return Letters((unknown("letters", "not looked at without an environment"),))
        return look_at_letters(engine, self._places, files, self.cases, profile=self._profile, python=python)

    def _look_at_model(self, engine: EngineSpec) -> _Model:
        name = engine.settings.model
        if Path(name).is_absolute():
            return self._look_at_folder(engine, Path(name))
        snapshot = find_snapshot(name, engine.revision)
        at = f" at revision {engine.revision}" if engine.revision else ""
        if snapshot is not None:
            return self._look_at_folder(engine, snapshot, cached=True)
        published = PUBLISHED.get(name)
        shapes = None if published is None else read_shapes(published)
        size = "how much is not known here"
        if shapes is not None and shapes.parameters is not None:
            size = f"about {2 * shapes.parameters / 1e9:.1f} GB of weights, from its published shapes"
        text, fetch = f"{name}{at} is not in {shown(cache_folder())}", command(name, engine.revision)
        if variable := offline():
            text, fetch = f"{text}; {variable} forbids to fetch it", f"{variable}=0 {fetch}"
            place = self._places.of(engine, "model")
            finding = wrong("model", text, place, allowed="a model that is there", command=fetch)
        else:
            finding = unknown("model", f"{text}; the first run downloads it: {size}", command=fetch)
        return _Model((finding,), shapes=shapes)

    def _look_at_folder(self, engine: EngineSpec, folder: Path, *, cached: bool = False) -> _Model:
        files = self._files(folder)
        topics = {trouble.topic for trouble in files.troubles}
        # A run fetches what is not there, and with it what only the hub knows of; not again what is there.
        lacks = {lack.found for lack in lacking(folder)} if cached else set()
        fetched = lacks | {"no chat template"} if lacks and not offline() else set()
        fetch = command(engine.settings.model, engine.revision)
        findings = []
        if "model" not in topics:
            findings.append(right("model", f"{shown(folder)}: {_content(files)}"))
        for trouble in files.troubles:
            text = f"{shown(folder)}: {trouble.found}"
            if trouble.found in fetched:
                text = f"{text} (a run fetches the rest)"
                findings.append(unknown(trouble.topic, text, command=fetch))
                continue
            again = fetch if trouble.found in lacks else f"{fetch} --force-download"
            usual = again if cached else "fetch or save the model again, or change `model:`"
            findings.append(
                wrong(
                    trouble.topic,
                    text,
                    self._places.of(engine, "model"),
                    allowed=trouble.allowed,
                    command=_NEXT.get(trouble.topic, usual),
                )
            )
        names = [*filter(None, (files.tokenizer, files.template, files.processor))]
        if names and not topics & {"tokenizer", "template", "processor"}:
            findings.append(right("tokenizer", ", ".join(dict.fromkeys(names))))
        try:
            shapes = read_shapes(files.config)
        except ShapesError:
            shapes = None
        return _Model(tuple(findings), files, shapes)

    def _remote_code(self, engine: EngineSpec, model: _Model) -> Iterator[Finding]:
        # That a hub's code is pinned to a commit, the file's own validation sees to.
        if model.files is not None and (own := model.files.own_code):
            state = "on" if engine.settings.options.get("trust_remote_code") is True else "off"
            yield right("remote code", f"comes with {', '.join(own)}; trust_remote_code is {state}")


def _what_it_serves_with(engine: EngineSpec) -> EngineSpec:
    """An engine that starts LMDeploy's server, as the LMDeploy in it."""
    settings = engine.settings
    options = {name: value for name, value in settings.options.items() if name not in _OF_SERVERS}
    # A server keeps no rows but those that are sampled from.
    return replace(engine, settings=replace(settings, kind="lmdeploy", paths=("top-k",), options=options))


def _content(files: ModelFiles) -> str:
    if not files.weight_files:
        return "weights in pickled files, which are not read here"
    count = len(files.weight_files)
    return (
        f"all of {count} {'file' if count == 1 else 'files'}, {files.parameters:,} parameters "
        f"in {files.saved_as()}"
    )


def _saved_as(model: _Model) -> str | None:
    if model.files is not None and len(model.files.numbers) == 1:
        return _DTYPES.get(next(iter(model.files.numbers)))
    return None if model.shapes is None else model.shapes.dtype
