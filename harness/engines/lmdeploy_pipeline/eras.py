"""What pipelines of LMDeploy have in common from 0.5 to 0.18, as far as it is used where they are called.

What only some have is asked for with ``hasattr`` where it is used, so that no version number decides.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Called", "Core", "Messages", "Pipe", "core_of", "in_loop"]

_T = TypeVar("_T")
Messages = list[dict[str, Any]]


class Called(Protocol):
    """LMDeploy's ``Response``; until 0.6 without ``logits``."""

    text: str
    token_ids: list[int]
    finish_reason: str | None
    logprobs: list[dict[int, float]] | None
    logits: Tensor | None


class Pipe(Protocol):
    """What ``lmdeploy.pipeline`` returns: an ``AsyncEngine`` until 0.11, then a ``Pipeline`` with one."""

    def __call__(self, prompts: Sequence[Messages], *, gen_config: Sequence[object]) -> list[Called]: ...  # noqa: D102


class _Tokenizer(Protocol):
    eos_token_id: int | None


class _BackendConfig(Protocol):
    max_prefill_token_num: int


class Core(Protocol):
    """LMDeploy's ``AsyncEngine``; ``engine`` is TurboMind or the PyTorch engine itself."""

    backend: str
    backend_config: _BackendConfig
    chat_template: object
    engine: object
    session_len: int
    stop_words: list[int] | None
    tokenizer: _Tokenizer

    @property
    def hf_gen_cfg(self) -> Mapping[str, Any]: ...  # noqa: D102


def core_of(pipe: Pipe) -> Core:
    """The engine within the pipeline, or the pipeline where it is the engine itself."""
    return cast("Core", getattr(pipe, "async_engine", pipe))


def in_loop(pipe: Pipe, coroutine: Coroutine[Any, Any, _T]) -> _T:
    """Run ``coroutine`` in the event loop that the pipeline gave its engine (from 0.7 on)."""
    thread: Any = getattr(pipe, "internal_thread")  # noqa: B009 - not every pipeline has one
    return asyncio.run_coroutine_threadsafe(coroutine, thread.loop).result()
