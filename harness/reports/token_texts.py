"""Tokens as their tokenizer writes them ('ĠWhat', '▁A'), for messages about ids; no tokenizer is loaded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

__all__ = ["token_texts"]


@lru_cache(maxsize=4)
def token_texts(model: str) -> Mapping[int, str]:
    """Id to token, from the folder's tokenizer.json; empty where there is none that can be read."""
    try:
        data = json.loads((Path(model) / "tokenizer.json").read_text(encoding="utf-8"))
        vocabulary = data["model"]["vocab"]
        if isinstance(vocabulary, list):  # Unigram's: pairs of a token and its score, in the order of ids
            vocabulary = {token: place for place, (token, _) in enumerate(vocabulary)}
        texts = {int(token_id): str(token) for token, token_id in vocabulary.items()}
        return texts | {int(token["id"]): str(token["content"]) for token in data.get("added_tokens", ())}
    except (AttributeError, KeyError, OSError, TypeError, ValueError):
        return {}
