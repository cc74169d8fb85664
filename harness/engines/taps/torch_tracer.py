"""Tracing a model that Transformers runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import transformers
from PIL.Image import Image
from torch import Tensor

from harness.engines.contract import Failure, Request
from harness.engines.taps.contract import ALONE, SCORE, TraceOrder
from harness.engines.taps.keeping import keep, of_another, of_answer, pictured
from harness.engines.taps.recorder import Pass, Recorder
from harness.engines.taps.sketches import Trace
from harness.engines.taps.stages import ANSWERS, of_picture
from harness.engines.torch_native import inputs
from harness.engines.torch_native.engine import TorchEngine
from harness.engines.torch_native.inputs import Forced, Prepared
from harness.errors import EngineError, ErrorKind

__all__ = ["TorchTracer", "threads", "tracer"]

_ERRORS = (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError)


def _opened(path: str) -> Image:
    opened: Image = inputs.open_image(path)  # type: ignore[attr-defined]  # whatever goes by the engine's name
    return opened


def tracer(engine: TorchEngine) -> TorchTracer:
    """The tracer of a loaded engine; its hooks are set here."""
    return TorchTracer(engine)


class TorchTracer:
    """See `harness.engines.taps.contract.Tracer`."""

    def __init__(self, engine: TorchEngine) -> None:  # noqa: D107
        self._engine = engine
        self._passes = engine._passes  # noqa: SLF001 - an engine has nothing that is there for tracing alone
        model = self._passes.model
        self._recorder = Recorder(model, str(model.config.model_type), about=lambda _: {})

    @property
    def model(self) -> transformers.PreTrainedModel:
        """The model that is looked into."""
        return self._passes.model

    def about(self) -> dict[str, Any]:  # noqa: D102
        return self._recorder.described(str(self._passes.model.dtype).removeprefix("torch."))

    def trace(self, order: TraceOrder) -> dict[str, Trace]:  # noqa: D102
        with threads(order.threads), _attention(self._passes.model, order.attention):
            return self._score(order) if order.route == SCORE else {ALONE: self._alone(order)}

    def _alone(self, order: TraceOrder) -> Trace:
        prepared = self._prepared(order.request)
        if order.prompt_ids is not None:
            prepared = _with_ids(prepared, order.prompt_ids)
        batch = [Forced(prepared, order.forced)]
        if order.company is not None:
            batch.append(Forced(self._prepared(order.company), ()))
        error, handed, count = "", None, 1 + len(order.forced)
        with torch.inference_mode(), self._recorder.recording(order) as passes:
            try:
                handed = [np.array(row) for row in self._passes.rows(batch)[0]]
            except _ERRORS as raised:
                error = f"{type(raised).__name__}: {raised}"
        if not passes:
            raise EngineError(ErrorKind.FAILED, f"{order.name}: {error or 'no pass was seen'}")
        states = _of_one(passes[-1], 0, prepared, batch[0].length, count)
        states |= pictured(order.request, states, _opened, prepared.tensors.get("pixel_values"))
        if order.other_rows and "norm" in states:
            again = self._recorder.logits_of(states["norm"], count, seen=count)
            states |= {} if again is None else {"logits": again}
        if handed is not None:
            states["handed"] = torch.from_numpy(np.stack(handed[-count:]))
        return keep(order, states, error=error)

    def _score(self, order: TraceOrder) -> dict[str, Trace]:
        """The batched pass of the path ``forward``: the last in which the case was."""
        passes, answer = self._recorder.scored(self._engine, order)
        if isinstance(answer, Failure):
            return {"forward": Trace(stages={}, error=answer.message)}
        if (another := of_another(order.request, answer)) is not None:
            return {"forward": another}
        prepared, count = self._prepared(order.request), len(answer.generated_ids)
        want = [*prepared.prompt_ids, *answer.generated_ids[:-1]]
        for one in reversed(passes):
            rows = one.states["ids"].tolist()
            if (
                index := next((i for i, row in enumerate(rows) if row[-len(want) :] == want), None)
            ) is not None:
                states = _of_one(one, index, prepared, len(want), count)
                states |= pictured(order.request, states, _opened)
                return {"forward": of_answer(answer, states, path="forward", reported=False)}
        return {}

    def _prepared(self, request: Request) -> Prepared:
        prepared = self._passes.prepare(request)
        if isinstance(prepared, Failure):
            raise EngineError(prepared.kind, prepared.message)
        return prepared


def _with_ids(prepared: Prepared, ids: tuple[int, ...]) -> Prepared:
    """The case with other ids for its prompt.

    Raises EngineError(UNSUPPORTED) if more goes along with them.
    """
    tensors = dict(prepared.tensors)
    along = {name for name, each in tensors.items() if each.shape[:2] == (1, len(prepared.prompt_ids))}
    if len(ids) != len(prepared.prompt_ids) and (more := along - {"input_ids", "attention_mask"}):
        raise EngineError(ErrorKind.UNSUPPORTED, f"{', '.join(sorted(more))} go along with the prompt's ids")
    tensors["input_ids"] = torch.tensor([ids], dtype=tensors["input_ids"].dtype)
    if "attention_mask" in tensors:
        tensors["attention_mask"] = torch.ones_like(tensors["input_ids"])
    return replace(prepared, tensors=tensors, prompt_ids=ids)


def _of_one(one: Pass, index: int, prepared: Prepared, length: int, count: int) -> dict[str, Tensor]:
    """The states of the case that is the ``index``-th of a batch of two at most, padded on the left.

    ``length`` is that of its tokens, ``count`` the number of its answer's rows.
    """
    batch = one.states["ids"].shape[0] if "ids" in one.states else 1
    found: dict[str, Tensor] = {}
    for stage, state in one.states.items():
        if of_picture(stage):
            if (piece := _picture(state, one, index, prepared)) is not None:
                found[stage] = piece
        elif stage in ANSWERS:
            found[stage] = (state[index] if state.ndim > 2 else state)[-count:]
        elif stage == "positions" and state.ndim == 3:
            found[stage] = state[:, index if state.shape[1] == batch else 0, -length:]
        elif stage in ("ids", "positions") or state.ndim == 3:
            found[stage] = state[index if state.shape[0] == batch else 0, -length:]
        elif batch == 1:
            found[stage] = state
    return found


def _picture(state: Tensor, one: Pass, index: int, prepared: Prepared) -> Tensor | None:
    """The share of a case in the pieces of all pictures, which lie in its batch's order."""
    own, all_pixels = prepared.tensors.get("pixel_values"), one.states.get("pixels")
    if own is None or all_pixels is None:
        return None
    whole = state[0] if state.shape[0] == 1 and state.ndim == 3 and len(all_pixels) > 1 else state
    per = len(whole) / len(all_pixels)
    start = 0 if index == 0 else round((len(all_pixels) - len(own)) * per)
    return whole[start : start + round(len(own) * per)]


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Compute with so many threads of the CPU meanwhile."""
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _attention(model: transformers.PreTrainedModel, name: str | None) -> Iterator[None]:
    """Have ``model`` use another implementation of attention.

    Raises EngineError(UNSUPPORTED) if it cannot.
    """
    if name is None:
        yield
        return
    change = getattr(model, "set_attn_implementation", None)
    before = str(getattr(model.config, "_attn_implementation", ""))
    if change is None or not before:
        told = f"this Transformers cannot change the attention of a {type(model).__name__} that is loaded"
        raise EngineError(ErrorKind.UNSUPPORTED, told)
    try:
        change(name)
    except (ImportError, ValueError) as error:
        raise EngineError(ErrorKind.UNSUPPORTED, f"attention {name}: {error}") from error
    try:
        yield
    finally:
        change(before)
