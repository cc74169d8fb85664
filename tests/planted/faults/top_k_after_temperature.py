"""A profile's ``patch``: LMDeploy reports its log-probabilities after a temperature of 0.8 was applied."""

from typing import Any

from harness.engines.contract import Engine, EngineSettings
from harness.engines.lmdeploy_pipeline import engine as lmdeploy_pipeline

_load = lmdeploy_pipeline.load


def load(settings: EngineSettings) -> Engine:
    engine = _load(settings)
    from lmdeploy.pytorch.engine.logits_process import FusedLogitsProcessor

    compute = FusedLogitsProcessor.compute_logprobs

    def compute_logprobs(self: Any, raw_logprobs: Any, token_ids: Any) -> Any:
        if raw_logprobs is not None:  # stage two asks for none
            raw_logprobs = (raw_logprobs / 0.8).log_softmax(-1)
        return compute(self, raw_logprobs, token_ids)

    FusedLogitsProcessor.compute_logprobs = compute_logprobs
    return engine


lmdeploy_pipeline.load = load
