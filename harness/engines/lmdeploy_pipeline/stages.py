"""How cases go through LMDeploy's PyTorch engine: prepared, generated, and scored for full logits.

Everything here runs in the event loop that the pipeline gave its engine, so as little as possible is done
here. What an LMDeploy is asked by which of its names is for `lmdeploy_access` to know.

Shapes: T generated tokens, V columns of the logits.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.engines.contract import Question, Request
from harness.engines.letters import LetterIds, LetterResolver
from harness.engines.lmdeploy_pipeline.access import Access, Entries, Prepared
from harness.engines.lmdeploy_pipeline.cache import CacheRoom
from harness.engines.lmdeploy_pipeline.capture import Capture
from harness.engines.lmdeploy_pipeline.input_scores import InputScores, score_inputs
from harness.engines.lmdeploy_pipeline.options import CAPTURED, SCORED, STEPWISE, TWO_STAGE
from harness.engines.lmdeploy_pipeline.prompts import (
    check_generated,
    check_length,
    check_placeholders,
    messages,
    open_image,
    placeholder_id,
)
from harness.engines.lmdeploy_pipeline.questions import question_of
from harness.engines.lmdeploy_pipeline.tiles import image_options
from harness.errors import EngineError, ErrorKind

if TYPE_CHECKING:
    from lmdeploy.serve.core.async_engine import AsyncEngine
    from torch import Tensor

__all__ = ["STAGE_TWO_TEMPERATURE", "Scored", "Stages"]

STAGE_TWO_TEMPERATURE = 1.0
"""The guard against the temperature trap; no other value is right.

Stage two asks for logits only, but LMDeploy samples from them all the same, and where one sequence is
prefilled alone the row it samples from is a view of the last of the rows it returns: dividing by the
temperature then changes that row in place, with the default of 0.8 by a factor of 1.25. It is the answer's
row. A temperature of 1 is skipped.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """One case as LMDeploy answered it; nothing is computed from it yet.

    ``logprobs`` [T] map ids to raw log-probabilities, of the generated id and the top k, and are empty where
    none are reported. ``rows`` maps each path to its raw logits [T, V] in the head's dtype. ``scores`` are
    those of the path that has no rows.
    """

    prompt_ids: tuple[int, ...]
    generated_ids: tuple[int, ...]
    letter_ids: LetterIds
    logprobs: tuple[Entries, ...]
    rows: Mapping[str, Tensor]
    scores: InputScores | None
    seconds: Mapping[str, float]
    question: Question


@dataclass(frozen=True, slots=True, kw_only=True)
class _Generated:
    """A case after stage one."""

    prepared: Prepared
    generated_ids: tuple[int, ...]
    letter_ids: LetterIds
    logprobs: tuple[Entries, ...]
    captured: Tensor | None
    seconds: Mapping[str, float]
    question: Question


class Stages:
    """Scores cases with one loaded engine. All coroutines belong to the engine's own event loop."""

    def __init__(
        self,
        engine: AsyncEngine,
        access: Access,
        *,
        paths: Sequence[str],
        top_k: int,
        stage_two: str,
        limits: Mapping[str, int],
        max_tiles: int | None = None,
    ) -> None:
        """``limits`` are the most tokens a sequence may have, each by the name of the option that sets it."""
        self._access = access
        self._dtype = engine.engine.model_config.dtype
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

    async def score(
        self, requests: Sequence[Request], tell: Callable[[Request, Scored | Exception], None]
    ) -> None:
        """Score ``requests`` concurrently, and ``tell`` the result of each, or the exception that it met.

        Stage two begins when stage one has ended for all. LMDeploy mixes up its sequences otherwise: it keeps
        the state of a request with ``max_new_tokens=0`` among those that it goes on decoding, but not in its
        list of them, so that a sequence decodes on from another's state. And what stage two leaves behind
        must be gone before the next sequence is decoded.
        """
        has_second = TWO_STAGE in self._paths or SCORED in self._paths

        async def first(request: Request) -> _Generated | None:
            try:
                generated = await self._stage_one(request)
            except Exception as error:  # noqa: BLE001 - what it means is for the caller to say
                tell(request, error)
                return None
            if not has_second:
                tell(request, self._scored(generated))
            return generated

        async def second(request: Request, generated: _Generated) -> None:
            started = time.perf_counter()
            try:
                rows = await self._stage_two(generated) if TWO_STAGE in self._paths else None
                scores = await self._score_inputs(generated) if SCORED in self._paths else None
            except Exception as error:  # noqa: BLE001 - as above
                tell(request, error)
                return
            spent = time.perf_counter() - started
            tell(request, self._scored(generated, rows, scores, {"stage two": spent}))

        generated = await asyncio.gather(*map(first, requests))
        if has_second:
            pairs = zip(requests, generated, strict=True)
            try:
                await asyncio.gather(*(second(request, each) for request, each in pairs if each is not None))
            finally:
                self._access.reset()

    def _scored(
        self,
        generated: _Generated,
        rows: Tensor | None = None,
        scores: InputScores | None = None,
        seconds: Mapping[str, float] | None = None,
    ) -> Scored:
        by_path = {CAPTURED: generated.captured, TWO_STAGE: rows}
        return Scored(
            prompt_ids=tuple(generated.prepared.ids),
            generated_ids=generated.generated_ids,
            letter_ids=generated.letter_ids,
            logprobs=generated.logprobs,
            rows={path: found for path in self._paths if (found := by_path.get(path)) is not None},
            scores=scores,
            seconds={**generated.seconds, **(seconds or {})},
            question=generated.question,
        )

    async def _stage_one(self, request: Request) -> _Generated:
        """Greedy tokens, their log-probabilities and, if asked for, the rows captured on the way.

        Raises LettersError, EngineError (UNSUPPORTED for a sequence over a limit), and LMDeploy's own errors.
        """
        started = time.perf_counter()
        image = None if request.image is None else await asyncio.to_thread(open_image, request.image)
        prepared = await self._access.prepare(messages(request, image, self._image_options))
        try:
            ids = prepared.ids
            check_placeholders(prepared.inputs, self._placeholder)
            text = prepared.inputs.get("prompt") or self.tokenizer.decode(ids, skip_special_tokens=False)
            letters = self._resolver.resolve(text, request.letters, answer_prefix=request.answer_prefix)
            steps = request.max_new_tokens or len(letters.prefix_ids) + 1
            check_length(len(ids), steps, self._limits)
            asked = await asyncio.to_thread(
                question_of,
                prepared.inputs,
                tokenizer=self.tokenizer,
                placeholder=self._placeholder,
                dtype=self._dtype,
            )
        except BaseException:
            self._access.forget(prepared)
            raise
        done_preparing = time.perf_counter()
        capture = Capture(steps) if CAPTURED in self._paths else None
        async with self._room.for_tokens(len(ids) + steps):
            generated_ids, logprobs = await self._access.generate(
                prepared,
                steps=steps,
                logprobs=self._top_k or None,
                processors=None if capture is None else [capture.processor()],
            )
        if logprobs and len(logprobs) != len(generated_ids):
            raise EngineError(
                ErrorKind.FAILED,
                f"stage one gave {len(logprobs)} log-probabilities for {len(generated_ids)} tokens",
            )
        return _Generated(
            prepared=prepared,
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

    async def _stage_two(self, generated: _Generated) -> Tensor:
        """Rows [T, V]: one pass over prompt and generated ids, or one request for each generated id."""
        import torch

        inputs, ids = generated.prepared.inputs, generated.generated_ids
        prompt = generated.prepared.ids
        check_generated(ids[:-1], self._placeholder)
        if self._stepwise:
            steps = (self._full_logits(inputs, [*prompt, *ids[:step]]) for step in range(len(ids)))
            return torch.stack([(await step)[-1].clone() for step in steps])
        logits = await self._full_logits(inputs, [*prompt, *ids[:-1]])
        return logits[len(prompt) - 1 :].clone()  # a mere slice would keep the other rows' memory

    async def _full_logits(self, inputs: Mapping[str, Any], input_ids: list[int]) -> Tensor:
        return await self._access.full_logits(inputs, input_ids, temperature=STAGE_TWO_TEMPERATURE)

    async def _score_inputs(self, generated: _Generated) -> InputScores:
        check_generated(generated.generated_ids, self._placeholder)
        return await score_inputs(
            self._access,
            generated.prepared,
            generated.generated_ids,
            letter_ids=generated.letter_ids,
            count=max(1, self._top_k),
        )
