"""A profile's ``patch``: LMDeploy without the guard that takes a second begin-of-text away again."""

from typing import Any

from harness.engines.contract import Engine, EngineSettings
from harness.engines.lmdeploy_pipeline import engine as lmdeploy_pipeline

_load = lmdeploy_pipeline.load


def load(settings: EngineSettings) -> Engine:
    engine = _load(settings)
    from lmdeploy.tokenizer import Tokenizer

    def encode(
        self: Any, text: str, add_bos: bool = True, add_special_tokens: bool = True, **kwargs: Any
    ) -> list[int]:
        ids: list[int] = self.model.encode(text, add_bos, add_special_tokens, **kwargs)
        return ids

    Tokenizer.encode = encode
    return engine


lmdeploy_pipeline.load = load
