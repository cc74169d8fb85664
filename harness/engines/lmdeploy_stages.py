"""How cases go through LMDeploy's PyTorch engine: prepared, generated, and scored for full logits.

Everything here runs in the event loop that the pipeline gave its engine, so as little as possible is done
here. The names used of LMDeploy 0.18: ``AsyncEngine.preprocess`` and ``generate`` (which are what calling the
pipeline comes down to); and for stage two, whose ``max_new_tokens=0`` the public way refuses,
``Session.request_handle``, ``AsyncEngine.safe_run`` and ``BaseModelAgent.reset_runtime_state``.

Shapes: T generated tokens, V columns of the logits.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict

from harness.engines.contract import Question, Request
from harness.engines.lmdeploy_cache import CacheRoom
from harness.engines.lmdeploy_capture import Capture, Processor
from harness.engines.lmdeploy_options import CAPTURED, STEPWISE, TWO_STAGE
from harness.engines.lmdeploy_prompts import (
    check_generated,
    check_length,
    check_placeholders,
    messages,
    open_image,
    placeholder_id,
)
from harness.engines.lmdeploy_questions import question_of
from harness.engines.lmdeploy_tiles import image_options
from harness.errors import EngineError, ErrorKind
from harness.letters import LetterIds, LetterResolver

if TYPE_CHECKING:
    from lmdeploy.serve.core.async_engine import AsyncEngine, PreprocessedRequest
    from torch import Tensor

__all__ = ["STAGE_TWO_TEMPERATURE", "Probed", "Scored", "Stages"]

STAGE_TWO_TEMPERATURE = 1.0
"""The guard against the temperature trap; no other value is right.

Stage two asks for logits only, but LMDeploy samples from them all the same, and where one sequence is
prefilled alone the row it samples from is a view of the last of the rows it returns: dividing by the
temperature then changes that row in place, with the default of 0.8 by a factor of 1.25. It is the answer's
row. A temperature of 1 is skipped.
"""


class Probed(TypedDict):
    """What the logits are like: dtype, number of columns, and the ids that end an answer."""

    dtype: str
    width: int
    stop_ids: list[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """One case as LMDeploy answered it; nothing is computed from it yet.

    ``logprobs`` [T] map ids to raw log-probabilities, of the generated id and the top k, and are empty where
    none were asked for. ``rows`` maps each path to its raw logits [T, V] in the head's dtype.
    """

    prompt_ids: tuple[int, ...]
    generated_ids: tuple[int, ...]
    letter_ids: LetterIds
    logprobs: tuple[Mapping[int, float], ...]
    rows: Mapping[str, Tensor]
    seconds: Mapping[str, float]
    question: Question


@dataclass(frozen=True, slots=True, kw_only=True)
class _Generated:
    """A case after stage one; ``inputs`` are what entered the model, the image included."""

    inputs: Mapping[str, Any]
    generated_ids: tuple[int, ...]
    letter_ids: LetterIds
    logprobs: tuple[Mapping[int, float], ...]
    captured: Tensor | None
    seconds: Mapping[str, float]
    question: Question


class Stages:
    """Scores cases with one loaded engine. All coroutines belong to the engine's own event loop."""

    def __init__(
        self,
        engine: AsyncEngine,
        *,
        paths: Sequence[str],
        top_k: int,
        stage_two: str,
        limits: Mapping[str, int],
        max_tiles: int | None = None,
    ) -> None:
        """``limits`` are the most tokens a sequence may have, each by the name of the option that sets it."""
        self._engine = engine
        self._paths = tuple(paths)
        self._top_k = top_k
        self._stepwise = stage_two == STEPWISE
        self._limits = dict(limits)
        self.tokenizer = engine.tokenizer.model.model
        self._resolver = LetterResolver(self.tokenizer)
        self._placeholder = placeholder_id(engine)
        self._image_options = image_options(engine, max_tiles)
        cache = engine.engine.cache_config
        self._room = CacheRoom(cache.num_gpu_blocks - cache.num_reserved_gpu_blocks, cache.block_size)

    async def probe(self) -> Probed:
        """Generate one token to see that LMDeploy gives what is needed, and what its logits are like."""
        prepared = await self._prepare([{"role": "user", "content": "A"}])
        capture = Capture(1)
        ids, logprobs = await self._generate(prepared, steps=1, logprobs=1, processors=[capture.processor()])
        row = capture.rows(ids)[0]
        if len(ids) != 1 or len(logprobs) != 1 or ids[0] not in logprobs[0]:
            raise EngineError(
                ErrorKind.LOAD,
                f"one greedy token with logprobs=1 brought {len(ids)} ids and {len(logprobs)} entries of "
                "log-probabilities from LMDeploy; allowed: 1 of each. Use LMDeploy 0.18",
            )
        return {
            "dtype": str(row.dtype).removeprefix("torch."),
            "width": int(row.numel()),
            "stop_ids": sorted(prepared.gen_config.stop_token_ids or ()),
        }

    async def score(
        self, requests: Sequence[Request], tell: Callable[[Request, Scored | Exception], None]
    ) -> None:
        """Score ``requests`` concurrently, and ``tell`` the result of each, or the exception that it met.

        Stage two begins when stage one has ended for all. LMDeploy 0.18 mixes up its sequences otherwise: it
        keeps the state of a request with ``max_new_tokens=0`` among those that it goes on decoding, but not
        in its list of them, so that a sequence decodes on from another's state. And what stage two leaves
        behind must be gone before the next sequence is decoded.
        """

        async def first(request: Request) -> _Generated | None:
            try:
                generated = await self._stage_one(request)
            except Exception as error:  # noqa: BLE001 - what it means is for the caller to say
                tell(request, error)
                return None
            if TWO_STAGE not in self._paths:
                tell(request, self._scored(generated, None, generated.seconds))
            return generated

        async def second(request: Request, generated: _Generated) -> None:
            started = time.perf_counter()
            try:
                rows = await self._stage_two(generated)
            except Exception as error:  # noqa: BLE001 - as above
                tell(request, error)
                return
            seconds = {**generated.seconds, "stage two": time.perf_counter() - started}
            tell(request, self._scored(generated, rows, seconds))

        generated = await asyncio.gather(*map(first, requests))
        if TWO_STAGE in self._paths:
            pairs = zip(requests, generated, strict=True)
            try:
                await asyncio.gather(*(second(request, each) for request, each in pairs if each is not None))
            finally:
                self._engine.engine.executor.model_agent.reset_runtime_state()

    def _scored(self, generated: _Generated, rows: Tensor | None, seconds: Mapping[str, float]) -> Scored:
        by_path = {CAPTURED: generated.captured, TWO_STAGE: rows}
        return Scored(
            prompt_ids=tuple(generated.inputs["input_ids"]),
            generated_ids=generated.generated_ids,
            letter_ids=generated.letter_ids,
            logprobs=generated.logprobs,
            rows={path: found for path in self._paths if (found := by_path[path]) is not None},
            seconds=seconds,
            question=generated.question,
        )

    async def _stage_one(self, request: Request) -> _Generated:
        """Greedy tokens, their log-probabilities and, if asked for, the rows captured on the way.

        Raises LettersError, EngineError (UNSUPPORTED for a sequence over a limit), and LMDeploy's own errors.
        """
        started = time.perf_counter()
        image = None if request.image is None else await asyncio.to_thread(open_image, request.image)
        prepared = await self._prepare(messages(request, image, self._image_options))
        try:
            inputs = dict(prepared.inputs)  # LMDeploy takes the image out of its own
            ids = inputs["input_ids"]
            check_placeholders(inputs, self._placeholder)
            text = inputs.get("prompt") or self.tokenizer.decode(ids, skip_special_tokens=False)
            letters = self._resolver.resolve(text, request.letters, answer_prefix=request.answer_prefix)
            steps = request.max_new_tokens or len(letters.prefix_ids) + 1
            check_length(len(ids), steps, self._limits)
            asked = await asyncio.to_thread(
                question_of,
                inputs,
                tokenizer=self.tokenizer,
                placeholder=self._placeholder,
                dtype=self._engine.engine.model_config.dtype,
            )
        except BaseException:
            self._engine.session_mgr.remove(prepared.session)
            raise
        done_preparing = time.perf_counter()
        capture = Capture(steps) if CAPTURED in self._paths else None
        async with self._room.for_tokens(len(ids) + steps):
            generated_ids, logprobs = await self._generate(
                prepared,
                steps=steps,
                logprobs=self._top_k or None,
                processors=None if capture is None else [capture.processor()],
            )
        return _Generated(
            inputs=inputs,
            generated_ids=generated_ids,
            letter_ids=letters,
            logprobs=logprobs,
            captured=None if capture is None else capture.rows(generated_ids),
            seconds={
                "prepare": done_preparing - started,
                "stage one": time.perf_counter() - done_preparing,
            },
            question=asked,
        )

    async def _prepare(self, conversation: list[dict[str, Any]]) -> PreprocessedRequest:
        """LMDeploy's own rendering, tokenizing and image preprocessing."""
        from lmdeploy import GenerationConfig

        return await self._engine.preprocess(
            messages=conversation,
            session_id=self._engine.session_mgr.get(),
            # The stop token stays among the ids, as it does in what Transformers' generate returns.
            gen_config=GenerationConfig(max_new_tokens=1, do_sample=False, include_stop_str_in_output=True),
        )

    async def _generate(
        self,
        prepared: PreprocessedRequest,
        *,
        steps: int,
        logprobs: int | None,
        processors: list[Processor] | None,
    ) -> tuple[tuple[int, ...], tuple[Mapping[int, float], ...]]:
        """Stage one: at most ``steps`` greedy tokens, and the log-probabilities asked for of each."""
        options = dataclasses.replace(
            prepared.gen_config, max_new_tokens=steps, logprobs=logprobs, logits_processors=processors
        )
        ids: list[int] = []
        entries: list[Mapping[int, float]] = []
        reason = None
        async for part in self._engine.generate(dataclasses.replace(prepared, gen_config=options)):
            ids.extend(part.token_ids or ())
            entries.extend(part.logprobs or ())
            reason = part.finish_reason or reason
        if reason not in ("stop", "length") or not ids:
            raise EngineError(
                ErrorKind.FAILED, f"stage one ended with finish_reason {reason!r} after {len(ids)} tokens"
            )
        if logprobs is not None and len(entries) != len(ids):
            raise EngineError(
                ErrorKind.FAILED, f"stage one gave {len(entries)} log-probabilities for {len(ids)} tokens"
            )
        return tuple(ids), tuple(entries)

    async def _stage_two(self, generated: _Generated) -> Tensor:
        """Rows [T, V]: one pass over prompt and generated ids, or one request for each generated id."""
        import torch

        inputs, ids = generated.inputs, generated.generated_ids
        prompt = inputs["input_ids"]
        check_generated(ids[:-1], self._placeholder)
        if self._stepwise:
            steps = (self._full_logits(inputs, [*prompt, *ids[:step]]) for step in range(len(ids)))
            return torch.stack([(await step)[-1].clone() for step in steps])
        logits = await self._full_logits(inputs, [*prompt, *ids[:-1]])
        return logits[len(prompt) - 1 :].clone()  # a mere slice would keep the other rows' memory

    async def _full_logits(self, inputs: Mapping[str, Any], input_ids: list[int]) -> Tensor:
        """Raw logits [len(input_ids), V], with the image of ``inputs`` kept."""
        from lmdeploy import GenerationConfig
        from lmdeploy.messages import ResponseType

        options = GenerationConfig(
            max_new_tokens=0, output_logits="all", top_k=1, temperature=STAGE_TWO_TEMPERATURE
        )
        sessions = self._engine.session_mgr
        session = sessions.get()
        outputs = []
        try:
            async with (
                session.request_handle() as handle,
                self._engine.safe_run(
                    handle,
                    session=session,
                    **{**inputs, "input_ids": input_ids},
                    gen_config=options,
                    stream_output=False,
                ) as stream,
            ):
                outputs = [output async for output in stream]
        finally:
            sessions.remove(session)
        status = outputs[-1].status if outputs else ResponseType.INTERNAL_ENGINE_ERROR
        if status is not ResponseType.FINISH or outputs[-1].logits is None:
            kind = ErrorKind.CRASH if status is ResponseType.ENGINE_STOP_ERROR else ErrorKind.FAILED
            raise EngineError(kind, f"stage two got no logits for {len(input_ids)} tokens: {status.name}")
        logits = outputs[-1].logits
        if logits.size(0) != len(input_ids):
            raise EngineError(
                ErrorKind.FAILED,
                f"stage two got {logits.size(0)} rows of logits for {len(input_ids)} tokens; allowed: one "
                "each, since a row is found by its place",
            )
        return logits
