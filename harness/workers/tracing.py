"""The worker's side of tracing: what an engine holds at its stages (see `harness.engines.taps`)."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from harness.engines.contract import Engine
from harness.engines.taps.contract import TRACERS, Tracer, order_from_json
from harness.engines.taps.sketches import write_traces
from harness.errors import EngineError, ErrorKind

__all__ = ["Tracing"]


class Tracing:
    """Traces with one loaded engine, whose tracer is made at the first order."""

    def __init__(self, kind: str, engine: Engine) -> None:
        """``kind`` is that of the engine; nothing is imported yet.

        Of an engine that stands before another, that one's ``within`` is traced.
        """
        self._kind = kind
        self._engine = getattr(engine, "within", engine)
        self._tracer: Tracer | None = None

    def traced(self, order: dict[str, Any], file: str) -> dict[str, Any]:
        """Trace one case, write what was seen to ``file`` and tell about it.

        Raises EngineError: UNSUPPORTED for an engine without a tracer, or as its tracer does.
        """
        if self._tracer is None:
            if self._kind not in TRACERS:
                told = f"an engine of kind {self._kind} shows no stage within; allowed: {', '.join(TRACERS)}"
                raise EngineError(ErrorKind.UNSUPPORTED, told)
            made: Tracer = importlib.import_module(TRACERS[self._kind]).tracer(self._engine)
            self._tracer = made
        about = self._tracer.about()
        traces = self._tracer.trace(order_from_json(order))
        write_traces(Path(file), traces, about)
        return {"event": "traced", "about": about}
