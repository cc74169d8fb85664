"""A profile's ``patch``: a norm of LMDeploy's language model has a hundred times its epsilon."""

from __future__ import annotations

from typing import Any

from harness.engines.lmdeploy_pipeline import engine

_build = engine._build


def build(settings: Any) -> Any:
    pipe = _build(settings)
    agent = pipe.async_engine.engine.executor.model_agent
    norm = agent.patched_model.get_model().language_model.model.layers[1].input_layernorm
    norm.impl.eps = norm.eps = norm.eps * 100
    return pipe


engine._build = build
