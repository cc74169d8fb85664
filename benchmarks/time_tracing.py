"""Seconds of tracing one case after another, and of scoring each alone.

Run as ``python -m benchmarks.time_tracing ORDER RESULT`` in the engine's interpreter.
"""

from __future__ import annotations

import importlib
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.random_weights import write_model
from benchmarks.ratios import interleaved
from harness.engines.codec import request_from_json, settings_from_json
from harness.engines.contract import Failure
from harness.engines.taps.contract import TRACERS, TraceOrder
from harness.engines.taps.sketches import write_traces
from harness.errors import EngineError
from harness.workers.serving import ENGINE_MODULES

_CASES = 6


def main(order_file: str, result_file: str) -> None:
    """Time scoring and tracing of the same cases, each alone, after seeing that each has an answer."""
    order = json.loads(Path(order_file).read_text(encoding="utf-8"))
    settings = replace(settings_from_json(order["settings"]), batch_size=1)
    if order["larger"]:
        folder = Path(result_file).with_name(f"larger-{settings.kind}")
        settings = replace(settings, model=str(write_model(Path(settings.model), folder)))
    engine = importlib.import_module(ENGINE_MODULES[settings.kind]).load(settings)
    requests = [request_from_json(request) for request in order["requests"]]
    requests = requests[:: max(1, len(requests) // _CASES)]
    orders = []
    for request in requests:
        ((_, answer),) = engine.score([request])
        if isinstance(answer, Failure):
            raise EngineError(answer.kind, answer.message)
        orders.append(
            TraceOrder(
                name=request.case,
                request=request,
                forced=answer.generated_ids[:-1],
                letter_ids=answer.letter_ids,
                answer_step=answer.answer_step,
            )
        )
    tracer: Any = importlib.import_module(TRACERS[settings.kind]).tracer(engine)
    file = Path(result_file).with_suffix(".npz")

    def score() -> None:
        for request in requests:
            list(engine.score([request]))

    def trace() -> None:
        for each in orders:
            write_traces(file, tracer.trace(each), {})

    seconds = interleaved({"scored": score, "traced": trace}, order["repeats"])
    parameters = sum(each.numel() for each in tracer.model.parameters())
    Path(result_file).write_text(json.dumps({"seconds": seconds, "parameters": parameters}), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
