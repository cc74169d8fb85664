"""Hooks that read the stages of a model's passes, and put other states in their place.

Reading is a copy to the host, since engines go on in the tensors that they have. Putting in writes into the
tensor itself, so that whoever holds it sees it: a changed return value would reach the norm and not the
residual stream. Where a fused norm is given a sum in two parts, the sum goes into the second, which is handed
on, and the first becomes 0.

Where what is put in is disturbed, the stage that adds to it is told without that disturbance, which it hands
on and did not make.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from harness.engines.contract import Answer, Engine, Failure
from harness.engines.taps.contract import ALL, TraceOrder
from harness.engines.taps.places import INPUT, KEYWORD, LAST, ROPE, SUM, Place, Places, find
from harness.engines.taps.stages import residual

__all__ = ["Pass", "Recorder", "States", "read_states", "write_states"]

States = Mapping[str, Tensor]
"""States by stage, as they were, each with the shape that its engine gave it."""

_NEVER_PUT: Final = frozenset({"ids", "positions", "logits"})
_PIXELS: Final = "pixel_values"
_EMBEDS: Final = "inputs_embeds"


@dataclass(slots=True)
class Pass:
    """One pass: ``states`` by stage, on the host, and what the caller said of it in ``about``."""

    states: dict[str, Tensor] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)


class Recorder:
    """The hooks of one model. Between `recording` and its end they do nothing but look at a flag."""

    def __init__(
        self, model: nn.Module, model_type: str, *, about: Callable[[Mapping[str, Any]], dict[str, Any]]
    ) -> None:
        """Hook ``model``; ``about`` makes of the keywords of a pass what is to be remembered of it."""
        modules = dict(model.named_modules())
        lists = {name: len(each) for name, each in modules.items() if isinstance(each, nn.ModuleList)}
        self.places: Places = find(model_type, list(modules), lists)
        self._about = about
        self._passes: list[Pass] = []
        self._now: Pass | None = None
        self._within = False
        self._on = False
        self._on_gpu = any(each.is_cuda for each in model.parameters())
        self._put: States = {}
        self._added: dict[str, Tensor] = {}  # to what was put in, by stage
        self._order: TraceOrder | None = None
        model.register_forward_pre_hook(self._begin, with_kwargs=True)
        model.register_forward_hook(self._end)
        self._head: nn.Module | None = None
        self._cap: float | None = getattr(getattr(model, "config", None), "final_logit_softcapping", None)
        for place in self.places.places:
            self._hook(place, modules[place.module])
            if place.stage == "logits":
                self._head = modules[place.module]

    @contextmanager
    def recording(self, order: TraceOrder) -> Iterator[list[Pass]]:
        """Record all passes gone through meanwhile, into the list that it gives."""
        states = {} if order.put is None else read_states(Path(order.put))
        wanted = states if order.stages is None else {*order.stages}
        self._put = {name: each for name, each in states.items() if name in wanted and name not in _NEVER_PUT}
        self._order, self._passes, self._now, self._within, self._on = order, [], None, False, True
        self._added = {}
        try:
            yield self._passes
        finally:
            self._on, self._put, self._order = False, {}, None

    def described(self, dtype: str) -> dict[str, Any]:
        """What a tracer tells about its model: see `harness.engines.taps.contract.Tracer.about`."""
        places = self.places
        return {"family": places.family, "dtype": dtype, "stages": [place.stage for place in places.places]}

    def scored(self, engine: Engine, order: TraceOrder) -> tuple[list[Pass], Answer | Failure]:
        """All passes of the engine's own `score` of a case, behind its company, and its outcome."""
        requests = [order.request] if order.company is None else [order.company, order.request]
        with self.recording(order) as passes:
            outcomes = {outcome.case: outcome.result for outcome in engine.score(requests)}
        return passes, outcomes[order.request.case]

    def logits_of(self, norm: Tensor, count: int, *, seen: int) -> Tensor | None:
        """The last ``count`` rows of logits that the head makes of ``norm`` [S, H]; None without a head.

        It is given all rows where it was given so many only, else these alone.
        """
        if self._head is None:
            return None
        rows = norm if seen == count and len(norm) != count else norm[-count:]
        device = next(self._head.parameters()).device
        with torch.inference_mode():
            made: Tensor = self._head(rows.to(device)[None])[0]
        return _kept(self._capped(made[-count:]))

    @property
    def _seeing(self) -> bool:
        """Whether hooks are to act: not while a graph is captured, which a copy to the host would break."""
        return self._on and not (self._on_gpu and torch.cuda.is_current_stream_capturing())

    def _begin(self, module: nn.Module, args: Any, kwargs: dict[str, Any]) -> Any:  # noqa: ANN401 - PyTorch's
        del module
        if not self._seeing:
            return None
        self._start(kwargs)
        self._within = True
        if (values := kwargs.get(_PIXELS)) is not None:
            self._see("pixels", values, write=False)
            # The tensor may be the prepared one itself: another goes in.
            if (other := self._other("pixels", values)) is not None:
                return args, {**kwargs, _PIXELS: other}
        return None

    def _end(self, module: nn.Module, args: Any, output: Any) -> None:  # noqa: ANN401 - PyTorch's
        del module, args, output
        self._within = False

    def _start(self, kwargs: Mapping[str, Any]) -> None:
        self._now = Pass(about=self._about(kwargs))
        if isinstance(ids := kwargs.get("input_ids"), Tensor):
            self._now.states["ids"] = _kept(ids)
        self._passes.append(self._now)

    def _hook(self, place: Place, module: nn.Module) -> None:
        stage = place.stage
        if place.how == INPUT:
            module.register_forward_pre_hook(self._given(stage), with_kwargs=True)
        elif place.how == KEYWORD:
            module.register_forward_pre_hook(self._keyword(stage), with_kwargs=True)
        elif place.how == ROPE:
            module.register_forward_hook(self._rope, with_kwargs=True)
        else:
            module.register_forward_hook(self._returned(stage, place.how))

    def _given(self, stage: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            del module
            given = [each for each in (*args, *kwargs.values()) if isinstance(each, Tensor)]
            if self._seeing and given:
                rest = given[1] if len(given) > 1 and given[1].shape == given[0].shape else None
                self._see_sum(stage, given[0], rest)

        return hook

    def _keyword(self, stage: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            del module, args
            if not self._seeing:
                return
            if not self._within and self._now is None:
                self._start(kwargs)  # text alone may go to the language model directly
            if isinstance(embedded := kwargs.get(_EMBEDS), Tensor):
                self._see(stage, embedded)

        return hook

    def _returned(self, stage: str, how: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, output: Any) -> None:  # noqa: ANN401 - PyTorch's
            del module, args
            if not self._seeing:
                return
            found = _tensors(output)
            if how == SUM and len(found) > 1 and found[0].shape == found[1].shape:
                self._see_sum(stage, found[0], found[1])
            elif found:
                self._see(stage, found[-1] if how == LAST else found[0])

        return hook

    def _rope(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:  # noqa: ANN401 - PyTorch's
        del module
        if not self._seeing or self._now is None or "rope" in self._now.states:
            return
        if "sliding_attention" in args:
            return  # Gemma 3 turns twice, in no fixed order; LMDeploy has another module for this one
        positions = kwargs.get("position_ids", args[1] if len(args) > 1 else None)
        if isinstance(positions, Tensor):
            self._now.states.setdefault("positions", _kept(positions))
        found = _tensors(output)
        if len(found) != 2 or found[0].shape != found[1].shape:
            return
        self._now.states["rope"] = _kept(torch.cat(found, -1))
        if (other := self._other("rope", torch.cat(found, -1))) is not None:
            for part, whole in zip(found, other.chunk(2, -1), strict=True):
                part.copy_(whole)

    def _see_sum(self, stage: str, part: Tensor, rest: Tensor | None) -> None:
        if rest is None:
            self._see(stage, part)
            return
        whole = part + rest  # in the model's dtype: the very sum that a fused norm makes
        self._see(stage, whole, write=False)
        if (other := self._other(stage, whole)) is not None:
            rest.copy_(other)
            part.zero_()

    def _see(self, stage: str, state: Tensor, *, write: bool = True) -> None:
        if self._now is None or (stage in self._now.states and stage != "logits"):
            return
        self._now.states[stage] = self._without(stage, self._capped(state) if stage == "logits" else state)
        if write and (other := self._other(stage, state)) is not None:
            state.copy_(other)

    def _capped(self, logits: Tensor) -> Tensor:
        """What a model that caps its logits (Gemma 2) makes of those that its head returns."""
        return logits if self._cap is None else self._cap * torch.tanh(logits / self._cap)

    def _other(self, stage: str, state: Tensor) -> Tensor | None:
        """What is to stand in place of ``state``, in its shape and dtype; None to leave it."""
        put = self._put.get(stage)
        found = None
        if put is not None and put.numel() == state.numel():
            found = put.reshape(state.shape).to(state.device, state.dtype)
        disturb = None if self._order is None else self._order.disturb
        if disturb is not None and (stage in disturb.stages or (ALL in disturb.stages and found is not None)):
            base = (state if found is None else found).float()
            # Seeded by the stage too, else all states would be disturbed alike.
            generator = torch.Generator().manual_seed(
                disturb.seed * 1009 + len(stage) * 31 + sum(stage.encode())
            )
            noise = torch.rand(base.shape, generator=generator).to(base.device) * 2 - 1
            other = (base * (1 + disturb.size * noise)).to(state.dtype)
            if found is not None:
                self._added[stage] = other.cpu().double() - found.cpu().double()
            found = other
        return found

    def _without(self, stage: str, state: Tensor) -> Tensor:
        """A copy of ``state`` without what was added to that which it is a sum with."""
        given = residual(stage)
        added = self._added.get("tokens" if given == "inputs" and given not in self._added else given or "")
        kept = _kept(state)
        if added is None or added.numel() != kept.numel():
            return kept
        return kept.double() - added.reshape(kept.shape)


def _tensors(output: Any) -> list[Tensor]:  # noqa: ANN401 - whatever a module returns
    if isinstance(output, Tensor):
        return [output]
    if isinstance(last := getattr(output, "last_hidden_state", None), Tensor):
        return [last]
    return [each for each in output if isinstance(each, Tensor)] if isinstance(output, tuple | list) else []


def _kept(state: Tensor) -> Tensor:
    return state.detach().to("cpu", copy=True)


def write_states(file: Path, states: States) -> None:
    """Write ``states`` in full, in their dtypes."""
    from safetensors.torch import save_file

    file.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: each.contiguous() for name, each in states.items()}, str(file))


def read_states(file: Path) -> dict[str, Tensor]:
    """The inverse of `write_states`; raises OSError."""
    from safetensors.torch import load_file

    found: dict[str, Tensor] = load_file(str(file))
    return found
