"""The steps on LMDeploy's PyTorch engine, from within its event loop."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from harness.engines.contract import EngineSettings, Json
from harness.engines.lmdeploy_pipeline.options import CAPTURED, EXECUTOR, SCORED, TOP_K, TWO_STAGE
from harness.engines.lmdeploy_pipeline.prompts import check_generated, check_placeholders, placeholder_id
from harness.engines.lmdeploy_pipeline.steps.access import Access
from harness.engines.lmdeploy_pipeline.steps.cache import CacheRoom
from harness.engines.lmdeploy_pipeline.steps.capture import Capture
from harness.engines.lmdeploy_pipeline.steps.contract import (
    Conversation,
    Entries,
    Generated,
    Prepared,
    Take,
)
from harness.engines.out_of_memory import is_out_of_memory
from harness.engines.prefix_cache import NO_CACHED_ROWS, check_in_force
from harness.errors import EngineError, ErrorKind

if TYPE_CHECKING:
    from lmdeploy.serve.core.async_engine import AsyncEngine
    from torch import Tensor

__all__ = ["PytorchSteps"]

_NEEDED: Final[Mapping[str, Callable[[Any], object]]] = {
    "AsyncEngine.engine.cache_config": lambda engine: engine.engine.cache_config,
    "AsyncEngine.engine.max_session_len": lambda engine: engine.engine.max_session_len,
    "AsyncEngine.engine.model_config": lambda engine: engine.engine.model_config,
    "AsyncEngine.engine.req_manager": lambda engine: engine.engine.req_manager,
    "AsyncEngine.engine.executor": lambda engine: engine.engine.executor,
}


class PytorchSteps:
    """See `Steps`; rows come by `Capture` while generating."""

    first = CAPTURED
    reported: str | None = None

    def __init__(self, engine: AsyncEngine, settings: EngineSettings) -> None:
        """Look at names; nothing is run.

        Raises EngineError: LOAD for what is missing, UNSUPPORTED where rows are asked of a model that runs in
        processes of its own, or a prefix cache that LMDeploy turned off.
        """
        self._access = Access(engine, _NEEDED)
        self._engine = engine.engine
        self._no_rows = _elsewhere(self._engine.executor, settings)
        self._placeholder = placeholder_id(engine)
        self.dtype = str(self._engine.model_config.dtype).removeprefix("torch.")
        cache = self._engine.cache_config
        self._room = CacheRoom(cache.num_gpu_blocks - cache.num_reserved_gpu_blocks, cache.block_size)
        check_in_force(settings, enabled=cache.enable_prefix_caching)
        self._no_prompt_rows = self._no_rows or NO_CACHED_ROWS * cache.enable_prefix_caching
        self.limits = {
            "session_len": int(engine.session_len),
            "num_gpu_blocks": int(self._engine.max_session_len),
            # Prefilled in chunks, the last row of each is spoilt.
            "max_prefill_token_num": int(cache.max_prefill_token_num),
        }
        ended = ", the sequence ended by the caller" if self._access.ends_sequences else ""
        self.ways = {
            CAPTURED: self._no_rows or "logits_processors",
            TWO_STAGE: f"{self._access.inputs}, safe_run with output_logits=all{ended}",
        }
        self.lacking: dict[str, str] = {}
        if self._access.scores_inputs:
            self.ways[SCORED] = "logprob_start_len with max_new_tokens=0"
        else:
            self.lacking[SCORED] = "GenerationConfig has no logprob_start_len"
        self.described: dict[str, Json] = {}
        self.forget = self._access.forget

    async def prepare(self, conversation: Conversation) -> Prepared:  # noqa: D102
        prepared = await self._access.prepare(conversation)
        try:
            check_placeholders(prepared.inputs, self._placeholder)
        except BaseException:
            self.forget(prepared)
            raise
        return prepared

    async def generate(  # noqa: D102
        self, prepared: Prepared, *, steps: int, logprobs: int | None, take: Take | None
    ) -> Generated:
        capture = None if take is None or self._no_rows else Capture(steps, take, prepared.forced)
        async with self._room.for_tokens(len(prepared.ids) + steps):
            found = await self._access.generate(
                prepared,
                stream=True,
                told=None if capture is None else capture.told,
                max_new_tokens=steps,
                logprobs=logprobs,
                logits_processors=None if capture is None else [capture.processor()],
            )
        if found.logprobs and len(found.logprobs) != len(found.ids):
            raise EngineError(
                ErrorKind.FAILED,
                f"stage one gave {len(found.logprobs)} log-probabilities for {len(found.ids)} tokens",
            )
        if capture is not None and capture.shown:
            capture.require(len(found.ids))
        return found

    async def rows_behind(self, prepared: Prepared, ids: Sequence[int], *, temperature: float) -> Tensor:  # noqa: D102
        if self._no_prompt_rows:
            raise EngineError(ErrorKind.UNSUPPORTED, self._no_prompt_rows)
        check_generated(ids, self._placeholder)
        return await self._access.full_logits(prepared, ids, temperature=temperature, steps=0)

    async def score_ids(self, prepared: Prepared, ids: Sequence[int], *, count: int) -> tuple[Entries, ...]:  # noqa: D102
        check_generated(ids, self._placeholder)
        return await self._access.score_ids(prepared, ids, count=count)

    def reset(self) -> None:
        """Drop what requests that generate nothing left to be decoded, unless LMDeploy does it itself.

        The model's agent keeps their state until it is told that they are gone. An LMDeploy that lists them
        among its running sequences tells it with the next step, for which the state must still be there. One
        that does not (0.18) never tells it, and offers a reset.
        """
        agent: Any = getattr(self._engine.executor, "model_agent", None)
        maker = getattr(getattr(self._engine, "_engine_loop", None), "inputs_maker", None)
        if hasattr(agent, "reset_runtime_state") and not getattr(maker, "running_seqs", ()):
            agent.reset_runtime_state()

    def failure(self) -> EngineError | None:  # noqa: D102
        loop = self._engine.req_manager._loop_task  # noqa: SLF001 - nothing else has the reason
        if loop is None or not loop.done():
            return None
        reason = None if loop.cancelled() else loop.exception()
        error = EngineError(
            ErrorKind.OUT_OF_MEMORY if is_out_of_memory(reason) else ErrorKind.CRASH,
            f"LMDeploy's engine loop has ended: {type(reason).__name__}: {reason}",
        )
        error.__cause__ = reason
        return error


def _elsewhere(executor: Any, settings: EngineSettings) -> str:  # noqa: ANN401 - a class of any LMDeploy
    """Why no rows can be had of a model that runs in processes of its own; '' where it runs in this one.

    A logits processor is called there, and what stage two leaves behind cannot be dropped from here. Raises
    EngineError(UNSUPPORTED) where a profile asks for rows all the same, or the variable alone made it so.
    """
    if hasattr(executor, "model_agent"):
        return ""
    kind, variable = type(executor).__name__, os.environ.get(EXECUTOR)
    why = f"the model runs in processes of its own ({kind}"
    why += f", by {EXECUTOR}={variable} in the environment)" if variable else ")"
    if {*settings.paths} - {SCORED, TOP_K} or (variable and not settings.paths):
        unset = f"unset {EXECUTOR}, or " if variable else ""
        raise EngineError(
            ErrorKind.UNSUPPORTED,
            f"paths: found {', '.join(settings.paths) or 'none'}, but {why}, where rows cannot be read; "
            f"allowed: {SCORED}, {TOP_K}. Next: {unset}write 'paths: [{SCORED}, {TOP_K}]' for this engine in "
            f"the profile ({SCORED} needs LMDeploy 0.18)",
        )
    return why
