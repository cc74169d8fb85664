"""Weights from a folder, whole or not at all: Transformers makes missing ones up at random."""

from __future__ import annotations

import torch
import transformers

from harness.engines.contract import EngineSettings
from harness.errors import EngineError, ErrorKind

__all__ = ["load_weights"]


def load_weights(
    kind: type[transformers.PreTrainedModel], settings: EngineSettings, **options: object
) -> transformers.PreTrainedModel:
    """A model on the CPU in evaluation mode, by ``kind.from_pretrained`` with ``options``.

    Raises EngineError (LOAD) if weights are missing or misshapen.
    """
    # The option has another name since the configuration has.
    dtype = "dtype" if hasattr(transformers.PretrainedConfig(), "dtype") else "torch_dtype"
    options[dtype] = settings.dtype if settings.dtype == "auto" else getattr(torch, settings.dtype)
    model, info = kind.from_pretrained(
        settings.model,
        trust_remote_code=settings.options.get("trust_remote_code") is True,
        output_loading_info=True,
        **options,
    )
    for problem in ("missing_keys", "mismatched_keys"):
        if found := sorted(map(str, info.get(problem, ()))):
            raise EngineError(
                ErrorKind.LOAD,
                f"{settings.model}: {len(found)} weights are {problem.removesuffix('_keys')}, among them "
                f"{', '.join(found[:3])}; they would be made up at random. Fetch the checkpoint again, or "
                "check that config.json belongs to it",
            )
    return model.eval()
