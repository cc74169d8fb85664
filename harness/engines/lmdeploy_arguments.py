"""The arguments of ``lmdeploy.pipeline``, in whichever form the installed LMDeploy takes them.

What a version takes is read from its own configuration classes and signature, not from its number.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.metadata
import inspect
import json
from pathlib import Path
from typing import Any

from harness.engines.contract import EngineSettings
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

    on_turbomind = is_turbomind(settings)
    kind = lmdeploy.TurbomindEngineConfig if on_turbomind else lmdeploy.PytorchEngineConfig
    known = [field.name for field in dataclasses.fields(kind)]
    if settings.dtype != "auto" and "dtype" not in known:
        raise EngineError(
            ErrorKind.UNSUPPORTED,
            f"dtype: found {settings.dtype}; allowed: auto, since LMDeploy {version()} cannot be told one",
        )
    options = (turbomind_options if on_turbomind else engine_options)(settings, known)
    return {"backend_config": kind(**options), **_trust(settings)}


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


def _trust(settings: EngineSettings) -> dict[str, Any]:
    """Whether the model's own Python files may run, as LMDeploy is told it."""
    import lmdeploy

    try:  # from 0.12 the function may hand on to a class what it does not know itself
        owner: Any = importlib.import_module("lmdeploy.pipeline").Pipeline
    except ModuleNotFoundError:
        owner = lmdeploy.pipeline
    trusted = bool(settings.options.get("trust_remote_code", False))
    if "trust_remote_code" in inspect.signature(owner).parameters:
        return {"trust_remote_code": trusted}
    model = Path(settings.model)
    files = sorted(path.name for path in model.glob("*.py"))
    if json.loads((model / "config.json").read_text(encoding="utf-8")).get("auto_map"):
        files.append("auto_map in its config.json")
    if files and not trusted:
        raise EngineError(
            ErrorKind.UNSUPPORTED,
            f"this LMDeploy cannot be kept from running the Python files of {settings.model} "
            f"({', '.join(files)}). If you trust them write 'trust_remote_code: true' in this engine's "
            "options in the profile; if not, use an LMDeploy that asks first, such as 0.14 or later",
        )
    return {}
