"""What every LMDeploy from 0.12 on is asked in one way, whatever its own names for it are.

`Access` finds out by the names and parameters that an engine has, never by its version:

- Where ``AsyncEngine.preprocess`` exists it makes the request that ``generate`` takes. Elsewhere
  ``generate`` takes the messages and prepares them itself, so ``get_prompt_input`` is called beside it to see
  what enters.
- Stage two goes through ``safe_run``, since the public way refuses ``max_new_tokens=0``. Where callers begin
  and end sequences (``async_get_logits`` has ``sequence_end`` then) it is told so, and the sequence ended.
- Without ``safe_run`` there is ``async_get_logits``, for prompts without an image.

All coroutines belong to the engine's own event loop.
"""

from __future__ import annotations

import copy
import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from harness.engines.lmdeploy_on_cpu.plugin import MEASURED
from harness.engines.lmdeploy_pipeline.capture import Processor
from harness.engines.lmdeploy_pipeline.prompts import preparing
from harness.errors import EngineError, ErrorKind

if TYPE_CHECKING:
    from lmdeploy.messages import GenerationConfig
    from lmdeploy.serve.core.async_engine import AsyncEngine
    from torch import Tensor

__all__ = ["Access", "Entries", "Prepared"]

Conversation = Sequence[Mapping[str, Any]]
Entries = Mapping[int, float]
"""Log-probabilities of some tokens at one place, by id."""

_NEEDED: Final[Mapping[str, Callable[[Any], object]]] = {
    "AsyncEngine.generate": lambda engine: engine.generate,
    "AsyncEngine.session_mgr": lambda engine: engine.session_mgr,
    "AsyncEngine.prompt_processor.get_prompt_input": lambda engine: engine.prompt_processor.get_prompt_input,
    "AsyncEngine.engine.cache_config": lambda engine: engine.engine.cache_config,
    "AsyncEngine.engine.max_session_len": lambda engine: engine.engine.max_session_len,
    "AsyncEngine.engine.model_config": lambda engine: engine.engine.model_config,
    "AsyncEngine.engine.req_manager": lambda engine: engine.engine.req_manager,
    "AsyncEngine.engine.executor.model_agent": lambda engine: engine.engine.executor.model_agent,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A conversation as it enters the model.

    ``inputs`` are LMDeploy's own: ``input_ids``, perhaps ``prompt`` (the text) and ``multimodal`` (the
    image). ``options`` are generation options with the model's own stop ids filled in. ``request`` is what
    LMDeploy made of it, where it makes one.
    """

    conversation: Conversation
    inputs: Mapping[str, Any]
    options: GenerationConfig
    request: Any = None

    @property
    def ids(self) -> list[int]:
        """The prompt's ids, image placeholders included."""
        found: list[int] = self.inputs["input_ids"]
        return found


class Access:
    """One loaded engine. Raises EngineError(LOAD) if it lacks a name without which nothing can be asked."""

    def __init__(self, engine: AsyncEngine) -> None:
        """Look at the names that ``engine`` has; nothing is run."""
        from lmdeploy import GenerationConfig

        missing = [name for name, get in _NEEDED.items() if not _has(engine, get)]
        if missing:
            raise EngineError(
                ErrorKind.LOAD,
                f"this LMDeploy has no {', '.join(missing)}, so its PyTorch engine cannot be asked for "
                f"logits; {', '.join(MEASURED)} have all. Name one in the requirements of this engine in the "
                f"profile, such as 'requirements: [lmdeploy=={MEASURED[-1]}]'",
            )
        self._engine = engine
        self._options = frozenset(each.name for each in dataclasses.fields(GenerationConfig))
        self.makes_requests = hasattr(engine, "preprocess")
        self._input_parameters = _parameters(engine.prompt_processor.get_prompt_input)
        self.runs = hasattr(engine, "safe_run")
        logits = getattr(engine, "async_get_logits", None)
        self.gets_logits = logits is not None
        self.ends_sequences = "sequence_end" in _parameters(logits)
        self.takes_processors = "logits_processors" in self._options
        self.scores_inputs = self.makes_requests and "logprob_start_len" in self._options

    async def prepare(self, conversation: Conversation) -> Prepared:
        """LMDeploy's own rendering, tokenizing and image preprocessing.

        Raises LMDeploy's own RequestError where it has one, else EngineError(FAILED) or lack of memory.
        """
        from lmdeploy import GenerationConfig

        # The stop token stays among the ids, as it does in what Transformers' generate returns.
        options = GenerationConfig(max_new_tokens=1, do_sample=False, include_stop_str_in_output=True)
        if self.makes_requests:
            request = await self._engine.preprocess(
                messages=_own(conversation), session_id=self._engine.session_mgr.get(), gen_config=options
            )
            # LMDeploy takes the image out of the request's own inputs.
            return Prepared(
                conversation=conversation,
                inputs=dict(request.inputs),
                options=request.gen_config,
                request=request,
            )
        self._fill_stop_ids(options)
        began = {"sequence_start": True} if "sequence_start" in self._input_parameters else {}
        with preparing():
            inputs = await self._engine.prompt_processor.get_prompt_input(
                prompt=_own(conversation), do_preprocess=True, adapter_name=None, **began
            )
        return Prepared(conversation=conversation, inputs=inputs, options=options)

    def forget(self, prepared: Prepared) -> None:
        """Drop what was prepared and will not be generated from."""
        if prepared.request is not None:
            self._engine.session_mgr.remove(prepared.request.session)

    async def generate(
        self, prepared: Prepared, *, steps: int, logprobs: int | None, processors: list[Processor] | None
    ) -> tuple[tuple[int, ...], tuple[Entries, ...]]:
        """Stage one: at most ``steps`` greedy tokens [T], and the log-probabilities reported of them.

        Raises EngineError(FAILED) where it ends otherwise than by a stop token or the number of steps.
        """
        changes: dict[str, Any] = {"max_new_tokens": steps, "logprobs": logprobs}
        if processors:
            changes["logits_processors"] = processors
        options = dataclasses.replace(prepared.options, **changes)
        if prepared.request is not None:
            parts = self._engine.generate(dataclasses.replace(prepared.request, gen_config=options))
        else:
            parts = self._engine.generate(
                _own(prepared.conversation), self._engine.session_mgr.get(), gen_config=options
            )
        ids: list[int] = []
        entries: list[Entries] = []
        reason = None
        async for part in parts:
            if part.input_token_len not in (0, len(prepared.ids)):
                raise EngineError(
                    ErrorKind.FAILED,
                    f"LMDeploy generated from {part.input_token_len} tokens, but prepares "
                    f"{len(prepared.ids)} for the same messages; allowed: the same",
                )
            ids.extend(part.token_ids or ())
            entries.extend(part.logprobs or ())
            reason = part.finish_reason or reason
        if reason not in ("stop", "length") or not ids:
            raise EngineError(
                ErrorKind.FAILED, f"stage one ended with finish_reason {reason!r} after {len(ids)} tokens"
            )
        return tuple(ids), tuple(entries)

    async def full_logits(
        self, inputs: Mapping[str, Any], input_ids: list[int], *, temperature: float
    ) -> Tensor:
        """Raw logits [len(input_ids), V], with the image of ``inputs`` kept.

        Raises EngineError: UNSUPPORTED for an image where there is only ``async_get_logits``, else CRASH or
        FAILED.
        """
        if not self.runs:
            return await self._logits_of_ids(inputs, input_ids)
        from lmdeploy import GenerationConfig

        options = GenerationConfig(max_new_tokens=0, output_logits="all", top_k=1, temperature=temperature)
        output = await self._run({**inputs, "input_ids": input_ids}, options)
        if output.logits is None:
            raise EngineError(ErrorKind.FAILED, f"stage two got no logits for {len(input_ids)} tokens")
        return _whole(output.logits, len(input_ids))

    async def score_ids(
        self, prepared: Prepared, input_ids: list[int], *, start: int, count: int
    ) -> tuple[Entries, ...]:
        """Log-probabilities of ``input_ids[start:]`` where LMDeploy scores inputs, and the ``count`` largest.

        The image is that of ``prepared``. Raises LMDeploy's own RequestError, and EngineError(FAILED).
        """
        options = dataclasses.replace(
            prepared.options, max_new_tokens=0, logprobs=count, logprob_start_len=start - 1
        )
        request = dataclasses.replace(
            prepared.request,
            session=self._engine.session_mgr.get(),
            inputs={**prepared.inputs, "input_ids": input_ids},
            input_token_len=len(input_ids),
            gen_config=options,
        )
        entries: list[Entries] = []
        async for part in self._engine.generate(request):
            entries.extend(part.logprobs or ())
        if len(entries) != len(input_ids) - start:
            raise EngineError(
                ErrorKind.FAILED,
                f"scoring {len(input_ids) - start} tokens brought {len(entries)} log-probabilities; allowed: "
                "one each",
            )
        return tuple(entries)

    def reset(self) -> None:
        """Drop what requests that generate nothing left to be decoded, unless LMDeploy does it itself.

        The model's agent keeps their state until it is told that they are gone. An LMDeploy that lists them
        among its running sequences tells it with the next step, for which the state must still be there. One
        that does not (0.18) never tells it, and offers a reset.
        """
        engine = self._engine.engine
        agent = engine.executor.model_agent
        maker = getattr(getattr(engine, "_engine_loop", None), "inputs_maker", None)
        if hasattr(agent, "reset_runtime_state") and not getattr(maker, "running_seqs", ()):
            agent.reset_runtime_state()

    async def _run(self, inputs: Mapping[str, Any], options: GenerationConfig) -> Any:  # noqa: ANN401 - LMDeploy's
        """The last output of one request past the public way; EngineError(CRASH or FAILED) if it failed."""
        from lmdeploy.messages import ResponseType

        ends = {"sequence_start": True, "sequence_end": True, "step": 0} if self.ends_sequences else {}
        sessions = self._engine.session_mgr
        session = sessions.get()
        outputs = []
        try:
            async with session.request_handle() as handle:
                async with self._engine.safe_run(
                    handle, session=session, **inputs, gen_config=options, stream_output=False, **ends
                ) as stream:
                    outputs = [output async for output in stream]
                if self.ends_sequences:
                    await handle.async_end(session.session_id)
        finally:
            sessions.remove(session)
        status = outputs[-1].status if outputs else ResponseType.INTERNAL_ENGINE_ERROR
        if status is not ResponseType.FINISH:
            kind = ErrorKind.CRASH if status is ResponseType.ENGINE_STOP_ERROR else ErrorKind.FAILED
            count = len(inputs["input_ids"])
            raise EngineError(kind, f"stage two got no logits for {count} tokens: {status.name}")
        return outputs[-1]

    async def _logits_of_ids(self, inputs: Mapping[str, Any], input_ids: list[int]) -> Tensor:
        if inputs.get("multimodal"):
            raise EngineError(
                ErrorKind.UNSUPPORTED,
                "this LMDeploy gives logits of ids only (async_get_logits), not of a prompt with an image; "
                "write 'paths: [captured]' for this engine in the profile",
            )
        # It takes no temperature, and divides the last row by its default. One id more moves that row away.
        (logits,) = await self._engine.async_get_logits(input_ids=[[*input_ids, input_ids[-1]]])
        return _whole(logits[:-1], len(input_ids))

    def _fill_stop_ids(self, options: GenerationConfig) -> None:
        """As the engine's own ``generate`` does it."""
        engine = self._engine
        options.convert_stop_bad_words_to_ids(engine.tokenizer)
        options.stop_token_ids = options.stop_token_ids or engine.stop_words
        options.update_from_hf_gen_cfg(engine.hf_gen_cfg, engine.tokenizer.eos_token_id)


def _whole(logits: Tensor, count: int) -> Tensor:
    if logits.size(0) != count:
        raise EngineError(
            ErrorKind.FAILED,
            f"stage two got {logits.size(0)} rows of logits for {count} tokens; allowed: one each, since a "
            "row is found by its place",
        )
    return logits


def _own(conversation: Conversation) -> list[dict[str, Any]]:
    """A copy of the messages that LMDeploy may change; images are not copied."""
    return [
        {
            name: [copy.copy(part) for part in value] if isinstance(value, list) else value
            for name, value in message.items()
        }
        for message in conversation
    ]


def _has(engine: AsyncEngine, get: Callable[[Any], object]) -> bool:
    try:
        get(engine)
    except AttributeError:
        return False
    return True


def _parameters(function: Callable[..., object] | None) -> frozenset[str]:
    return frozenset() if function is None else frozenset(inspect.signature(function).parameters)
