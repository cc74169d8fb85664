"""How cases go through LMDeploy's engine: prepared, generated, and scored for full logits.

Everything here runs in the event loop that the pipeline gave its engine, so as little as possible is done
here. What an engine is asked for in each step is for `steps` to know.

Shapes: T generated tokens, V columns of the logits.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from typing import TYPE_CHECKING

from harness.engines.contract import Question, Request
from harness.engines.images import open_image
from harness.engines.letters import LetterIds, LetterResolver
from harness.engines.lmdeploy_pipeline.described import hub_tokenizer
from harness.engines.lmdeploy_pipeline.input_scores import InputScores, score_inputs
from harness.engines.lmdeploy_pipeline.options import CAPTURED, SCORED, STEPWISE, TWO_STAGE
from harness.engines.lmdeploy_pipeline.prompts import (
    check_length,
    check_rendered,
    check_spelling,
    messages,
    placeholder_id,
    places_in_text,
    question_of,
)
from harness.engines.lmdeploy_pipeline.steps.contract import Conversation, Generated, Prepared, Steps
from harness.engines.readings import RowReader

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
    """One case as LMDeploy answered it.

    ``readers`` maps each path that has rows of logits to what was read of them. ``scores`` are those of the
    path that has no rows.
    """

    request: Request
    prompt_ids: tuple[int, ...]
    generated: Generated
    letter_ids: LetterIds
    readers: Mapping[str, RowReader]
    scores: InputScores | None
    seconds: Mapping[str, float]
    question: Question


@dataclass(frozen=True, slots=True, kw_only=True)
class _FirstDone:
    """A case after stage one."""

    request: Request
    prepared: Prepared
    generated: Generated
    letter_ids: LetterIds
    reader: RowReader | None
    seconds: Mapping[str, float]
    question: Question


class Stages:
    """Scores cases with one loaded engine. All coroutines belong to the engine's own event loop."""

    def __init__(
        self,
        engine: AsyncEngine,
        steps: Steps,
        *,
        paths: Sequence[str],
        top_k: int,
        stage_two: str,
        image_options: Mapping[str, int],
    ) -> None:
        """Raises EngineError(LOAD) for a tokenizer that cannot be used."""
        self._steps = steps
        self._paths = tuple(paths)
        self._top_k = top_k
        self._stepwise = stage_two == STEPWISE
        self.tokenizer = hub_tokenizer(engine)
        self._resolver = LetterResolver(self.tokenizer)
        self._placeholder = placeholder_id(engine)
        self._template = engine.chat_template
        self._image_options = image_options
        self._in_text = places_in_text(engine)

    async def score(
        self, requests: Sequence[Request], tell: Callable[[Request, Scored | Exception], None]
    ) -> None:
        """Score ``requests`` concurrently, and ``tell`` the result of each, or the exception that it met.

        Stage two begins when stage one has ended for all. LMDeploy mixes up its sequences otherwise: it keeps
        the state of a request with ``max_new_tokens=0`` among those that it goes on decoding, but not in its
        list of them, so that a sequence decodes on from another's state. And what stage two leaves behind
        must be gone before the next sequence is decoded. Inputs are scored when all rows are there: a batch
        in which one sequence wants rows and another scores ends LMDeploy's loop.
        """
        has_second = TWO_STAGE in self._paths or SCORED in self._paths

        async def first(request: Request) -> _FirstDone | None:
            try:
                done = await self._stage_one(request)
            except Exception as error:  # noqa: BLE001 - what it means is for the caller to say
                tell(request, error)
                return None
            if not has_second:
                tell(request, self._scored(done))
            return done

        async def second(request: Request, done: _FirstDone, rows_read: asyncio.Barrier) -> None:
            started = time.perf_counter()
            reader = scores = None
            try:
                try:
                    reader = await self._stage_two(done) if TWO_STAGE in self._paths else None
                finally:
                    await rows_read.wait()
                scores = await self._score_inputs(done) if SCORED in self._paths else None
            except Exception as error:  # noqa: BLE001 - as above
                tell(request, error)
                return
            spent = time.perf_counter() - started
            tell(request, self._scored(done, reader, scores, {"stage two": spent}))

        done = await asyncio.gather(*map(first, requests))
        if has_second:
            pairs = [(r, each) for r, each in zip(requests, done, strict=True) if each is not None]
            rows_read = asyncio.Barrier(max(1, len(pairs)))
            try:
                await asyncio.gather(*(second(request, each, rows_read) for request, each in pairs))
            finally:
                self._steps.reset()

    def _scored(
        self,
        done: _FirstDone,
        second: RowReader | None = None,
        scores: InputScores | None = None,
        seconds: Mapping[str, float] | None = None,
    ) -> Scored:
        by_path = {self._steps.first: done.reader, TWO_STAGE: second}
        return Scored(
            request=done.request,
            prompt_ids=tuple(map(int, done.prepared.ids)),
            generated=done.generated,
            letter_ids=done.letter_ids,
            readers={path: found for path in self._paths if (found := by_path.get(path)) is not None},
            scores=scores,
            seconds={**done.seconds, **(seconds or {})},
            question=done.question,
        )

    async def conversation(self, request: Request) -> Conversation:
        """The request in LMDeploy's messages, its images opened."""
        images = [await asyncio.to_thread(open_image, image) for image in request.shown]
        return messages(request, images, self._image_options, in_text=self._in_text)

    async def _stage_one(self, request: Request) -> _FirstDone:
        """Greedy tokens, their log-probabilities and, if asked for, the rows captured on the way.

        Raises LettersError, EngineError (UNSUPPORTED for a sequence over a limit), and LMDeploy's own errors.
        """
        started = time.perf_counter()
        check_spelling(request.prompt)
        prepared = await self._steps.prepare(await self.conversation(request))
        try:
            ids = prepared.ids
            text = prepared.inputs.get("prompt") or self.tokenizer.decode(ids, skip_special_tokens=False)
            asked = await asyncio.to_thread(
                question_of,
                prepared.inputs,
                tokenizer=self.tokenizer,
                placeholder=self._placeholder,
                dtype=self._steps.dtype,
                images=len(request.images),
            )
            check_rendered(self._template, asked, request)
            self._resolver.require_end(text, ids)
            letters = self._resolver.of_request(text, request, prepared.options.stop_token_ids or ())
            steps = request.max_new_tokens or letters.steps
            check_length(len(ids), max(steps, letters.scored), self._steps.limits)
        except BaseException:
            self._steps.forget(prepared)
            raise
        done_preparing = time.perf_counter()
        first = self._steps.first
        reader = RowReader(first, letters, top_k=self._top_k) if first in self._paths else None
        generated = await self._steps.generate(
            prepared,
            steps=steps,
            logprobs=self._top_k or None,
            take=None if reader is None else partial(_read, reader),
        )
        if reader is not None and reader.wanting and first == CAPTURED:
            await self._force(prepared, letters, reader)
        return _FirstDone(
            request=request,
            prepared=prepared,
            generated=generated,
            letter_ids=letters,
            reader=reader,
            seconds={
                "prepare": done_preparing - started,
                "stage one": time.perf_counter() - done_preparing,
            },
            question=asked,
        )

    async def _force(self, prepared: Prepared, letters: LetterIds, reader: RowReader) -> None:
        """Rows of a target that the model did not write by itself, as a second generation has to write it."""
        known, rows = letters.scored - reader.wanting, count()

        def take(row: Tensor, token: int) -> None:
            del token
            if next(rows) >= known:
                _force(reader, row)

        forced = replace(prepared, forced=letters.target)
        await self._steps.generate(forced, steps=letters.scored, logprobs=None, take=take)

    async def _stage_two(self, done: _FirstDone) -> RowReader:
        """Rows of one pass over prompt and generated ids, or of one request for each generated id."""
        prepared, ids = done.prepared, done.generated.ids
        reader = RowReader(TWO_STAGE, done.letter_ids, top_k=self._top_k)
        if not self._stepwise:
            logits = await self._rows_behind(prepared, ids[:-1])
        for step, token in enumerate(ids):
            if self._stepwise:
                logits = await self._rows_behind(prepared, ids[:step])
            await asyncio.to_thread(_read, reader, logits[len(prepared.ids) - 1 + step], token)
        target = done.letter_ids.target
        if reader.wanting and not self._stepwise:
            logits = await self._rows_behind(prepared, target)
        while reader.wanting:
            step = done.letter_ids.scored - reader.wanting
            if self._stepwise:
                logits = await self._rows_behind(prepared, target[:step])
            row = logits[len(prepared.ids) - 1 + step]
            await asyncio.to_thread(_force, reader, row)
        return reader

    async def _rows_behind(self, prepared: Prepared, ids: Sequence[int]) -> Tensor:
        return await self._steps.rows_behind(prepared, ids, temperature=STAGE_TWO_TEMPERATURE)

    async def _score_inputs(self, done: _FirstDone) -> InputScores:
        return await score_inputs(
            self._steps,
            done.prepared,
            done.generated.ids,
            letter_ids=done.letter_ids,
            count=max(1, self._top_k),
        )


def _force(reader: RowReader, row: Tensor) -> None:
    reader.force(row.float().cpu().numpy())


def _read(reader: RowReader, row: Tensor, token: int) -> None:
    reader.add(row.float().cpu().numpy(), token)
