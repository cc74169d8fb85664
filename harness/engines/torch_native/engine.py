"""The engine ``torch``: a model run natively by Transformers.

Two paths to the logits. ``generate`` is the literal one: one case at a time, greedy ``generate`` with
``output_scores``, the softmax taken over the whole vocabulary. ``forward`` is the fast one: the prompt and
the ids that follow it go through the model once, in batches, and only the wanted rows are computed. The ids
that follow are those of the answer's prefix; where the model writes something else, or more is asked for,
greedy ``generate`` says what.

Options (of the profile's engine): ``attention`` is handed to Transformers as attn_implementation,
``threads`` is the number of CPU threads, ``trust_remote_code`` lets the model's own Python files run.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch
import transformers

from harness.engines.codec import request_digest
from harness.engines.contract import Answer, EngineSettings, Failure, Json, Outcome, Request, Row
from harness.engines.gpu import gpus_in_use
from harness.engines.out_of_memory import is_out_of_memory
from harness.engines.readings import RowReader
from harness.engines.remote_code import environment_advice
from harness.engines.target_scores import token_texts
from harness.engines.torch_native.inputs import Forced, Prepared, batched
from harness.engines.torch_native.loading import load_passes, require_known
from harness.engines.torch_native.passes import Passes
from harness.errors import EngineError, ErrorKind
from harness.machine.processor import processor_name

__all__ = ["TorchEngine", "load"]

_CASE_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
    ValueError,
)


def load(settings: EngineSettings) -> TorchEngine:
    """The model in the folder ``settings.model``, ready to score.

    Raises EngineError: UNSUPPORTED for settings this engine does not know, OUT_OF_MEMORY, and LOAD if the
    device, the folder, the weights, the processor or the chat template is not there or not whole.
    """
    require_known(settings)
    if settings.device == "cuda":
        gpus_in_use(settings)
    threads = settings.options.get("threads")
    if isinstance(threads, int):
        torch.set_num_threads(threads)
    # TF32 keeps 10 of the 23 bits of a float32 factor: noise that a comparison in float32 must not have.
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    try:
        passes = load_passes(settings)
        passes.model.to(settings.device)
        with torch.inference_mode():
            passes.try_out(settings.paths or ("forward",))
    except EngineError:
        raise
    except Exception as error:  # a checkpoint's own code may raise anything
        kind = ErrorKind.OUT_OF_MEMORY if is_out_of_memory(error) else ErrorKind.LOAD
        message = f"{settings.model} cannot be loaded: {type(error).__name__}: {error}"
        if kind is ErrorKind.LOAD and settings.options.get("trust_remote_code") is True:
            message += environment_advice(transformers.__version__)
        raise EngineError(kind, message + _kernels_advice(settings, error)) from error
    return TorchEngine(settings, passes)


def _kernels_advice(settings: EngineSettings, error: Exception) -> str:
    """What to do where Triton, which needs a GPU, was taken on a CPU; '' where it was not.

    Transformers takes such kernels wherever it finds them installed, and LMDeploy brings some along.
    """
    if settings.device != "cpu" or "active drivers" not in str(error):
        return ""
    versions = [f"{each.__name__}=={each.__version__.partition('+')[0]}" for each in (torch, transformers)]
    return (
        "\nTransformers took Triton kernels for a GPU, since flash-linear-attention or the like is installed "
        "beside it, as LMDeploy does: give this engine an environment without LMDeploy in the profile\n"
        f"    requirements: [{', '.join(versions)}, torchvision, pillow, jinja2]"
    )


@dataclass(slots=True)
class _Work:
    """What is known of a case so far, and by path what was read of its rows."""

    prepared: Prepared
    generated: tuple[int, ...] | None = None
    readers: dict[str, RowReader] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    failure: Failure | None = None

    def spent(self, part: str, seconds: float) -> None:
        self.seconds[part] = self.seconds.get(part, 0.0) + seconds

    def forced(self) -> Forced:
        """The ids to put behind the prompt: those it is known to write, else those it is hoped to write."""
        if self.generated is not None:
            return Forced(self.prepared, self.generated[:-1])
        if target := self.prepared.letter_ids.target:
            return Forced(self.prepared, target)
        hoped = self.prepared.letter_ids.prefix_ids
        return Forced(self.prepared, hoped[: self.prepared.most_tokens - 1])


class TorchEngine:
    """A model and what prepares its inputs; see `harness.engines.contract.Engine`."""

    def __init__(self, settings: EngineSettings, passes: Passes) -> None:  # noqa: D107
        self._settings = settings if settings.paths else replace(settings, paths=("forward",))
        self._passes = passes

    def fingerprint(self) -> dict[str, Json]:
        """What the answers may depend on and only the loaded model knows."""
        model, on_gpu = self._passes.model, self._settings.device == "cuda"
        dtypes: list[str] = sorted({str(p.dtype).removeprefix("torch.") for p in model.parameters()})
        described = self._passes.fingerprint()
        template = json.dumps(described.pop("template"), sort_keys=True)
        return {
            **described,
            "device": self._settings.device,
            "device_name": gpus_in_use(self._settings) if on_gpu else _cpu_name(),
            "dtype": "+".join(dtypes),
            "threads": torch.get_num_threads(),
            "tf32": False,
            "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
            "template_sha256": hashlib.sha256(template.encode()).hexdigest(),
        }

    def score(self, requests: Sequence[Request]) -> Iterator[Outcome]:
        """One outcome per request, ``batch_size`` of them worked on together.

        An answer's ``seconds`` are those of ``prepare``, ``forward`` (its share of its batch) and
        ``generate``, as far as they were needed.

        Raises EngineError: OUT_OF_MEMORY for a batch that does not fit, UNSUPPORTED for a model whose
        `generate` changes the scores by itself.
        """
        size = max(1, self._settings.batch_size)
        for start in range(0, len(requests), size):
            works = []
            for request in requests[start : start + size]:
                prepared = self._passes.prepare(request)
                if isinstance(prepared, Failure):
                    yield Outcome(request.case, prepared)
                else:
                    works.append(_Work(prepared, seconds={"prepare": prepared.seconds}))
            with torch.inference_mode():
                self._work(works)
            for work in works:
                yield self._outcome(work)

    def close(self) -> None:
        """Free the model."""
        del self._passes
        if self._settings.device == "cuda":
            torch.cuda.empty_cache()

    def _work(self, works: Sequence[_Work]) -> None:
        literal = "generate" in self._settings.paths
        for work in works:
            if literal or work.prepared.most_tokens > work.prepared.letter_ids.steps:
                self._generate(work)
        if "forward" not in self._settings.paths:
            self._score_targets(works)
            return
        self._forward(works)
        otherwise = [work for work in works if work.generated is None and work.failure is None]
        for work in otherwise:
            self._generate(work)
        self._forward(otherwise)
        self._score_targets(works)

    def _score_targets(self, works: Sequence[_Work]) -> None:
        """The rows of a text that the model did not write by itself: those behind the text, put there."""
        for work in works:
            wanting = [reader for reader in work.readers.values() if reader.wanting]
            if work.failure is not None or not wanting:
                continue
            started = time.perf_counter()
            try:
                target = work.prepared.letter_ids.target
                rows = [*self._passes.rows([Forced(work.prepared, target)])[0]]
                for reader in wanting:
                    for row in rows[-reader.wanting :]:
                        reader.force(row)
            except _CASE_ERRORS as error:
                work.failure = self._failure(error, [work])
            work.spent("forward", time.perf_counter() - started)

    def _generate(self, work: _Work) -> None:
        """Greedy decoding of one case, and its raw scores."""
        started = time.perf_counter()
        try:
            work.generated, scores = self._passes.generate(work.prepared)
            reader = work.readers["generate"] = self._reader(work, "generate")
            for row, token in zip(scores, work.generated, strict=True):
                reader.add(row, token)
        except _CASE_ERRORS as error:
            work.failure = self._failure(error, [work])
            return
        work.spent("generate", time.perf_counter() - started)

    def _forward(self, works: Sequence[_Work]) -> None:
        """Rows of one pass over prompt and following ids, and what they say was written."""
        by_case = {work.prepared.request.case: work for work in works if work.failure is None}
        forced = [work.forced() for work in by_case.values()]
        most = self._passes.most_together or self._settings.batch_size
        for batch in batched(forced, most=most, can_pad=self._passes.can_pad):
            self._forward_batch(batch, [by_case[case.prepared.request.case] for case in batch])

    def _forward_batch(self, batch: Sequence[Forced], works: Sequence[_Work]) -> None:
        started = time.perf_counter()
        try:
            for case, work, rows in zip(batch, works, self._passes.rows(batch), strict=True):
                reader = self._reader(work, "forward")
                reader.keep(work.readers.get("forward"))
                work.readers["forward"] = reader
                if work.generated is None:
                    most = work.prepared.most_tokens
                    work.generated = self._written(rows, case.ids, reader, most=most)
                else:
                    for row, token in zip(rows, work.generated, strict=True):
                        reader.add(row, token)
        except _CASE_ERRORS as error:
            failure = self._failure(error, works)
            if len(batch) == 1:
                works[0].failure = failure
                return
            for case, work in zip(batch, works, strict=True):
                self._forward_batch([case], [work])
            return
        share = (time.perf_counter() - started) / len(batch)
        for work in works:
            work.spent("forward", share)

    def _reader(self, work: _Work, path: str) -> RowReader:
        return RowReader(path, work.prepared.letter_ids, top_k=self._settings.top_k)

    def _written(
        self, rows: Iterator[Row], forced: Sequence[int], reader: RowReader, *, most: int
    ) -> tuple[int, ...] | None:
        """The ids that greedy decoding writes, as far as ``rows`` tell; None if it goes where they do not."""
        written: list[int] = []
        whole = False
        for row, expected in zip(rows, (*forced, None), strict=True):
            written.append(int(row.argmax()))
            reader.add(row, written[-1])
            whole = len(written) == most or written[-1] in self._passes.stop_ids
            if whole or written[-1] != expected:
                break
        for row in rows if reader.wanting else ():
            reader.force(row)
        return tuple(written) if whole else None

    def _outcome(self, work: _Work) -> Outcome:
        prepared, case = work.prepared, work.prepared.request.case
        if work.failure is not None or work.generated is None:
            nothing = Failure(kind=ErrorKind.FAILED, message=f"{case}: nothing was generated")
            return Outcome(case, work.failure or nothing)
        step = prepared.letter_ids.answer_step(work.generated)
        try:
            readings = tuple(work.readers[path].reading() for path in self._settings.paths)
        except EngineError as error:
            return Outcome(case, Failure(kind=error.kind, message=f"{case}: {error.message}"))
        answers = {path: work.readers[path].answer for path in self._settings.paths}
        target = prepared.letter_ids.target
        return Outcome(
            case,
            Answer(
                prompt_ids=prepared.prompt_ids,
                generated_ids=work.generated,
                text=self._passes.tokenizer.decode(list(work.generated), skip_special_tokens=True),
                letter_ids=prepared.letter_ids.ids,
                answer_step=step,
                readings=readings,
                seconds=work.seconds,
                rows={path: row for path, row in answers.items() if row is not None},
                question=prepared.question,
                request=request_digest(prepared.request),
                target_ids=target,
                token_texts=token_texts(self._passes.tokenizer.decode, target, readings),
            ),
        )

    def _failure(self, error: Exception, works: Sequence[_Work]) -> Failure:
        """``error`` as one case's failure; raised instead where it concerns more than these cases."""
        names = ", ".join(work.prepared.request.case for work in works)
        if is_out_of_memory(error):
            raise EngineError(
                ErrorKind.OUT_OF_MEMORY,
                f"{len(works)} cases at once ({names}) did not fit: {error}; lower batch_size in the profile "
                f"(now {self._settings.batch_size}), or the number of tiles of the images",
            ) from error
        if self._settings.device == "cuda" and isinstance(error, RuntimeError):
            # A GPU that has reported an error answers nothing more in this process.
            raise error
        message = f"{names}: {type(error).__name__}: {error}{self._passes.advice()}"
        return Failure(kind=ErrorKind.FAILED, message=message)


def _cpu_name() -> str:
    return f"{processor_name()} ({torch.backends.cpu.get_cpu_capability()})"
