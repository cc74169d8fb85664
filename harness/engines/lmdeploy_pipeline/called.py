"""The engine ``lmdeploy`` where the pipeline is called: TurboMind, and LMDeploy 0.5 to 0.11 on either engine.

Which paths there are is found out at load, by what the pipeline and its ``GenerationConfig`` have, never by
LMDeploy's version. Shapes: T generated tokens, V columns of the logits.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.engines.contract import Answer, EngineSettings, Entry, Failure, Json, Outcome, Question, Request
from harness.engines.letters import LetterIds, LetterResolver
from harness.engines.lmdeploy_pipeline.backends import backend_in_force, version
from harness.engines.lmdeploy_pipeline.described import described, hub_tokenizer, probe_image, takes_images
from harness.engines.lmdeploy_pipeline.endings import stop_ids, to_the_end
from harness.engines.lmdeploy_pipeline.eras import Messages, Pipe, core_of
from harness.engines.lmdeploy_pipeline.first_pass import WAYS, FirstPass, Generated
from harness.engines.lmdeploy_pipeline.options import PYTORCH, STEPWISE, TWO_STAGE, stage_two
from harness.engines.lmdeploy_pipeline.prepared import IMAGE_TOKEN, Prepared, called_messages, prompt_source
from harness.engines.lmdeploy_pipeline.prompts import check_length, open_image, placeholder_id, preparing
from harness.engines.lmdeploy_pipeline.second_pass import second_pass
from harness.engines.lmdeploy_pipeline.tiles import image_options
from harness.engines.lmdeploy_pipeline.turbomind import NO_TOP_K, TURBOMIND
from harness.engines.questions import question
from harness.engines.readings import read_rows
from harness.errors import EngineError, ErrorKind, LettersError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["CalledPipeline"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """A request on its way into the pipeline."""

    request: Request
    messages: Messages
    prepared: Prepared
    letters: LetterIds
    steps: int
    question: Question
    seconds: float


class CalledPipeline:
    """A loaded pipeline, called with ``batch_size`` cases at a time where each brings its own rows."""

    def __init__(self, settings: EngineSettings, pipe: Pipe) -> None:
        """Find the paths, and try each with one token and an image.

        Raises EngineError: LOAD where LMDeploy chose another engine than was asked for, or lacks a path;
        UNSUPPORTED for settings that this pipeline cannot honour.
        """
        self._settings = settings
        self._pipe = pipe
        self._core = core_of(pipe)
        self._backend = backend_in_force(settings, pipe)
        self.tokenizer = hub_tokenizer(self._core)
        self._resolver = LetterResolver(self.tokenizer)
        self._source = prompt_source(pipe)
        self._image_options = image_options(self._core, settings.max_tiles)
        self._stops = stop_ids(self._core)
        self._first = FirstPass(pipe, self._backend, stops=self._stops, top_k=settings.top_k)
        self._second = second_pass(pipe)
        self._ways = self._find_ways()
        self._paths = self._chosen_paths()
        self._limits = {"session_len": int(self._core.session_len)}
        if self._backend == PYTORCH and TWO_STAGE in self._paths:
            # Prefilled in chunks, the last row of each is spoilt.
            self._limits["max_prefill_token_num"] = self._core.backend_config.max_prefill_token_num
        self._check_settings()
        self._logits = self._probe()
        self._described = described(settings, self._core, self.tokenizer)

    def _find_ways(self) -> dict[str, str]:
        ways = {} if self._first.path is None else {self._first.path: WAYS[self._first.path]}
        if self._second is not None and not self._loses_image():
            ways[TWO_STAGE] = self._second.way
        if not ways:
            raise EngineError(
                ErrorKind.LOAD,
                f"LMDeploy {version()} gives no full logits on its {self._backend} engine by any way known "
                "here (get_logits, output_logits, logits_processors). Use TurboMind ('backend: turbomind') "
                "or another version: docs/lmdeploy.md says what each gives",
            )
        return ways

    def _loses_image(self) -> bool:
        """Whether stage two would have no image: 0.6.5 hands back none for the PyTorch engine.

        Raises EngineError(LOAD) for one that does not even get into the prompt.
        """
        if not takes_images(self._core):
            return False
        request = Request(case="probe", prompt="A", letters=("A",))
        without = self._source(called_messages(request, None))
        beside = self._source(called_messages(request, probe_image(), self._image_options))
        if len(beside.ids) <= len(without.ids):
            raise EngineError(
                ErrorKind.LOAD,
                f"no image got into LMDeploy's prompt: it has {len(beside.ids)} tokens with one and "
                f"{len(without.ids)} without; allowed: more with an image than without",
            )
        return not beside.has_image

    def _chosen_paths(self) -> tuple[str, ...]:
        lost = [path for path in self._settings.paths if path not in self._ways]
        if lost:
            raise EngineError(
                ErrorKind.LOAD,
                f"paths: LMDeploy {version()} has no path {', '.join(lost)} on its {self._backend} engine; "
                f"allowed: {', '.join(self._ways)}. Write 'paths: [{', '.join(self._ways)}]' for this engine "
                "in the profile",
            )
        return self._settings.paths or tuple(self._ways)

    def _check_settings(self) -> None:
        reports = hasattr(self._core.backend_config, "logprobs_mode")
        if self._backend == PYTORCH and self._settings.top_k and not reports:
            raise EngineError(
                ErrorKind.UNSUPPORTED,
                f"top_k: found {self._settings.top_k}; allowed: 0, since the PyTorch engine of LMDeploy "
                f"{version()} reports no log-probabilities. Write 'top_k: 0' for this engine in the profile; "
                "its paths give the whole distribution",
            )
        width = getattr(getattr(self._core.engine, "model_config", None), "vocab_size", None)
        if isinstance(width, int) and self._settings.top_k > width:
            raise EngineError(
                ErrorKind.UNSUPPORTED,
                f"top_k: found {self._settings.top_k}; allowed: 0 to {width}, the vocabulary (more would "
                "end LMDeploy's engine loop). Set top_k of this engine in the profile",
            )

    def _probe(self) -> dict[str, Json]:
        """One token, of an image where the model takes one: one row from each path, equally wide."""
        try:
            rows = self._probed_rows()
        except EngineError as error:
            raise EngineError(
                ErrorKind.LOAD, f"LMDeploy failed at its first token: {error.message}"
            ) from error
        shapes = {path: tuple(each.shape) for path, each in rows.items()}
        if len(set(shapes.values())) != 1 or any(
            len(shape) != 2 or shape[0] != 1 for shape in shapes.values()
        ):
            raise EngineError(
                ErrorKind.LOAD,
                f"one greedy token brought logits of shape {shapes} from LMDeploy {version()}; allowed: one "
                "row of the same width from each path",
            )
        dtypes = {path: str(each.dtype).removeprefix("torch.") for path, each in rows.items()}
        width = next(iter(shapes.values()))[1]
        return {"dtype": "+".join(sorted(set(dtypes.values()))), "width": width, "dtypes": {**dtypes}}

    def _probed_rows(self) -> dict[str, Tensor]:
        request = Request(case="probe", prompt="A", letters=("A",))
        image = probe_image() if takes_images(self._core) else None
        messages = called_messages(request, image, self._image_options)
        (generated,) = self._first.run([(messages, 1)], with_rows=self._rows_come_first)
        if isinstance(generated, EngineError):
            raise generated
        rows = {} if generated.rows is None else {str(self._first.path): generated.rows}
        if TWO_STAGE in self._paths:
            rows[TWO_STAGE] = self._second_rows(self._source(messages), generated.ids, 1)
        return rows

    def fingerprint(self) -> dict[str, Json]:
        """Device, dtypes, the options in force, the way that each path takes, and what nobody verified."""
        return {
            **self._described,
            "backend": self._backend,
            "paths": {path: self._ways[path] for path in self._paths},
            "log_probabilities": NO_TOP_K if self._backend == TURBOMIND else "raw, of the top_k",
            "limits": {**self._limits},
            "logits": {**self._logits},
            "stop_ids": [*sorted(self._stops)],
            "stage_two": stage_two(self._settings),
        }

    def score(self, requests: Sequence[Request]) -> Iterator[Outcome]:
        """Yield one outcome per request, in their order but for those that fail before they enter LMDeploy.

        Raises whatever the pipeline itself raises: it concerns the whole batch.
        """
        size = self._settings.batch_size
        for start in range(0, len(requests), size):
            cases = []
            for request in requests[start : start + size]:
                try:
                    cases.append(self._prepare(request))
                except LettersError as error:
                    yield Outcome(request.case, Failure(kind=ErrorKind.LETTERS, message=str(error)))
                except EngineError as error:
                    yield Outcome(request.case, _failure(request, error))
            yield from self._score(cases)

    def close(self) -> None:
        """Free what the pipeline holds, where it can be told to."""
        close = getattr(self._pipe, "close", None)
        if close is not None:
            close()

    def _score(self, cases: Sequence[_Case]) -> Iterator[Outcome]:
        started = time.perf_counter()
        work = [(case.messages, case.steps) for case in cases]
        for case, generated in zip(
            cases, self._first.run(work, with_rows=self._rows_come_first), strict=True
        ):
            seconds = {"prepare": case.seconds, "stage one": time.perf_counter() - started}
            try:
                if isinstance(generated, EngineError):
                    raise generated
                yield Outcome(case.request.case, self._answer(case, generated, seconds))
            except EngineError as error:
                yield Outcome(case.request.case, _failure(case.request, error))
            started = time.perf_counter()

    @property
    def _rows_come_first(self) -> bool:
        return self._first.path in self._paths

    def _prepare(self, request: Request) -> _Case:
        started = time.perf_counter()
        if IMAGE_TOKEN in request.prompt:
            raise EngineError(
                ErrorKind.FAILED,
                f"the prompt holds {IMAGE_TOKEN}, where LMDeploy would put the image; allowed: nothing "
                "of the sort. Take it out of the case's text",
            )
        image = None if request.image is None else open_image(request.image)
        messages = called_messages(request, image, self._image_options)
        with preparing():
            prepared = self._source(messages)
        if request.image is not None:
            self._check_image(prepared)
        text = prepared.text or self.tokenizer.decode(list(prepared.ids), skip_special_tokens=False)
        letters = self._resolver.resolve(text, request.letters, answer_prefix=request.answer_prefix)
        steps = request.max_new_tokens or len(letters.prefix_ids) + 1
        check_length(len(prepared.ids), steps, self._limits)
        return _Case(
            request=request,
            messages=messages,
            prepared=prepared,
            letters=letters,
            steps=steps,
            question=self._asked(prepared, text, image=image is not None),
            seconds=time.perf_counter() - started,
        )

    def _asked(self, prepared: Prepared, text: str, *, image: bool) -> Question:
        """The question; of the image its pixels where LMDeploy hands them on, not embeddings of them."""
        items = prepared.inputs.get("multimodal") or ()
        values = [item.get("pixel_values") for item in items]
        shown = all(hasattr(each, "cpu") for each in values) and bool(values) == image
        mark = placeholder_id(self._core)
        token = None if mark is None else str(self.tokenizer.convert_ids_to_tokens(mark))
        return question(
            text=text,
            prompt_ids=prepared.ids,
            placeholder=IMAGE_TOKEN if IMAGE_TOKEN in text else token,
            pixels=[each.float().cpu().numpy() for each in values] if shown else None,
        )

    def _check_image(self, prepared: Prepared) -> None:
        # What is prepared tells of its image wherever stage two could have it.
        if TWO_STAGE in self._ways and not prepared.has_image:
            raise EngineError(
                ErrorKind.FAILED,
                "no image got into LMDeploy's engine: its chat template dropped it, or the model takes text "
                "only",
            )

    def _answer(self, case: _Case, generated: Generated, seconds: dict[str, float]) -> Answer:
        ids = generated.ids
        rows = {} if generated.rows is None else {str(self._first.path): generated.rows}
        if TWO_STAGE in self._paths:
            started = time.perf_counter()
            if generated.rows is None:
                found = self._second_rows(case.prepared, ids, len(ids) + 1)[: case.steps]
                ids = to_the_end(ids, found, stops=self._stops)
                rows[TWO_STAGE] = found[: len(ids)]
            else:
                rows[TWO_STAGE] = self._second_rows(case.prepared, ids, len(ids))
            seconds = {**seconds, "stage two": time.perf_counter() - started}
        step = case.letters.answer_step(ids)
        by_path = {path: np.asarray(rows[path].float().cpu().numpy()) for path in self._paths}
        return Answer(
            prompt_ids=case.prepared.ids,
            generated_ids=ids,
            text=self.tokenizer.decode(list(ids), skip_special_tokens=True),
            letter_ids=case.letters.ids,
            answer_step=step,
            readings=tuple(
                read_rows(path, each, ids, letter_ids=case.letters, top_k=self._settings.top_k)
                for path, each in by_path.items()
            ),
            reported_top=() if step is None else self._reported(generated.logprobs, step),
            reported_logprobs=_chosen(generated.logprobs, ids),
            seconds=seconds,
            rows={} if step is None else {path: each[step].copy() for path, each in by_path.items()},
            question=case.question,
        )

    def _second_rows(self, prepared: Prepared, ids: Sequence[int], count: int) -> Tensor:
        """Stage two: rows [count, V] behind the prompt and each of the first ``count - 1`` ids."""
        import torch

        if self._second is None:  # then there is no such path
            raise EngineError(ErrorKind.UNSUPPORTED, "this LMDeploy has no stage two")
        prompt = prepared.ids
        if stage_two(self._settings) == STEPWISE:
            steps = [(*prompt, *ids[:step]) for step in range(count)]
            return torch.stack([self._second.logits(prepared, each)[-1].clone() for each in steps])
        logits = self._second.logits(prepared, (*prompt, *ids[: count - 1]))
        return logits[len(prompt) - 1 :].clone()

    def _reported(self, logprobs: Sequence[Mapping[int, float]], step: int) -> tuple[Entry, ...]:
        if not logprobs:
            return ()
        entries = (Entry(int(token), float(value)) for token, value in logprobs[step].items())
        return tuple(sorted(entries, key=lambda entry: -entry.logprob)[: self._settings.top_k])


def _chosen(logprobs: Sequence[Mapping[int, float]], ids: Sequence[int]) -> tuple[float, ...]:
    """The log-probabilities of the ids; none where there are not as many."""
    if len(logprobs) != len(ids):
        return ()
    return tuple(float(entries[token]) for token, entries in zip(ids, logprobs, strict=True))


def _failure(request: Request, error: EngineError) -> Failure:
    return Failure(kind=error.kind, message=f"{request.case}: {error.message}")
