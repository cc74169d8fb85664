"""Tracing a model that LMDeploy's PyTorch engine runs, whatever backend is below.

A pass holds several sequences packed one behind another, in an order of the engine's own; a sequence is known
by its ids, and while it is decoded by the first page of its cache and by its positions, which go on by one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from PIL.Image import Image
from torch import Tensor

from harness.engines.contract import Failure, Request
from harness.engines.lmdeploy_pipeline import stages
from harness.engines.lmdeploy_pipeline.engine import LmdeployPipeline
from harness.engines.lmdeploy_pipeline.steps.contract import Prepared
from harness.engines.taps.contract import ALONE, SCORE, TraceOrder
from harness.engines.taps.keeping import keep, of_another, of_answer, pictured
from harness.engines.taps.recorder import Pass, Recorder
from harness.engines.taps.sketches import Trace
from harness.engines.taps.stages import ANSWERS, in_order, of_picture
from harness.engines.taps.torch_tracer import threads
from harness.errors import EngineError, ErrorKind

__all__ = ["LmdeployTracer", "tracer"]

_PLACES = ("image_token_id", "image_token_index", "img_context_token_id")


def _opened(path: str) -> Image:
    opened: Image = stages.open_image(path)  # type: ignore[attr-defined]  # whatever goes by the engine's name
    return opened


def _pixels(prepared: Prepared) -> Tensor | None:
    """The pixels as LMDeploy prepared them, one image behind another; None where it shows none."""
    items = prepared.inputs.get("multimodal") or []
    found = [each.get("pixel_values") for each in items if isinstance(each, Mapping)]
    there = [each for each in found if isinstance(each, Tensor)]
    return torch.cat(there) if there else None


def tracer(engine: LmdeployPipeline) -> LmdeployTracer:
    """The tracer of a loaded engine; its hooks are set here.

    Raises EngineError(UNSUPPORTED) where the model's modules cannot be reached.
    """
    return LmdeployTracer(engine)


class LmdeployTracer:
    """See `harness.engines.taps.contract.Tracer`."""

    def __init__(self, engine: LmdeployPipeline) -> None:  # noqa: D107
        self._engine = engine
        self._steps = engine._steps  # noqa: SLF001 - an engine has nothing that is there for tracing alone
        self._stages = engine._stages  # noqa: SLF001
        inner: Any = getattr(getattr(engine, "_engine", None), "engine", None)
        agent = getattr(getattr(inner, "executor", None), "model_agent", None)
        patched = getattr(agent, "patched_model", None)
        if patched is None:
            raise EngineError(
                ErrorKind.UNSUPPORTED,
                f"no stage can be read within LMDeploy's {engine._backend} engine here: its model runs in "  # noqa: SLF001
                "C++ or in processes of its own",
            )
        self.model = patched.get_model() if hasattr(patched, "get_model") else patched
        config = inner.model_config.hf_config
        self._dtype = str(inner.model_config.dtype).removeprefix("torch.")
        self._image_id = next(
            (found for name in _PLACES if isinstance(found := getattr(config, name, None), int)), None
        )
        self._recorder = Recorder(self.model, str(config.model_type), about=self._about_pass)

    def about(self) -> dict[str, Any]:  # noqa: D102
        return self._recorder.described(self._dtype)

    def trace(self, order: TraceOrder) -> dict[str, Trace]:  # noqa: D102
        if order.attention is not None:
            raise EngineError(
                ErrorKind.UNSUPPORTED, "LMDeploy's attention cannot be changed once it is loaded"
            )
        with threads(order.threads):
            return self._score(order) if order.route == SCORE else {ALONE: self._alone(order)}

    def _about_pass(self, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        metadata = kwargs.get("attn_metadata")
        if metadata is None:
            return {}
        pages = getattr(metadata, "block_offsets", None)
        return {
            "lengths": [int(each) for each in metadata.q_seqlens],
            "decoding": bool(metadata.is_decoding),
            "pages": [] if pages is None else [int(each) for each in pages[:, 0]],
        }

    def _alone(self, order: TraceOrder) -> Trace:
        company = [] if order.company is None else [(order.company, (), None)]
        with self._recorder.recording(order) as passes:
            (prepared, rows), *_ = self._engine._in_loop(  # noqa: SLF001
                self._forced([(order.request, order.forced, order.prompt_ids), *company])
            ).result()
        self._engine._check_alive()  # noqa: SLF001
        want, count = [*prepared.ids, *order.forced], 1 + len(order.forced)
        states = self._prefilled(passes, want, count)
        if states is None:
            if not passes:
                raise EngineError(ErrorKind.FAILED, f"{order.name}: no pass was seen: {rows}")
            # A fault may have changed the very ids: what went through is the evidence.
            states = self._of_one(passes[-1], 0, count)
        states |= pictured(order.request, states, _opened, _pixels(prepared))
        if order.other_rows and "norm" in states:
            seen = passes[-1].states["logits"].shape[-2] if "logits" in passes[-1].states else count
            again = self._recorder.logits_of(states["norm"], count, seen=seen)
            states |= {} if again is None else {"logits": again}
        if isinstance(rows, Tensor):
            states["handed"] = rows[-count:].detach().cpu()
        return keep(order, states, error="" if isinstance(rows, Tensor) else str(rows))

    async def _forced(
        self, wanted: Sequence[tuple[Request, Sequence[int], Sequence[int] | None]]
    ) -> list[tuple[Prepared, Tensor | Exception]]:
        async def one(
            request: Request, ids: Sequence[int], prompt: Sequence[int] | None
        ) -> tuple[Prepared, Tensor | Exception]:
            prepared = await self._steps.prepare(await self._stages.conversation(request))
            try:
                if prompt is not None:
                    prepared = self._with_ids(prepared, prompt)
                rows = await self._steps.rows_behind(prepared, ids, temperature=stages.STAGE_TWO_TEMPERATURE)
            except EngineError as error:
                return prepared, error
            finally:
                self._steps.forget(prepared)
            return prepared, rows

        try:
            return list(await asyncio.gather(*(one(*each) for each in wanted)))
        finally:
            self._steps.reset()

    def _with_ids(self, prepared: Prepared, ids: Sequence[int]) -> Prepared:
        """The case with other ids for its prompt; LMDeploy has been told where its pictures stand."""
        places = [[each == self._image_id for each in held] for held in (prepared.ids, ids)]
        if prepared.has_image and places[0] != places[1]:
            raise EngineError(ErrorKind.UNSUPPORTED, "the places of the image are others in these ids")
        return replace(prepared, inputs={**prepared.inputs, "input_ids": list(ids)})

    def _score(self, order: TraceOrder) -> dict[str, Trace]:
        passes, answer = self._recorder.scored(self._engine, order)
        if isinstance(answer, Failure):
            return {"generation": Trace(stages={}, error=answer.message)}
        if (another := of_another(order.request, answer)) is not None:
            return {"generation": another}
        prompt, count = list(answer.prompt_ids), len(answer.generated_ids)
        found: dict[str, Trace] = {}
        if (states := self._generated(passes, prompt, count)) is not None:
            states |= pictured(order.request, states, _opened)
            found["generation"] = of_answer(answer, states, path=self._steps.first, reported=True)
        behind = [*prompt, *answer.generated_ids[:-1]]
        later = passes[-1:] if found and len(behind) == len(prompt) else passes
        if "two-stage" in self._engine._paths and (two := self._prefilled(later, behind, count)) is not None:  # noqa: SLF001
            two |= pictured(order.request, two, _opened)
            found["stage two"] = of_answer(answer, two, path="two-stage", reported=False)
        return found

    def _prefilled(self, passes: Sequence[Pass], want: Sequence[int], count: int) -> dict[str, Tensor] | None:
        """The last prefill of the sequence ``want``, None where there was none."""
        for one in reversed(passes):
            if not one.about.get("decoding") and (index := _index(one, want)) is not None:
                return self._of_one(one, index, count)
        return None

    def _generated(
        self, passes: Sequence[Pass], prompt: Sequence[int], count: int
    ) -> dict[str, Tensor] | None:
        """The first prefill of the sequence ``prompt``, with the steps of its decoding behind it."""
        joined: dict[str, Tensor] | None = None
        page = None
        for one in passes:
            if not one.about.get("decoding"):
                if joined is None and (index := _index(one, prompt)) is not None:
                    joined, page = self._of_one(one, index, 1), one.about["pages"][index]
                continue
            pages = one.about["pages"]
            if joined is None or page not in pages or len(joined["logits"]) >= count:
                continue
            step = self._of_one(one, pages.index(page), 1)
            if int(step["positions"].max()) != int(joined["positions"].max()) + 1:
                continue  # another sequence on the same page, or a step scheduled beyond the end
            for stage, state in step.items():
                if stage in joined and not of_picture(stage):
                    joined[stage] = torch.cat([joined[stage], state], dim=-1 if state.ndim == 1 else 0)
        return joined

    def _of_one(self, one: Pass, index: int, count: int) -> dict[str, Tensor]:
        """The states of the ``index``-th sequence of a pass, tokens first; ``count`` rows of its answer."""
        lengths: list[int] = one.about.get("lengths") or [one.states["ids"].numel()]
        start, length = sum(lengths[:index]), lengths[index]
        ids = one.states["ids"].reshape(-1)
        found: dict[str, Tensor] = {}
        for stage in in_order(one.states):
            state = one.states[stage]
            if of_picture(stage):
                piece = state if len(lengths) == 1 else self._picture(state, ids, start, length)
                if piece is not None:
                    found[stage] = piece
            elif stage in ("ids", "positions"):
                flat = state.reshape(-1, ids.numel())[:, start : start + length]
                found[stage] = flat[0] if len(flat) == 1 else flat
            else:
                rows = state.reshape(-1, state.shape[-1])
                if len(rows) == ids.numel():
                    rows = rows[start : start + length]
                elif stage in ANSWERS:
                    rows = rows[index : index + 1]  # the last row of each sequence only
                elif len(lengths) > 1:
                    continue
                found[stage] = rows[-count:] if stage in ANSWERS else rows
        return found

    def _picture(self, state: Tensor, ids: Tensor, start: int, length: int) -> Tensor | None:
        """A sequence's share of the pieces of all pictures, by its share of their places in the prompts."""
        if self._image_id is None:
            return None
        places = ids == self._image_id
        total, own = int(places.sum()), int(places[start : start + length].sum())
        if not own:
            return None
        whole = state[0] if state.shape[0] == 1 and state.ndim == 3 else state
        first = round(len(whole) * int(places[:start].sum()) / total)
        return whole[first : first + round(len(whole) * own / total)]


def _index(one: Pass, want: Sequence[int]) -> int | None:
    """Which of a pass's sequences is ``want``."""
    ids, start = one.states["ids"].reshape(-1).tolist(), 0
    for index, length in enumerate(one.about.get("lengths", ())):
        if ids[start : start + length] == list(want):
            return index
        start += length
    return None
