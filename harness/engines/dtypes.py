"""The dtype that a checkpoint names. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["named_dtype"]


def named_dtype(config: object) -> str | None:
    """The dtype that a config.json names, at the top or for its language model, without ``torch.``.

    ``config`` is what the file holds, or what Transformers made of it. None where it names none.
    """
    for part in (config, *(_of(config, name) for name in ("text_config", "llm_config"))):
        for name in ("dtype", "torch_dtype"):
            if found := _of(part, name):
                return str(found).removeprefix("torch.")
    return None


def _of(owner: object, name: str) -> Any:  # noqa: ANN401 - whatever stands there
    return owner.get(name) if isinstance(owner, Mapping) else getattr(owner, name, None)
