"""Stage two by call: full logits of a sequence that is given, with its image, by whichever way there is.

Shapes: N tokens of prompt and answer, V columns of the logits.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol

from harness.engines.lmdeploy_pipeline.eras import Pipe, core_of, in_loop
from harness.engines.lmdeploy_pipeline.options import PYTORCH
from harness.engines.lmdeploy_pipeline.prepared import Prepared
from harness.engines.lmdeploy_pipeline.turbomind import TURBOMIND
from harness.errors import EngineError, ErrorKind

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["GetLogits", "OutputLogits", "SecondPass", "second_pass"]

_FIRST_SESSION: Final = 1_000_000_000
"""Far from the ids that the pipeline counts up for its own sessions."""


class SecondPass(Protocol):
    """One way to the logits of a whole sequence; ``way`` names it in a fingerprint."""

    way: ClassVar[str]

    def logits(self, prepared: Prepared, ids: Sequence[int]) -> Tensor:
        """Raw logits [N, V] of ``ids`` [N], which begin with the prompt's; one sequence at a time.

        Raises EngineError: UNSUPPORTED where this way would lose the image, FAILED.
        """
        ...


def second_pass(pipe: Pipe) -> SecondPass | None:
    """The way of this pipeline, by what it has; None where it has none."""
    if hasattr(pipe, "get_logits") and hasattr(pipe, "prepare_inputs"):
        return GetLogits(pipe)
    engine = core_of(pipe)
    if hasattr(engine, "safe_run") and (hasattr(engine, "model_inst") or hasattr(engine, "session_mgr")):
        return OutputLogits(pipe)
    return None


class GetLogits:
    """LMDeploy 0.5 and 0.6: ``pipe.get_logits``, which is not safe to call twice at once."""

    way: ClassVar[str] = "pipe.prepare_inputs and pipe.get_logits over prompt and answer"

    def __init__(self, pipe: Pipe) -> None:  # noqa: D107
        self._pipe: Any = pipe

    def logits(self, prepared: Prepared, ids: Sequence[int]) -> Tensor:  # noqa: D102
        logits = self._pipe.get_logits(
            [list(ids)],
            input_embeddings=_batch_of_one(prepared.inputs.get("input_embeddings")),
            input_embedding_ranges=_batch_of_one(prepared.inputs.get("input_embedding_ranges")),
        )
        return _checked(logits[0], len(ids))


class OutputLogits:
    """From 0.7 on: ``output_logits='all'``, given to the engine as LMDeploy's own ``async_get_logits`` does.

    That method takes ids only and would lose the image, so the prompt's inputs go along here.
    """

    way: ClassVar[str] = "output_logits=all over prompt and answer, within LMDeploy's engine"

    def __init__(self, pipe: Pipe) -> None:  # noqa: D107
        self._pipe = pipe
        self._engine: Any = core_of(pipe)
        self._sessions = itertools.count(_FIRST_SESSION)

    def logits(self, prepared: Prepared, ids: Sequence[int]) -> Tensor:  # noqa: D102
        return in_loop(self._pipe, self._logits(prepared, list(ids)))

    async def _logits(self, prepared: Prepared, ids: list[int]) -> Tensor:
        from lmdeploy import GenerationConfig

        # TurboMind generates one token at least, whose row is not among the first N; the PyTorch engine gives
        # logits only where it generates none. A temperature of 1 since it scales the last row in place.
        steps = 1 if self._engine.backend == TURBOMIND else 0
        options = GenerationConfig(max_new_tokens=steps, output_logits="all", top_k=1, temperature=1.0)
        last = None
        async with self._opened() as (handle, names):
            running = self._engine.safe_run(
                handle,
                **names,
                **{**prepared.inputs, "input_ids": ids},
                gen_config=options,
                adapter_name=None,
                stream_output=False,
                sequence_start=True,
                sequence_end=True,
                step=0,
            )
            async with running as outputs:
                async for output in outputs:
                    last = output
            if self._engine.backend == PYTORCH and "session_id" in names:
                await handle.async_end(names["session_id"])
        if last is None or last.logits is None:
            status = "nothing" if last is None else last.status.name
            raise EngineError(ErrorKind.FAILED, f"stage two got no logits for {len(ids)} tokens: {status}")
        return _checked(last.logits[: len(ids)], len(ids))

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[tuple[Any, dict[str, Any]]]:
        """An instance of the engine, and what names the session to ``safe_run``."""
        if hasattr(self._engine, "session_mgr"):
            session = self._engine.session_mgr.get()
            try:
                async with session.request_handle() as handle:
                    yield handle, {"session": session}
            finally:
                self._engine.session_mgr.remove(session)
        else:
            number = next(self._sessions)
            async with self._engine.model_inst(number) as handle:
                yield handle, {"session_id": number}


def _batch_of_one(value: Iterable[object] | None) -> list[list[object]] | None:
    return None if value is None else [list(value)]


def _checked(logits: Tensor, count: int) -> Tensor:
    if logits.ndim != 2 or len(logits) != count:
        raise EngineError(
            ErrorKind.FAILED,
            f"stage two got logits of shape {tuple(logits.shape)} for {count} tokens; allowed: one row each, "
            "since a row is found by its place",
        )
    return logits
