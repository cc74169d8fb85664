"""LMDeploy's pipeline on its PyTorch engine: how a batch is fed to it and read, and when it has died.

How one case goes through it stands in `lmdeploy_stages`, by which of LMDeploy's names in `lmdeploy_access`,
and what this one gives in `lmdeploy_probe`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator, Sequence
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np
import numpy.typing as npt

from harness.engines.contract import Answer, EngineSettings, Entry, Failure, Json, Outcome, Reading, Request
from harness.engines.lmdeploy_pipeline.access import Access
from harness.engines.lmdeploy_pipeline.described import plain, templates, where_it_runs
from harness.engines.lmdeploy_pipeline.options import ENGINE_OPTIONS, PINNED, SCORED, TOP_K, stage_two
from harness.engines.lmdeploy_pipeline.probe import Probe, choose_paths, probe
from harness.engines.lmdeploy_pipeline.stages import Scored, Stages
from harness.engines.out_of_memory import is_out_of_memory
from harness.engines.partial_readings import read_top
from harness.engines.readings import read_rows
from harness.errors import EngineError, ErrorKind, LettersError

if TYPE_CHECKING:
    from lmdeploy.pipeline import Pipeline

__all__ = ["LmdeployPipeline"]

_T = TypeVar("_T")
_Done = tuple[Request, Scored | Exception]

_LOOK_SECONDS: Final = 2.0
"""How long to wait for the next outcome before looking whether the engine still lives."""

_OF_THE_CASE: Final = {
    "context_length_exceeded": ErrorKind.UNSUPPORTED,
    "invalid_request": ErrorKind.FAILED,
    "preprocess_failed": ErrorKind.FAILED,
    "unsupported_feature": ErrorKind.UNSUPPORTED,
}
"""LMDeploy's own error codes that concern a request; the others concern the engine."""


class LmdeployPipeline:
    """A loaded pipeline; `score` works on ``batch_size`` cases at a time."""

    def __init__(self, settings: EngineSettings, pipe: Pipeline) -> None:
        """Try the pipeline with one token, and refuse what does not fit the model's logits."""
        self._settings = settings
        self._pipe = pipe
        self._engine = pipe.async_engine
        self._access = Access(self._engine)
        if self._engine.backend != "pytorch":
            raise EngineError(
                ErrorKind.LOAD, f"LMDeploy chose the backend {self._engine.backend}, not pytorch"
            )
        self._dtype = str(self._engine.engine.model_config.dtype).removeprefix("torch.")
        if settings.dtype not in ("auto", self._dtype):
            raise EngineError(
                ErrorKind.LOAD, f"dtype: asked for {settings.dtype}, but LMDeploy loaded {self._dtype}"
            )
        self._limits = {
            "session_len": int(self._engine.session_len),
            "num_gpu_blocks": int(self._engine.engine.max_session_len),
            "max_prefill_token_num": int(self._engine.engine.cache_config.max_prefill_token_num),
        }
        self._probe = self._probed()
        self._paths = choose_paths(settings.paths, self._probe, reports=settings.top_k > 0)
        self._stages = Stages(
            self._engine,
            self._access,
            paths=self._paths,
            top_k=settings.top_k,
            stage_two=stage_two(settings),
            limits=self._limits,
            max_tiles=settings.max_tiles,
        )
        width = self._probe.width
        if width is not None and settings.top_k > width:
            raise EngineError(
                ErrorKind.UNSUPPORTED,
                f"top_k: found {settings.top_k}; allowed: 0 to {width}, the width of this model's logits "
                "(more would end LMDeploy's engine loop). Set top_k of this engine in the profile",
            )

    def _probed(self) -> Probe:
        try:
            found = self._in_loop(probe(self._access)).result()
        except EngineError:
            raise
        except Exception as error:
            self._check_alive()
            raise EngineError(
                ErrorKind.LOAD, f"LMDeploy failed at its first token: {type(error).__name__}: {error}"
            ) from error
        self._check_alive()  # a path that failed may have taken the engine with it
        return found

    def fingerprint(self) -> dict[str, Json]:
        """Device, dtype, LMDeploy's options as they are in force, chat template and form of the logits."""
        import torch

        config = self._engine.backend_config
        return {
            **where_it_runs(self._settings),
            **templates(self._engine, self._stages.tokenizer),
            "threads": torch.get_num_threads(),
            "dtype": self._dtype,
            "backend": str(self._engine.backend),
            "engine_config": {
                name: plain(getattr(config, name))
                for name in (*ENGINE_OPTIONS, *PINNED, "revision")
                if hasattr(config, name)
            },
            "limits": {**self._limits},
            "stage_two": stage_two(self._settings),
            **self._probe.to_json(self._paths),
        }

    def score(self, requests: Sequence[Request]) -> Iterator[Outcome]:
        """Yield one outcome per request, in the order in which the engine gets done with them.

        An answer's ``seconds`` are the wall times of ``prepare``, ``stage one`` and ``stage two``, in which
        other cases were worked on as well.

        Raises EngineError when the engine itself failed: CRASH, OUT_OF_MEMORY or FAILED.
        """
        done: SimpleQueue[_Done] = SimpleQueue()
        work = self._in_loop(self._score_all(requests, done))
        try:
            for _ in requests:
                request, result = self._next(done, work)
                yield Outcome(request.case, self._read(request, result))
            work.result()  # the engine is not ready for the next batch before
        finally:
            work.cancel()

    def close(self) -> None:
        """End the engine's loop and free what it holds."""
        self._pipe.close()

    async def _score_all(self, requests: Sequence[Request], done: SimpleQueue[_Done]) -> None:
        size = self._settings.batch_size
        for start in range(0, len(requests), size):
            await self._stages.score(
                requests[start : start + size], lambda request, result: done.put((request, result))
            )

    def _next(self, done: SimpleQueue[_Done], work: Future[None]) -> _Done:
        while True:
            try:
                return done.get(timeout=_LOOK_SECONDS)
            except Empty:
                self._check_alive()
                if work.done():
                    work.result()

    def _read(self, request: Request, result: Scored | Exception) -> Answer | Failure:
        if isinstance(result, Exception):
            return self._failure(request, result)
        try:
            return self._answer(result)
        except EngineError as error:
            return Failure(kind=error.kind, message=f"{request.case}: {error.message}")

    def _answer(self, scored: Scored) -> Answer:
        letters = scored.letter_ids
        step = letters.answer_step(scored.generated_ids)
        rows = {path: np.asarray(row.float().cpu().numpy()) for path, row in scored.rows.items()}
        top: tuple[Entry, ...] = ()
        if scored.logprobs and step is not None:
            # LMDeploy puts the generated id before the top k, so among equal values it may be one too many.
            entries = (Entry(int(token), float(value)) for token, value in scored.logprobs[step].items())
            top = tuple(sorted(entries, key=lambda entry: -entry.logprob)[: self._settings.top_k])
        return Answer(
            prompt_ids=scored.prompt_ids,
            generated_ids=scored.generated_ids,
            text=self._stages.tokenizer.decode(list(scored.generated_ids), skip_special_tokens=True),
            letter_ids=letters.ids,
            answer_step=step,
            readings=tuple(self._reading(path, scored, rows.get(path)) for path in self._paths),
            reported_top=top,
            # Where they are the only path there is, they are no second account of the answer.
            reported_logprobs=()
            if self._paths == (TOP_K,)
            else tuple(
                float(entries[token])
                for token, entries in zip(scored.generated_ids, scored.logprobs, strict=False)
            ),
            seconds=dict(scored.seconds),
            rows={} if step is None else {path: each[step].copy() for path, each in rows.items()},
            question=scored.question,
        )

    def _reading(self, path: str, scored: Scored, rows: npt.NDArray[np.float32] | None) -> Reading:
        letters, ids, top_k = scored.letter_ids, scored.generated_ids, self._settings.top_k
        if path == SCORED and scored.scores is not None:
            return scored.scores.reading(ids, step=letters.answer_step(ids), top_k=top_k)
        if path == TOP_K:
            return read_top(TOP_K, scored.logprobs, ids, letter_ids=letters)
        if rows is None:
            raise EngineError(ErrorKind.FAILED, f"{path}: LMDeploy gave no rows of logits")
        return read_rows(path, rows, ids, letter_ids=letters, top_k=top_k)

    def _failure(self, request: Request, error: Exception) -> Failure:
        """What a case's exception means: its own failure, or (raised) the end of the engine."""
        if isinstance(error, LettersError):
            return Failure(kind=ErrorKind.LETTERS, message=str(error))
        if isinstance(error, EngineError) and error.kind is not ErrorKind.CRASH:
            self._check_alive()  # a request of a dead engine may end as if it were its own fault
            return Failure(kind=error.kind, message=f"{request.case}: {error.message}")
        code = str(getattr(getattr(error, "code", None), "value", None))
        if kind := _OF_THE_CASE.get(code):
            cause = f" ({error.__cause__})" if error.__cause__ is not None else ""
            return Failure(kind=kind, message=f"{request.case}: LMDeploy says {code}: {error}{cause}")
        self._check_alive()
        if isinstance(error, EngineError):
            raise error
        raise EngineError(
            ErrorKind.OUT_OF_MEMORY if is_out_of_memory(error) else ErrorKind.FAILED,
            f"LMDeploy failed at {request.case}: {type(error).__name__}: {error}",
        ) from error

    def _check_alive(self) -> None:
        """Raise EngineError (CRASH or OUT_OF_MEMORY), saying why, if LMDeploy's engine loop has ended."""
        if not self._pipe.internal_thread.thread.is_alive():
            raise EngineError(ErrorKind.CRASH, "the thread of LMDeploy's event loop has ended")
        loop = self._engine.engine.req_manager._loop_task  # noqa: SLF001 - nothing else has the reason
        if loop is None or not loop.done():
            return
        reason = None if loop.cancelled() else loop.exception()
        raise EngineError(
            ErrorKind.OUT_OF_MEMORY if is_out_of_memory(reason) else ErrorKind.CRASH,
            f"LMDeploy's engine loop has ended: {type(reason).__name__}: {reason}",
        ) from reason

    def _in_loop(self, coroutine: Coroutine[Any, Any, _T]) -> Future[_T]:
        return asyncio.run_coroutine_threadsafe(coroutine, self._pipe.internal_thread.loop)
