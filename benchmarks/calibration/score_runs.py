"""Score the same cases run after run, each in its own order and batches, and keep the letters' logits.

Run as ``python -m benchmarks.calibration.score_runs ORDER RESULT`` in the engine's interpreter.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from itertools import groupby
from pathlib import Path
from typing import Any

from harness.engines.codec import request_from_json, settings_from_json
from harness.engines.contract import Engine, Failure, Request
from harness.errors import EngineError, ErrorKind
from harness.workers.serving import ENGINE_MODULES


def one_run(
    engine: Engine, requests: list[Request], order: list[int], batch: int
) -> dict[str, tuple[float, ...]]:
    """The letters' logits [L] of each case; raises `EngineError` for one without."""
    logits: dict[str, tuple[float, ...]] = {}
    for first in range(0, len(order), batch):
        for case, result in engine.score([requests[place] for place in order[first : first + batch]]):
            if isinstance(result, Failure):
                raise EngineError(result.kind, result.message)
            if result.answer_step is None:
                raise EngineError(ErrorKind.FAILED, f"{case}: wrote {result.text!r} and no letter")
            logits[case] = result.readings[0].letter_logits
    return logits


def main(order_file: str, result_file: str) -> None:
    """Every run of the order; neighbours with the same settings share a loaded engine."""
    order: dict[str, Any] = json.loads(Path(order_file).read_text(encoding="utf-8"))
    requests = [request_from_json(request) for request in order["requests"]]
    result: dict[str, dict[str, tuple[float, ...]]] = {}
    for settings_json, runs in groupby(order["runs"], key=lambda run: run["settings"]):
        settings = settings_from_json(settings_json)
        engine = importlib.import_module(ENGINE_MODULES[settings.kind]).load(settings)
        for run in runs:
            started = time.monotonic()
            result[run["name"]] = one_run(engine, requests, run["order"], run["batch"])
            print(
                f"{settings.kind} {settings.dtype} {run['name']}: {time.monotonic() - started:.1f} s",
                flush=True,
            )
        engine.close()
    Path(result_file).write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
    # As a worker ends: the teardown of an interpreter with torch in it takes seconds.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
