"""The arguments of ``lmdeploy.pipeline``, in whichever form the installed LMDeploy takes them.

What a version takes is read from its own configuration classes and signature, not from its number.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.engines.contract import EngineSettings, Json
from harness.engines.lmdeploy_eras import Pipe, core_of
from harness.engines.lmdeploy_options import PYTORCH, engine_options
from harness.engines.lmdeploy_turbomind import TURBOMIND, is_turbomind, turbomind_options
from harness.errors import EngineError, ErrorKind

__all__ = ["backend_in_force", "pipeline_arguments"]


def pipeline_arguments(settings: EngineSettings) -> dict[str, Any]:
    """Keyword arguments beside the model.

    Raises EngineError(UNSUPPORTED) for an option that this LMDeploy has not, and for a model with Python
    files of its own where this LMDeploy would run them without being asked.
    """
    import lmdeploy

    if is_turbomind(settings):
        kind, options = lmdeploy.TurbomindEngineConfig, turbomind_options(settings)
    else:
        kind, options = lmdeploy.PytorchEngineConfig, engine_options(settings)
    arguments: dict[str, Any] = {"backend_config": kind(**_known(kind, options, settings.options))}
    trusted = settings.options.get("trust_remote_code", False)
    if "trust_remote_code" in inspect.signature(lmdeploy.pipeline).parameters:
        arguments["trust_remote_code"] = trusted
    elif not trusted:
        _refuse_own_code(Path(settings.model))
    return arguments


def backend_in_force(settings: EngineSettings, pipe: Pipe) -> str:
    """What LMDeploy really chose. It takes PyTorch where TurboMind cannot load a model, and only warns.

    Raises EngineError(LOAD) where that is not what the profile asks for.
    """
    asked = TURBOMIND if is_turbomind(settings) else PYTORCH
    engine = core_of(pipe)
    found = str(engine.backend)
    config = type(engine.backend_config).__name__
    if found != asked or not config.lower().startswith(asked):
        raise EngineError(
            ErrorKind.LOAD,
            f"options.backend: asked for {asked}, but LMDeploy {version()} runs {settings.model} on {found} "
            f"({config}). It falls back so where TurboMind does not support a model or is not installed "
            f"whole; nothing was scored. Write 'backend: {found}' if that is what is served",
        )
    return found


def version() -> str:
    """The installed LMDeploy's version, for messages only."""
    try:
        return importlib.metadata.version("lmdeploy")
    except importlib.metadata.PackageNotFoundError:
        return "(not installed as a package)"


def _known(kind: type[Any], options: Mapping[str, Json], chosen: Mapping[str, Json]) -> dict[str, Json]:
    """Those of ``options`` that ``kind`` has; what an older one lacks may go unless a profile asks for it."""
    fields = {field.name for field in dataclasses.fields(kind)}
    lost = [name for name in options if name not in fields and name in chosen]
    if "dtype" not in fields and options["dtype"] != "auto":
        lost.append("dtype")
    if lost:
        raise EngineError(
            ErrorKind.UNSUPPORTED,
            f"options: LMDeploy {version()} knows no {', '.join(lost)} for this engine; allowed: "
            f"{', '.join(sorted(fields & {*options, *chosen}))}. Take it out of the profile"
            f"{', whose dtype can only be auto there' if 'dtype' in lost else ''}",
        )
    return {name: value for name, value in options.items() if name in fields}


def _refuse_own_code(model: Path) -> None:
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    if config.get("auto_map"):
        raise EngineError(
            ErrorKind.UNSUPPORTED,
            f"{model} brings Python files of its own (auto_map in its config.json), which LMDeploy "
            f"{version()} runs without asking; allowed: only with 'options: {{trust_remote_code: true}}' in "
            "the profile. Read those files first",
        )
