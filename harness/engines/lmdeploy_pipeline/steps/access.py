"""What every LMDeploy from 0.12 on is asked in one way, on either engine, whatever its own names for it are.

`Access` finds out by the names and parameters that an engine has, never by its version:

- Where ``AsyncEngine.preprocess`` exists it makes the request that ``generate`` takes. Elsewhere
  ``generate`` takes the messages and prepares them itself, so ``get_prompt_input`` is called beside it to see
  what enters.
- Stage two goes through ``safe_run``, since the public way refuses ``max_new_tokens=0`` and takes ids without
  their image. Where callers begin and end sequences (``async_get_logits`` has ``sequence_end`` then) it is
  told so, and the sequence ended.

All coroutines belong to the engine's own event loop.
"""

from __future__ import annotations

import copy
import dataclasses
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from harness.engines.lmdeploy_on_cpu.plugin import MEASURED
from harness.engines.lmdeploy_pipeline.prompts import preparing
from harness.engines.lmdeploy_pipeline.steps.contract import Conversation, Entries, Generated, Prepared
from harness.errors import EngineError, ErrorKind

if TYPE_CHECKING:
    from lmdeploy.messages import GenerationConfig
    from lmdeploy.serve.core.async_engine import AsyncEngine
    from torch import Tensor

__all__ = ["Access"]

_NEEDED: Final[Mapping[str, Callable[[Any], object]]] = {
    "AsyncEngine.generate": lambda engine: engine.generate,
    "AsyncEngine.session_mgr": lambda engine: engine.session_mgr,
    "AsyncEngine.prompt_processor.get_prompt_input": lambda engine: engine.prompt_processor.get_prompt_input,
    "AsyncEngine.safe_run": lambda engine: engine.safe_run,
}


class Access:
    """One loaded engine. Raises EngineError(LOAD) if it lacks a name without which nothing can be asked."""

    def __init__(self, engine: AsyncEngine, needed: Mapping[str, Callable[[Any], object]]) -> None:
        """Look at the names that ``engine`` has, those ``needed`` on its backend too; nothing is run."""
        missing = [name for name, get in {**_NEEDED, **needed}.items() if not _has(engine, get)]
        if missing:
            raise EngineError(
                ErrorKind.LOAD,
                f"this LMDeploy has no {', '.join(missing)}, so its engine cannot be asked for logits; "
                f"{', '.join(MEASURED)} have all. Name one in the requirements of this engine in the "
                f"profile, such as 'requirements: [lmdeploy=={MEASURED[-1]}]'",
            )
        self._engine = engine
        self._makes_requests = hasattr(engine, "preprocess")
        self._input_parameters = _parameters(engine.prompt_processor.get_prompt_input)
        self.inputs = "preprocess" if self._makes_requests else "get_prompt_input"
        self.ends_sequences = "sequence_end" in _parameters(getattr(engine, "async_get_logits", None))

    @property
    def scores_inputs(self) -> bool:
        """Whether tokens of the input can be scored."""
        from lmdeploy import GenerationConfig

        names = {each.name for each in dataclasses.fields(GenerationConfig)}
        return self._makes_requests and "logprob_start_len" in names

    async def prepare(self, conversation: Conversation) -> Prepared:
        """LMDeploy's own rendering, tokenizing and image preprocessing.

        Raises LMDeploy's own RequestError where it has one, else EngineError(FAILED), also
        where the image got lost, or lack of memory.
        """
        prepared = await self._prepared(conversation)
        pieces = (part for message in conversation for part in message["content"])
        if not prepared.has_image and any("image_data" in part for part in pieces):
            self.forget(prepared)
            raise EngineError(
                ErrorKind.FAILED,
                "no image got into LMDeploy's engine: its chat template dropped it, or the model takes text "
                "only",
            )
        return prepared

    async def _prepared(self, conversation: Conversation) -> Prepared:
        from lmdeploy import GenerationConfig

        # The stop token stays among the ids, as it does in what Transformers' generate returns.
        options = GenerationConfig(max_new_tokens=1, do_sample=False, include_stop_str_in_output=True)
        if self._makes_requests:
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
        self,
        prepared: Prepared,
        *,
        stream: bool,
        told: Callable[[Sequence[int]], Awaitable[None]] | None = None,
        **changes: object,
    ) -> Generated:
        """Greedy tokens by LMDeploy's own ``generate``, with ``changes`` of the generation options.

        All that it tells is there: log-probabilities, and its last logits, which are of all steps where
        ``stream`` is off. ``told`` is called with new ids as they come.

        Raises EngineError(FAILED) where it ends otherwise than by a stop token or the number of steps.
        """
        options = dataclasses.replace(prepared.options, **changes)
        if prepared.request is not None:
            request = dataclasses.replace(prepared.request, gen_config=options)
            if prepared.forced:  # a second generation of one prompt
                session, inputs = self._engine.session_mgr.get(), dict(prepared.inputs)
                request = dataclasses.replace(request, session=session, inputs=inputs)
            parts = self._engine.generate(request, stream_response=stream)
        else:
            parts = self._engine.generate(
                _own(prepared.conversation),
                self._engine.session_mgr.get(),
                gen_config=options,
                stream_response=stream,
            )
        ids: list[int] = []
        entries: list[Entries] = []
        reason = rows = None
        async for part in parts:
            if part.input_token_len not in (0, len(prepared.ids)):
                raise EngineError(
                    ErrorKind.FAILED,
                    f"LMDeploy generated from {part.input_token_len} tokens, but prepares "
                    f"{len(prepared.ids)} for the same messages; allowed: the same",
                )
            ids.extend(part.token_ids or ())
            if told is not None:
                await told(part.token_ids or ())
            entries.extend(part.logprobs or ())
            rows = part.logits if part.logits is not None else rows
            reason = part.finish_reason or reason
        if reason not in ("stop", "length") or not ids:
            raise EngineError(
                ErrorKind.FAILED, f"stage one ended with finish_reason {reason!r} after {len(ids)} tokens"
            )
        return Generated(ids=tuple(map(int, ids)), logprobs=tuple(entries), rows=rows)

    async def full_logits(
        self, prepared: Prepared, ids: Sequence[int], *, temperature: float, steps: int
    ) -> Tensor:
        """Raw logits [N, V] of the prompt and ``ids`` behind it, with the image of ``prepared`` kept.

        ``steps`` tokens are generated behind, whose rows are not among them. Raises EngineError: CRASH or
        FAILED.
        """
        from lmdeploy import GenerationConfig

        whole = [*prepared.ids, *ids]
        options = GenerationConfig(
            max_new_tokens=steps, output_logits="all", top_k=1, temperature=temperature
        )
        output = await self._run({**prepared.inputs, "input_ids": whole}, options, end=not steps)
        if output.logits is None:
            raise EngineError(ErrorKind.FAILED, f"stage two got no logits for {len(whole)} tokens")
        return _whole(output.logits[: len(whole)] if steps else output.logits, len(whole))

    async def score_ids(self, prepared: Prepared, ids: Sequence[int], *, count: int) -> tuple[Entries, ...]:
        """Log-probabilities of ``ids`` behind the prompt by ``logprob_start_len``, and the ``count`` largest.

        The image is that of ``prepared``. Raises LMDeploy's own RequestError, and EngineError(FAILED).
        """
        options = dataclasses.replace(
            prepared.options, max_new_tokens=0, logprobs=count, logprob_start_len=len(prepared.ids) - 1
        )
        whole = [*prepared.ids, *ids]
        request = dataclasses.replace(
            prepared.request,
            session=self._engine.session_mgr.get(),
            inputs={**prepared.inputs, "input_ids": whole},
            input_token_len=len(whole),
            gen_config=options,
        )
        entries: list[Entries] = []
        async for part in self._engine.generate(request):
            entries.extend(part.logprobs or ())
        if len(entries) != len(ids):
            raise EngineError(
                ErrorKind.FAILED,
                f"scoring {len(ids)} tokens brought {len(entries)} log-probabilities; allowed: one each",
            )
        return tuple(entries)

    async def _run(self, inputs: Mapping[str, Any], options: GenerationConfig, *, end: bool) -> Any:  # noqa: ANN401 - LMDeploy's
        """The last output of one request past the public way; EngineError(CRASH or FAILED) if it failed.

        A sequence that generated nothing is still there, and is to be told its ``end``.
        """
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
                if self.ends_sequences and end:
                    await handle.async_end(session.session_id)
        finally:
            sessions.remove(session)
        status = outputs[-1].status if outputs else ResponseType.INTERNAL_ENGINE_ERROR
        if status is not ResponseType.FINISH:
            kind = ErrorKind.CRASH if status is ResponseType.ENGINE_STOP_ERROR else ErrorKind.FAILED
            count = len(inputs["input_ids"])
            raise EngineError(kind, f"stage two got no logits for {count} tokens: {status.name}")
        return outputs[-1]

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
