"""LMDeploy's engine: the one that is asked for, and the one that LMDeploy took.

Which options a version takes is read from its own configuration classes, not from its number.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.engines.contract import EngineSettings
from harness.engines.lmdeploy_pipeline.options import PYTORCH, TURBOMIND, engine_options, is_turbomind
from harness.errors import EngineError, ErrorKind

if TYPE_CHECKING:
    from lmdeploy.pipeline import Pipeline

__all__ = ["backend_config", "backend_in_force", "built_with", "version"]


def backend_config(settings: EngineSettings) -> Any:  # noqa: ANN401 - a class of any LMDeploy
    """LMDeploy's configuration of the engine that the profile asks for.

    Raises EngineError(UNSUPPORTED) for an option or a dtype that this LMDeploy cannot be told.
    """
    import lmdeploy

    kind = lmdeploy.TurbomindEngineConfig if is_turbomind(settings) else lmdeploy.PytorchEngineConfig
    known = [field.name for field in dataclasses.fields(kind)]
    if settings.dtype != "auto" and "dtype" not in known:
        raise EngineError(
            ErrorKind.UNSUPPORTED,
            f"dtype: found {settings.dtype}; allowed: auto, since LMDeploy {version()} cannot be told one",
        )
    return kind(**engine_options(settings, known))


def built_with(settings: EngineSettings) -> dict[str, Any]:
    """What else LMDeploy is built with: its ``chat_template_config`` and ``vision_config``, as far as said.

    Raises EngineError(UNSUPPORTED) for a content that this LMDeploy does not take.
    """
    made: dict[str, Any] = {}
    for name, value in settings.options.items():
        try:
            if name == "chat_template_config":
                made[name] = _chat_template(str(value))
            elif name == "vision_config" and isinstance(value, dict):
                from lmdeploy.messages import VisionConfig

                made[name] = VisionConfig(**value)
        except (OSError, TypeError, ValueError) as error:
            raise EngineError(
                ErrorKind.UNSUPPORTED,
                f"the engine lmdeploy: options.{name}: found {value!r}, which LMDeploy {version()} does not "
                f"take: {error}",
            ) from error
    return made


def _chat_template(value: str) -> Any:  # noqa: ANN401 - a class of any LMDeploy
    """As ``lmdeploy serve --chat-template`` makes it of a file or a name."""
    from lmdeploy.model import MODELS, ChatTemplateConfig

    if Path(value).is_file():
        return ChatTemplateConfig.from_json(value)
    if value not in MODELS.module_dict:
        raise ValueError(f"neither a file nor a name among {', '.join(MODELS.module_dict)}")
    return ChatTemplateConfig(value)


def backend_in_force(settings: EngineSettings, pipe: Pipeline) -> str:
    """What LMDeploy really chose. It takes PyTorch where TurboMind cannot load a model, and only warns.

    Raises EngineError(LOAD) where that is not what the profile asks for.
    """
    asked = TURBOMIND if is_turbomind(settings) else PYTORCH
    engine = pipe.async_engine
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
