"""Stage one by call: ``pipe(messages, gen_config=...)`` with greedy decoding, and the rows that come with it.

Shapes: T generated tokens, V columns of the logits.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from harness.engines.lmdeploy_pipeline.capture import Capture
from harness.engines.lmdeploy_pipeline.endings import to_the_end
from harness.engines.lmdeploy_pipeline.eras import Called, Messages, Pipe
from harness.engines.lmdeploy_pipeline.options import CAPTURED
from harness.engines.lmdeploy_pipeline.turbomind import GENERATION, TURBOMIND
from harness.errors import EngineError, ErrorKind

if TYPE_CHECKING:
    from lmdeploy import GenerationConfig
    from torch import Tensor

__all__ = ["WAYS", "FirstPass", "Generated"]

WAYS: Final[Mapping[str, str]] = {
    GENERATION: "pipe(...) with output_logits=generation",
    CAPTURED: "pipe(...) with a logits processor, one case at a time",
}
"""How each path of stage one goes about it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Generated:
    """One answer. Without ``rows`` [T, V] its ``ids`` may lack a stop token at their end.

    ``logprobs`` [T] map ids to raw log-probabilities, or are empty.
    """

    ids: tuple[int, ...]
    rows: Tensor | None
    logprobs: tuple[Mapping[int, float], ...]


class FirstPass:
    """Calls one pipeline; ``path`` is the way to full rows that a call has, None where it has none."""

    def __init__(self, pipe: Pipe, backend: str, *, stops: frozenset[int], top_k: int) -> None:
        """``top_k`` log-probabilities are asked of the PyTorch engine; TurboMind has none to give."""
        from lmdeploy import GenerationConfig

        self._pipe = pipe
        self._turbomind = backend == TURBOMIND
        self._stops = stops
        self._top_k = 0 if self._turbomind else top_k
        self._known = {field.name for field in dataclasses.fields(GenerationConfig)}
        path, option = (GENERATION, "output_logits") if self._turbomind else (CAPTURED, "logits_processors")
        self.path = path if option in self._known else None

    def run(
        self, cases: Sequence[tuple[Messages, int]], *, with_rows: bool
    ) -> Iterator[Generated | EngineError]:
        """One result for each conversation and its number of steps, in their order."""
        at_once = max(1, len(cases)) if self.path == GENERATION or not with_rows else 1
        for start in range(0, len(cases), at_once):
            yield from self._run(cases[start : start + at_once], with_rows=with_rows)

    def _run(
        self, cases: Sequence[tuple[Messages, int]], *, with_rows: bool
    ) -> Iterator[Generated | EngineError]:
        captures = [Capture(steps) if with_rows and self.path == CAPTURED else None for _, steps in cases]
        options = [
            self._greedy(steps, capture, with_rows=with_rows)
            for (_, steps), capture in zip(cases, captures, strict=True)
        ]
        responses = self._pipe([conversation for conversation, _ in cases], gen_config=options)
        for (_, steps), capture, response in zip(cases, captures, responses, strict=True):
            try:
                yield self._read(response, steps, capture, with_rows=with_rows)
            except EngineError as error:
                yield error

    def _greedy(self, steps: int, capture: Capture | None, *, with_rows: bool) -> GenerationConfig:
        """Greedy decoding for every version: ``do_sample`` came with 0.6, and 0.5 sampled without top_k=1."""
        from lmdeploy import GenerationConfig

        options: dict[str, Any] = {"max_new_tokens": steps, "top_k": 1, "top_p": 1.0, "temperature": 1.0}
        if "do_sample" in self._known:
            options["do_sample"] = False
        if self._turbomind and self.path == GENERATION:
            # An answer's last row goes with the stop token, so that one that ends at once would have none.
            # LMDeploy from 0.10.2 offers include_stop_str_in_output, which fails with logits until 0.11.
            options["ignore_eos"] = True
            if with_rows:
                options["output_logits"] = "generation"
        elif "include_stop_str_in_output" in self._known:
            options["include_stop_str_in_output"] = True
        if capture is not None:
            options["logits_processors"] = [capture.processor()]
        if self._top_k:
            options["logprobs"] = self._top_k
        return GenerationConfig(**options)

    def _read(
        self, response: Called | None, steps: int, capture: Capture | None, *, with_rows: bool
    ) -> Generated:
        reason = None if response is None else response.finish_reason
        if response is None or reason not in ("stop", "length"):
            words = getattr(response, "error_message", None) or getattr(response, "text", "")
            raise EngineError(ErrorKind.FAILED, f"stage one ended with finish_reason {reason!r}: {words}")
        ids = tuple(int(token) for token in response.token_ids)
        rows = None
        if with_rows:
            rows = (
                self._generated_rows(response, ids)
                if capture is None
                else self._captured(capture, ids, steps)
            )
            ids = to_the_end(ids, rows, stops=self._stops)
            rows = rows[: len(ids)].clone()  # a mere slice would keep the other rows' memory
        elif self._turbomind and self.path == GENERATION:
            ids = _until_stop(ids, self._stops)
        logprobs = tuple(response.logprobs or ())[: len(ids)]
        return Generated(ids=ids, rows=rows, logprobs=logprobs if len(logprobs) == len(ids) else ())

    def _generated_rows(self, response: Called, ids: Sequence[int]) -> Tensor:
        rows = getattr(response, "logits", None)
        shape = None if rows is None else tuple(rows.shape)
        if rows is None or rows.ndim != 2 or len(rows) != len(ids):
            raise EngineError(
                ErrorKind.FAILED,
                f"output_logits='generation' brought logits of shape {shape} for {len(ids)} generated "
                "tokens; allowed: one row each",
            )
        return rows

    def _captured(self, capture: Capture, ids: tuple[int, ...], steps: int) -> Tensor:
        import torch

        if torch.cuda.is_available():
            torch.cuda.synchronize()  # the rows were copied in the stream of the engine's thread
        ended = len(ids) == steps or (bool(ids) and ids[-1] in self._stops)
        return capture.rows(ids if ended else (*ids, -1))


def _until_stop(ids: tuple[int, ...], stops: frozenset[int]) -> tuple[int, ...]:
    ends = [step for step, token in enumerate(ids) if token in stops]
    return ids[: ends[0] + 1] if ends else ids
