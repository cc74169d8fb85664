"""What a tracer is asked for and what it gives back. Standard library only.

An engine that can be traced has a tracer beside it (`TRACERS`); one that has none shows its question and its
rows only, between which a fault can be bracketed and not placed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from harness.engines.codec import request_from_json, request_to_json
from harness.engines.contract import Request

if TYPE_CHECKING:
    from harness.engines.taps.sketches import Trace

__all__ = [
    "ALL",
    "ALONE",
    "SCORE",
    "TRACERS",
    "Disturb",
    "TraceOrder",
    "Tracer",
    "order_from_json",
    "order_to_json",
]

TRACERS: Final[Mapping[str, str]] = {
    "lmdeploy": "harness.engines.taps.lmdeploy_tracer",
    "torch": "harness.engines.taps.torch_tracer",
}
"""The module behind each kind of engine that can be traced; it offers ``tracer(engine) -> Tracer``."""

ALONE: Final = "alone"
"""The route of one pass over the prompt and forced ids."""
SCORE: Final = "score"
"""The routes that the engine's own `score` takes, each traced."""
ALL: Final = "all"
"""Every stage that is put in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Disturb:
    """States times 1 + u, u uniform in ±``size``, at ``stages`` (`ALL`: wherever something is put in)."""

    stages: tuple[str, ...]
    size: float
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceOrder:
    """One case to be traced.

    ``forced`` are the ids behind the prompt, the baseline's own. ``letter_ids`` [L] and ``answer_step``, the
    index of the answer's row among the 1 + ids forced rows, say where the letters are read. ``company`` is
    put beside it in the same batch. ``put`` is a file of states of `recorder`, those of ``stages`` (None:
    all) being put in place of what was computed, once that is recorded; ``keep`` where this pass's states go
    in full. ``attention`` and ``threads`` are set for this pass, where the engine can.
    ``other_rows`` has the logits made once more by the model's head, out of another number of rows at once.
    ``prompt_ids`` stand in place of those of the prompt, whose text is then not looked at.
    """

    name: str
    request: Request
    forced: tuple[int, ...]
    letter_ids: tuple[int, ...]
    answer_step: int | None
    route: str = ALONE
    company: Request | None = None
    put: str | None = None
    stages: tuple[str, ...] | None = None
    disturb: Disturb | None = None
    keep: str | None = None
    attention: str | None = None
    threads: int | None = None
    other_rows: bool = False
    prompt_ids: tuple[int, ...] | None = None


class Tracer(Protocol):
    """Traces cases with one loaded engine."""

    def about(self) -> dict[str, Any]:
        """``family`` (None: matched by order and shape), ``dtype``, ``stages`` that the model has."""
        ...

    def trace(self, order: TraceOrder) -> dict[str, Trace]:
        """What was seen, by route: `ALONE`, or the routes of a `score` in the order in which they were gone.

        Raises EngineError: UNSUPPORTED for what this engine cannot be asked for, FAILED.
        """
        ...


def order_to_json(order: TraceOrder) -> dict[str, Any]:
    """``order`` for a worker."""
    disturb = order.disturb
    return {
        "name": order.name,
        "request": request_to_json(order.request),
        "forced": list(order.forced),
        "letter_ids": list(order.letter_ids),
        "answer_step": order.answer_step,
        "route": order.route,
        "company": None if order.company is None else request_to_json(order.company),
        "put": order.put,
        "stages": None if order.stages is None else list(order.stages),
        "disturb": None if disturb is None else [list(disturb.stages), disturb.size, disturb.seed],
        "keep": order.keep,
        "attention": order.attention,
        "threads": order.threads,
        "other_rows": order.other_rows,
        "prompt_ids": None if order.prompt_ids is None else list(order.prompt_ids),
    }


def order_from_json(data: Mapping[str, Any]) -> TraceOrder:
    """The inverse of `order_to_json`."""
    disturb, company, stages = data["disturb"], data["company"], data["stages"]
    return TraceOrder(
        name=data["name"],
        request=request_from_json(data["request"]),
        forced=tuple(data["forced"]),
        letter_ids=tuple(data["letter_ids"]),
        answer_step=data["answer_step"],
        route=data["route"],
        company=None if company is None else request_from_json(company),
        put=data["put"],
        stages=None if stages is None else tuple(stages),
        disturb=None
        if disturb is None
        else Disturb(stages=tuple(disturb[0]), size=disturb[1], seed=disturb[2]),
        keep=data["keep"],
        attention=data["attention"],
        threads=data["threads"],
        other_rows=data["other_rows"],
        prompt_ids=None if data["prompt_ids"] is None else tuple(data["prompt_ids"]),
    )
