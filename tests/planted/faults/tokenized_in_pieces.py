"""A profile's ``patch``: LMDeploy tokenizes its prompt in pieces that end within a line's first word."""

import re
from typing import Any

from harness.engines.contract import Engine, EngineSettings
from harness.engines.lmdeploy_pipeline import engine as lmdeploy_pipeline

_load = lmdeploy_pipeline.load


def load(settings: EngineSettings) -> Engine:
    engine = _load(settings)
    from lmdeploy.tokenizer import HuggingFaceTokenizer

    encode = HuggingFaceTokenizer.encode

    def in_pieces(self: Any, text: str, *args: Any, **kwargs: Any) -> list[int]:
        pieces = re.split(r"(?<=\n[^<][^<])", text)
        return [token for piece in pieces for token in encode(self, piece, *args, **kwargs)]

    HuggingFaceTokenizer.encode = in_pieces
    return engine


lmdeploy_pipeline.load = load
