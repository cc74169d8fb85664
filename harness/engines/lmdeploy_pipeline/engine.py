"""The engine ``lmdeploy``: the real package's pipeline, fed a batch at a time and read, and when it has died.

On ``device: cuda`` it runs as it is; on ``device: cpu`` through the CPU device plug-in (`lmdeploy_on_cpu`),
which the fingerprint says; with ``kernels: interpreted`` that runs LMDeploy's own kernels
(`interpreted_kernels`). How a case goes through it stands in `stages`, what each of LMDeploy's engines is
asked for then in `steps`, and what this one gives in `steps.probe`.

Importing it imports neither torch nor lmdeploy.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import os
import shlex
import traceback
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final, TypeVar

from harness.engines.codec import request_digest
from harness.engines.contract import (
    Answer,
    Engine,
    EngineSettings,
    Entry,
    Failure,
    Json,
    Outcome,
    Reading,
    Request,
)
from harness.engines.gpu import gpus_in_use
from harness.engines.interpreted_kernels.card import is_interpreted
from harness.engines.lmdeploy_on_cpu import plugin as lmdeploy_on_cpu
from harness.engines.lmdeploy_pipeline.backends import backend_config, backend_in_force, built_with, version
from harness.engines.lmdeploy_pipeline.described import engine_config, templates, where_it_runs
from harness.engines.lmdeploy_pipeline.options import (
    EXECUTOR,
    SCORED,
    TOP_K,
    TURBOMIND,
    check_settings,
    stage_two,
)
from harness.engines.lmdeploy_pipeline.prompts import probe_conversations
from harness.engines.lmdeploy_pipeline.stages import Scored, Stages
from harness.engines.lmdeploy_pipeline.steps.contract import Steps
from harness.engines.lmdeploy_pipeline.steps.probe import TOO_LONG, Probe, choose_paths, probe
from harness.engines.lmdeploy_pipeline.steps.pytorch import PytorchSteps
from harness.engines.lmdeploy_pipeline.steps.turbomind import TurbomindSteps
from harness.engines.lmdeploy_pipeline.tiles import image_options, most_tiles_of
from harness.engines.out_of_memory import is_out_of_memory
from harness.engines.pixel_limits import pixel_limits
from harness.engines.prefix_cache import is_warm
from harness.engines.readings import read_top
from harness.engines.requirements import ARCHITECTURES
from harness.engines.target_scores import token_texts
from harness.engines.template_date import pin_template_date
from harness.errors import EngineError, ErrorKind, LettersError

if TYPE_CHECKING:
    from lmdeploy.pipeline import Pipeline

__all__ = ["LmdeployPipeline", "load"]

_T = TypeVar("_T")
_Done = tuple[Request, Scored | Exception]

_LOOK_SECONDS: Final = 2.0
"""How long to wait for the next outcome before looking whether the engine still lives."""

_FIRST: Final = "LMDeploy failed at its first token, behind the largest image where the model takes one"

_OF_THE_CASE: Final = {
    TOO_LONG: ErrorKind.UNSUPPORTED,
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
    if is_interpreted(settings):
        from harness.engines.interpreted_kernels.installing import install  # in no other engine's key

        install(settings)
    elif settings.device == "cpu":
        lmdeploy_on_cpu.install(dtype=settings.dtype)
    import torch

    pin_template_date(settings)
    if settings.device == "cuda":
        gpus_in_use(settings)
    threads = settings.options.get("threads")
    if isinstance(threads, int):
        torch.set_num_threads(threads)
    _import_tuning(settings.options.get("gemm_tuning"))
    pipe = _build(settings)
    try:
        return LmdeployPipeline(settings, pipe)
    except BaseException:
        pipe.close()
        raise


class LmdeployPipeline:
    """A loaded pipeline; `score` works on ``batch_size`` cases at a time."""

    def __init__(self, settings: EngineSettings, pipe: Pipeline) -> None:
        """Try the pipeline with one token, and refuse what does not fit it or the model's logits.

        Raises EngineError: LOAD where LMDeploy took another backend or dtype than was asked for, or lacks a
        way to its probabilities; UNSUPPORTED for settings that this pipeline cannot honour.
        """
        self._settings = settings
        self._pipe = pipe
        self._engine = pipe.async_engine
        self._backend = backend_in_force(settings, pipe)
        kind = TurbomindSteps if self._backend == TURBOMIND else PytorchSteps
        self._steps: Steps = kind(self._engine, settings)
        if settings.dtype not in ("auto", self._steps.dtype):
            raise EngineError(
                ErrorKind.LOAD, f"dtype: asked for {settings.dtype}, but LMDeploy loaded {self._steps.dtype}"
            )
        options = image_options(self._engine, settings.max_tiles, pixel_limits(settings))
        self._probe = self._probed(options)
        self._paths = choose_paths(settings.paths, self._probe, reports=settings.top_k > 0)
        self._stages = Stages(
            self._engine,
            self._steps,
            paths=self._paths,
            top_k=settings.top_k,
            stage_two=stage_two(settings),
            image_options=options,
        )
        width = self._probe.width
        if width is not None and settings.top_k > width:
            raise EngineError(
                ErrorKind.UNSUPPORTED,
                f"top_k: found {settings.top_k}; allowed: 0 to {width}, the width of this model's logits "
                "(more would end LMDeploy's engine loop). Set top_k of this engine in the profile",
            )

    def _probed(self, image_options: Mapping[str, int]) -> Probe:
        most = self._settings.max_tiles or most_tiles_of(self._engine)
        tried = probe_conversations(self._engine, most, image_options)
        try:
            try:
                found = self._in_loop(probe(self._steps, tried)).result()
            finally:
                self._check_alive()  # a path that failed may have taken the engine with it
        except EngineError as error:
            if error.kind is ErrorKind.UNSUPPORTED:
                raise
            kind = ErrorKind.LOAD if error.kind is ErrorKind.FAILED else error.kind
            raise EngineError(
                kind, f"{_FIRST}: {error.message}{_misfit(self._settings, error.__cause__)}"
            ) from error
        except Exception as error:
            kind = ErrorKind.OUT_OF_MEMORY if is_out_of_memory(error) else ErrorKind.LOAD
            told = f"{_FIRST}: {type(error).__name__}: {error}{_misfit(self._settings, error)}"
            raise EngineError(kind, told) from error
        return found

    def fingerprint(self) -> dict[str, Json]:
        """Device, dtype, LMDeploy's options as they are in force, chat template and form of the logits."""
        import torch

        return {
            **where_it_runs(self._settings),
            **templates(self._engine, self._stages.tokenizer),
            **self._steps.described,
            "threads": torch.get_num_threads(),
            "dtype": self._steps.dtype,
            "backend": self._backend,
            "engine_config": engine_config(self._engine.backend_config),
            "limits": {**self._steps.limits},
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
            batch = requests[start : start + size]
            if is_warm(self._settings):
                await self._stages.score(batch, lambda request, result: None)  # noqa: ARG005
            await self._stages.score(batch, lambda request, result: done.put((request, result)))

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
        letters, ids, logprobs = scored.letter_ids, scored.generated.ids, scored.generated.logprobs
        step = letters.answer_step(ids)
        top: tuple[Entry, ...] = ()
        if logprobs and step is not None:
            # LMDeploy puts the generated id before the top k, so among equal values it may be one too many.
            entries = (Entry(int(token), float(value)) for token, value in logprobs[step].items())
            top = tuple(sorted(entries, key=lambda entry: -entry.logprob)[: self._settings.top_k])
        # Where they are the only path there is, they are no second account of the answer.
        told = () if self._paths == (TOP_K,) else zip(ids, logprobs, strict=False)
        readings = tuple(self._reading(path, scored) for path in self._paths)
        return Answer(
            prompt_ids=scored.prompt_ids,
            generated_ids=ids,
            text=self._stages.tokenizer.decode(list(ids), skip_special_tokens=True),
            letter_ids=letters.ids,
            answer_step=step,
            readings=readings,
            reported_top=top,
            reported_logprobs=tuple(float(entries[token]) for token, entries in told),
            seconds=dict(scored.seconds),
            rows={path: row for path, each in scored.readers.items() if (row := each.answer) is not None},
            question=scored.question,
            request=request_digest(scored.request),
            target_ids=letters.target,
            token_texts=token_texts(self._stages.tokenizer.decode, letters.target, readings),
        )

    def _reading(self, path: str, scored: Scored) -> Reading:
        letters, ids, top_k = scored.letter_ids, scored.generated.ids, self._settings.top_k
        if path == SCORED and scored.scores is not None:
            return scored.scores.reading(ids, letter_ids=letters, top_k=top_k)
        if path == TOP_K:
            return read_top(TOP_K, scored.generated.logprobs, ids, letter_ids=letters)
        seen = scored.readers[path].reading()
        if len(seen.logprobs) != len(ids):
            text = f"{path}: LMDeploy gave {len(seen.logprobs)} rows of logits for {len(ids)} tokens"
            raise EngineError(ErrorKind.FAILED, text)
        return seen

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
        if (error := self._steps.failure()) is not None:
            raise error

    def _in_loop(self, coroutine: Coroutine[Any, Any, _T]) -> Future[_T]:
        return asyncio.run_coroutine_threadsafe(coroutine, self._pipe.internal_thread.loop)


def _import_tuning(path: Json) -> None:
    """Have TurboMind, which looks at the variable as it warms up, take kernels from a file."""
    if not isinstance(path, str):
        return
    if not Path(path).is_file():
        raise EngineError(
            ErrorKind.LOAD,
            f"options.gemm_tuning: there is no file {path}; have TurboMind write it, by one run without this "
            f"option: TM_GEMM_EXPORT={shlex.quote(path)} pytest --fresh --profile NAME",
        )
    os.environ["TM_GEMM_IMPORT"] = path


def _build(settings: EngineSettings) -> Pipeline:
    from lmdeploy import pipeline

    trust = _trust(settings)
    try:
        # LMDeploy checks an option's value, by an assertion, as soon as its configuration is made.
        return pipeline(
            settings.model, backend_config=backend_config(settings), **built_with(settings), **trust
        )
    except EngineError:
        raise
    except Exception as error:
        raise EngineError(
            ErrorKind.OUT_OF_MEMORY if is_out_of_memory(error) else ErrorKind.LOAD,
            f"LMDeploy cannot load {settings.model}: {type(error).__name__}: {error}"
            f"{_misfit(settings, error)}{_variable()}",
        ) from error


def _misfit(settings: EngineSettings, error: BaseException | None) -> str:
    """What to do where this LMDeploy has no class for the model, or one whose code takes it for another."""
    try:
        config = json.loads((Path(settings.model) / "config.json").read_text(encoding="utf-8"))
        backend = str(settings.options.get("backend", "pytorch"))
        module, _, name = ARCHITECTURES[backend].rpartition(".")
        known = getattr(importlib.import_module(module), name)
        named = [str(each) for each in config["architectures"]]
    except (AttributeError, ImportError, KeyError, OSError, TypeError, ValueError):
        return ""
    if not {*named} & {*known}:
        return (
            f". Its {backend} engine has no class for {', '.join(named)}: name an LMDeploy that has one, or "
            "leave this engine out of the profile"
        )
    if not isinstance(error, AttributeError | LookupError | NotImplementedError | TypeError):
        return ""
    frames = traceback.extract_tb(error.__traceback__)
    where = next((each for each in reversed(frames) if "lmdeploy" in Path(each.filename).parts), frames[-1])
    return (
        f" ({where.filename}:{where.lineno}). LMDeploy {version()} has a class for {', '.join(named)} that "
        "misses something in this model's config.json, names of weights or processor; allowed: a model as "
        "its publisher saved it (Transformers 5 writes other names than 4). Name such a one or another "
        "LMDeploy (`requirements`), or leave this engine out of the profile"
    )


def _variable() -> str:
    """A word on the variable that decides in which processes the model runs, where it is set."""
    found = os.environ.get(EXECUTOR)
    return f" ({EXECUTOR}={found} is set; unset it to have LMDeploy choose)" if found else ""


def _trust(settings: EngineSettings) -> dict[str, Any]:
    """Whether the model's own Python files may run, as LMDeploy is told it.

    Raises EngineError(UNSUPPORTED) where LMDeploy cannot be told, and would run them unasked.
    """
    from lmdeploy.pipeline import Pipeline

    trusted = bool(settings.options.get("trust_remote_code", False))
    if "trust_remote_code" in inspect.signature(Pipeline).parameters:
        return {"trust_remote_code": trusted}
    files = sorted(path.name for path in Path(settings.model).glob("*.py"))
    if files and not trusted:
        raise EngineError(
            ErrorKind.UNSUPPORTED,
            f"this LMDeploy cannot be kept from running the Python files of {settings.model} "
            f"({', '.join(files)}). If you trust them write 'trust_remote_code: true' in this engine's "
            "options in the profile; if not, use an LMDeploy that asks first, such as 0.14 or later",
        )
    return {}
