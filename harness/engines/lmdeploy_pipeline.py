"""The engine ``lmdeploy``: the real package's pipeline on its PyTorch engine.

On ``device: cuda`` it runs as it is; on ``device: cpu`` through the CPU device plug-in (`lmdeploy_on_cpu`),
which the fingerprint says. How one case is scored stands in `lmdeploy_stages`; this module builds the
pipeline, feeds it a batch concurrently, and notices when it has died.

Importing it imports neither torch nor lmdeploy.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib.metadata
import json
import sys
from collections.abc import Coroutine, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np

from harness.engines import lmdeploy_on_cpu
from harness.engines.contract import Answer, Engine, EngineSettings, Entry, Failure, Json, Outcome, Request
from harness.engines.lmdeploy_arguments import backend_in_force, pipeline_arguments
from harness.engines.lmdeploy_called import CalledPipeline
from harness.engines.lmdeploy_on_cpu import WRITTEN_FOR
from harness.engines.lmdeploy_options import (
    ENGINE_OPTIONS,
    PINNED,
    check_settings,
    stage_two,
)
from harness.engines.lmdeploy_stages import Probed, Scored, Stages
from harness.engines.lmdeploy_turbomind import TURBOMIND
from harness.engines.readings import read_rows
from harness.errors import EngineError, ErrorKind, LettersError

if TYPE_CHECKING:
    from lmdeploy.pipeline import Pipeline
    from lmdeploy.serve.core.async_engine import AsyncEngine

__all__ = ["LmdeployPipeline", "choose", "load"]

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


def load(settings: EngineSettings) -> Engine:
    """Build the pipeline for ``settings``.

    Raises EngineError: UNSUPPORTED for settings that LMDeploy cannot honour as they are written, LOAD where
    there is no GPU for ``device: cuda`` or LMDeploy does not start, OUT_OF_MEMORY.
    """
    check_settings(settings)
    if not Path(settings.model).is_dir():
        # LMDeploy would try to download a model of that name.
        raise EngineError(
            ErrorKind.LOAD, f"there is no model folder {settings.model}; see 'model' in the profile"
        )
    if settings.device == "cpu":
        lmdeploy_on_cpu.install(dtype=settings.dtype)
    import torch

    if settings.device == "cuda" and not torch.cuda.is_available():
        raise EngineError(
            ErrorKind.LOAD,
            "device: found cuda, but this machine has no NVIDIA GPU visible (torch.cuda.is_available() is "
            "False). Run on a machine with one, or choose a profile with 'device: cpu'; nothing was scored",
        )
    threads = settings.options.get("threads")
    if isinstance(threads, int):
        torch.set_num_threads(threads)
    pipe = _build(settings)
    try:
        return choose(settings, pipe)
    except BaseException:
        if hasattr(pipe, "close"):  # until 0.6 it has none
            pipe.close()
        raise


def choose(settings: EngineSettings, pipe: Pipeline) -> Engine:
    """The engine that knows how to read ``pipe``, by what the pipeline has and the backend it really uses."""
    if backend_in_force(settings, pipe) == TURBOMIND or not hasattr(pipe, "async_engine"):
        return CalledPipeline(settings, pipe)
    return LmdeployPipeline(settings, pipe)


def _build(settings: EngineSettings) -> Pipeline:
    from lmdeploy import pipeline

    try:
        return pipeline(settings.model, **pipeline_arguments(settings))
    except EngineError:
        raise
    except Exception as error:
        raise EngineError(
            ErrorKind.OUT_OF_MEMORY if _is_out_of_memory(error) else ErrorKind.LOAD,
            f"LMDeploy cannot load {settings.model}: {type(error).__name__}: {error}",
        ) from error


class LmdeployPipeline:
    """A loaded pipeline; `score` works on ``batch_size`` cases at a time."""

    def __init__(self, settings: EngineSettings, pipe: Pipeline) -> None:
        """Try the pipeline with one token, and refuse what does not fit the model's logits."""
        self._settings = settings
        self._pipe = pipe
        self._engine = pipe.async_engine
        _require_names(self._engine)
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
        self._stages = Stages(
            self._engine,
            paths=settings.paths,
            top_k=settings.top_k,
            stage_two=stage_two(settings),
            limits=self._limits,
            max_tiles=settings.max_tiles,
        )
        self._logits = self._probe()
        if settings.top_k > self._logits["width"]:
            raise EngineError(
                ErrorKind.UNSUPPORTED,
                f"top_k: found {settings.top_k}; allowed: 0 to {self._logits['width']}, the width of this "
                "model's logits (more would end LMDeploy's engine loop). Set top_k of this engine in the "
                "profile",
            )

    def _probe(self) -> Probed:
        try:
            return self._in_loop(self._stages.probe()).result()
        except EngineError:
            raise
        except Exception as error:
            self._check_alive()
            raise EngineError(
                ErrorKind.LOAD, f"LMDeploy failed at its first token: {type(error).__name__}: {error}"
            ) from error

    def fingerprint(self) -> dict[str, Json]:
        """Device, dtype, LMDeploy's options as they are in force, chat template and form of the logits."""
        import torch

        on_cpu = self._settings.device == "cpu"
        config = self._engine.backend_config
        template = self._stages.tokenizer.chat_template
        return {
            "device": (
                f"CPU device plug-in ({lmdeploy_on_cpu.processor_name()})"
                if on_cpu
                else torch.cuda.get_device_name()
            ),
            "device_plugin": on_cpu,
            "threads": torch.get_num_threads(),
            "dtype": self._dtype,
            "backend": str(self._engine.backend),
            "engine_config": {
                name: _plain(getattr(config, name)) for name in (*ENGINE_OPTIONS, *PINNED, "revision")
            },
            "limits": {**self._limits},
            "chat_template": type(self._engine.chat_template).__name__,
            "template_sha256": hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest(),
            "logits": {"dtype": self._logits["dtype"], "width": self._logits["width"]},
            "stop_ids": [*self._logits["stop_ids"]],
            "stage_two": stage_two(self._settings),
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
            readings=tuple(
                read_rows(path, each, scored.generated_ids, letter_ids=letters, top_k=self._settings.top_k)
                for path, each in rows.items()
            ),
            reported_top=top,
            reported_logprobs=tuple(
                float(entries[token])
                for token, entries in zip(scored.generated_ids, scored.logprobs, strict=False)
            ),
            seconds=dict(scored.seconds),
            rows={} if step is None else {path: each[step].copy() for path, each in rows.items()},
            question=scored.question,
        )

    def _failure(self, request: Request, error: Exception) -> Failure:
        """What a case's exception means: its own failure, or (raised) the end of the engine."""
        if isinstance(error, LettersError):
            return Failure(kind=ErrorKind.LETTERS, message=str(error))
        if isinstance(error, EngineError) and error.kind is not ErrorKind.CRASH:
            return Failure(kind=error.kind, message=f"{request.case}: {error.message}")
        code = str(getattr(getattr(error, "code", None), "value", None))
        if kind := _OF_THE_CASE.get(code):
            cause = f" ({error.__cause__})" if error.__cause__ is not None else ""
            return Failure(kind=kind, message=f"{request.case}: LMDeploy says {code}: {error}{cause}")
        self._check_alive()
        if isinstance(error, EngineError):
            raise error
        raise EngineError(
            ErrorKind.OUT_OF_MEMORY if _is_out_of_memory(error) else ErrorKind.FAILED,
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
            ErrorKind.OUT_OF_MEMORY if _is_out_of_memory(reason) else ErrorKind.CRASH,
            f"LMDeploy's engine loop has ended: {type(reason).__name__}: {reason}",
        ) from reason

    def _in_loop(self, coroutine: Coroutine[Any, Any, _T]) -> Future[_T]:
        return asyncio.run_coroutine_threadsafe(coroutine, self._pipe.internal_thread.loop)


def _require_names(engine: AsyncEngine) -> None:
    """Say which LMDeploy is needed, before an AttributeError does in the middle of a case."""
    needed = {
        "AsyncEngine": (engine, ("generate", "preprocess", "safe_run", "session_mgr")),
        "Engine": (engine.engine, ("cache_config", "executor", "max_session_len", "req_manager")),
        "BaseModelAgent": (getattr(engine.engine.executor, "model_agent", None), ("reset_runtime_state",)),
    }
    missing = [
        f"{owner}.{name}"
        for owner, (found, names) in needed.items()
        for name in names
        if not hasattr(found, name)
    ]
    if missing:
        raise EngineError(
            ErrorKind.LOAD,
            f"LMDeploy {importlib.metadata.version('lmdeploy')} has no {', '.join(missing)}; allowed: "
            f"{WRITTEN_FOR}, which has: {sys.executable} -m pip install 'lmdeploy=={WRITTEN_FOR}.*'",
        )


def _is_out_of_memory(error: BaseException | None) -> bool:
    import torch

    # PyTorch's CPU allocator raises a plain RuntimeError.
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "DefaultCPUAllocator" in str(error)


def _plain(value: object) -> Json:
    """An engine option as JSON; LMDeploy's enumerations are of whole numbers."""
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value)
    plain: Json = json.loads(json.dumps(value))
    return plain
