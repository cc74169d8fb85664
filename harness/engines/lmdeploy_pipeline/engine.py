"""The engine ``lmdeploy``: the real package's pipeline, built and then read in the way that it allows.

On ``device: cuda`` it runs as it is; on ``device: cpu`` through the CPU device plug-in (`lmdeploy_on_cpu`),
which the fingerprint says.

Importing it imports neither torch nor lmdeploy.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.engines.contract import Engine, EngineSettings
from harness.engines.lmdeploy_on_cpu import plugin as lmdeploy_on_cpu
from harness.engines.lmdeploy_pipeline.backends import backend_config, backend_in_force
from harness.engines.lmdeploy_pipeline.called import CalledPipeline
from harness.engines.lmdeploy_pipeline.options import check_settings
from harness.engines.lmdeploy_pipeline.pytorch import LmdeployPipeline
from harness.engines.lmdeploy_pipeline.turbomind import TURBOMIND
from harness.engines.out_of_memory import is_out_of_memory
from harness.errors import EngineError, ErrorKind

if TYPE_CHECKING:
    from lmdeploy.pipeline import Pipeline

__all__ = ["LmdeployPipeline", "choose", "load"]


def load(settings: EngineSettings) -> Engine:
    """Build the pipeline for ``settings``.

    Raises EngineError: UNSUPPORTED for settings that LMDeploy cannot honour as they are written, LOAD where
    there is no GPU for ``device: cuda`` or LMDeploy does not start, OUT_OF_MEMORY.
    """
    check_settings(settings)
    if not Path(settings.model).is_dir():
        # LMDeploy would try to download a model of that name.
        raise EngineError(
            ErrorKind.LOAD, f"there is no model folder {settings.model}; see 'model' in the profile"
        )
    if settings.device == "cpu":
        lmdeploy_on_cpu.install(dtype=settings.dtype)
    import torch

    if settings.device == "cuda" and not torch.cuda.is_available():
        raise EngineError(
            ErrorKind.LOAD,
            "device: found cuda, but this machine has no NVIDIA GPU visible (torch.cuda.is_available() is "
            "False). Run on a machine with one, or choose a profile with 'device: cpu'; nothing was scored",
        )
    threads = settings.options.get("threads")
    if isinstance(threads, int):
        torch.set_num_threads(threads)
    pipe = _build(settings)
    try:
        return choose(settings, pipe)
    except BaseException:
        if hasattr(pipe, "close"):  # until 0.6 it has none
            pipe.close()
        raise


def choose(settings: EngineSettings, pipe: Pipeline) -> Engine:
    """The engine that knows how to read ``pipe``, by what the pipeline has and the backend it really uses."""
    if backend_in_force(settings, pipe) == TURBOMIND or not hasattr(pipe, "async_engine"):
        return CalledPipeline(settings, pipe)
    return LmdeployPipeline(settings, pipe)


def _build(settings: EngineSettings) -> Pipeline:
    from lmdeploy import pipeline

    trust = _trust(settings)
    try:
        # LMDeploy checks an option's value, by an assertion, as soon as its configuration is made.
        return pipeline(settings.model, backend_config=backend_config(settings), **trust)
    except EngineError:
        raise
    except Exception as error:
        raise EngineError(
            ErrorKind.OUT_OF_MEMORY if is_out_of_memory(error) else ErrorKind.LOAD,
            f"LMDeploy cannot load {settings.model}: {type(error).__name__}: {error}",
        ) from error


def _trust(settings: EngineSettings) -> dict[str, Any]:
    """Whether the model's own Python files may run, as LMDeploy is told it.

    Raises EngineError(UNSUPPORTED) where LMDeploy cannot be told, and would run them unasked.
    """
    try:
        from lmdeploy.pipeline import Pipeline
    except ModuleNotFoundError:  # until 0.11 there is only the function
        from lmdeploy import pipeline as Pipeline  # noqa: N812

    trusted = bool(settings.options.get("trust_remote_code", False))
    if "trust_remote_code" in inspect.signature(Pipeline).parameters:
        return {"trust_remote_code": trusted}
    files = sorted(path.name for path in Path(settings.model).glob("*.py"))
    if files and not trusted:
        raise EngineError(
            ErrorKind.UNSUPPORTED,
            f"this LMDeploy cannot be kept from running the Python files of {settings.model} "
            f"({', '.join(files)}). If you trust them write 'trust_remote_code: true' in this engine's "
            "options in the profile; if not, use an LMDeploy that asks first, such as 0.14 or later",
        )
    return {}
