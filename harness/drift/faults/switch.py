"""The switch of the faults, for a worker: ``patch`` files call it.

    from harness.drift.faults import switch
    switch.on("rope_base", "middle")

Called before an engine is loaded, as a profile's ``patch`` is, the fault is planted as soon as it is. In a
worker that has one it is planted at once, in the place of another, and `off` takes it out again to the bit.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from harness.drift.faults.catalogue import Fault, fault_named
from harness.engines.contract import Engine, EngineSettings, Failure, Outcome, Request
from harness.errors import ErrorKind, HarnessError
from harness.workers.serving import ENGINE_MODULES

if TYPE_CHECKING:
    from harness.drift.faults.ground import Ground

__all__ = ["TURN", "off", "on", "stay"]

TURN: Final = "harness.drift.faults.switch"
"""The case by which an engine that stays is told what to switch: its prompt is a JSON list, empty for off."""

_grounds: dict[str, Ground] = {}


def on(name: str, size: str) -> None:
    """Plant the fault ``name`` in its engine, now or as soon as that is loaded.

    Raises UnknownName for a name or a size that there is not, HarnessError where another engine than the
    fault's was loaded.
    """
    fault = fault_named(name)
    fault.amount(size, "float32")
    if _grounds:
        _plant(fault, size)
    else:
        _when_loaded(fault.side, lambda: _plant(fault, size))


def off() -> None:
    """Take out what is planted."""
    for ground in _grounds.values():
        ground.clear()


def stay(side: str) -> None:
    """Have the engine that is loaded next take the case `TURN` as an order to switch."""
    _when_loaded(side, lambda: None, _Turning)


class _Turning:
    """An engine that is told between its cases what to switch; see `harness.engines.contract.Engine`."""

    def __init__(self, engine: Engine) -> None:
        self.within = engine
        self.fingerprint, self.close = engine.fingerprint, engine.close

    def score(self, requests: Sequence[Request]) -> Iterator[Outcome]:
        """As the engine, but for an order, whose outcome is a failure that says what is on."""
        if [request.case for request in requests] != [TURN]:
            yield from self.within.score(requests)
            return
        off()
        if order := json.loads(requests[0].prompt):
            on(*order)
        yield Outcome(TURN, Failure(kind=ErrorKind.FAILED, message=requests[0].prompt))


def _when_loaded(
    side: str, then: Callable[[], None], wrapped: Callable[[Engine], Engine] | None = None
) -> None:
    module: Any = importlib.import_module(ENGINE_MODULES[side])
    load = module.load

    def loading(settings: EngineSettings) -> Engine:
        module.load = load
        engine: Engine = load(settings)
        from harness.drift.faults.ground import Ground

        _grounds[side] = Ground(engine)
        then()
        return engine if wrapped is None else wrapped(engine)

    module.load = loading


def _plant(fault: Fault, size: str) -> None:
    # Read here, and so in a recording's key; they import torch, which must not be there before the engine.
    from harness.drift.faults import language, planting, question, reading, vision
    from harness.drift.faults.kernels import PATCHES

    off()
    if fault.side not in _grounds:
        raise HarnessError(f"{fault.name} is a fault of {fault.side}; loaded is {', '.join(_grounds)}")
    if fault.name in PATCHES:
        _grounds[fault.side]._undo.append(planting.plant(PATCHES[fault.name]))
        return
    rooms = (question, vision, language, reading)
    plant = next(found for room in rooms if (found := vars(room).get(fault.name)) is not None)
    ground = _grounds[fault.side]
    plant(ground, fault.amount(size, ground.dtype))
