"""The bare engine calls: load an engine and score, with none of what the harness puts around it.

Run as ``python -m benchmarks.score_only ORDER RESULT`` in the engine's interpreter.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path

from harness.engines.codec import request_from_json, settings_from_json
from harness.engines.contract import Failure
from harness.errors import EngineError
from harness.workers.serving import ENGINE_MODULES


def main(order_file: str, result_file: str) -> None:
    """Score every request once; raises `EngineError` for one that gets no answer."""
    order = json.loads(Path(order_file).read_text(encoding="utf-8"))
    settings = settings_from_json(order["settings"])
    engine = importlib.import_module(ENGINE_MODULES[settings.kind]).load(settings)
    scored = 0
    for outcome in engine.score([request_from_json(request) for request in order["requests"]]):
        if isinstance(outcome.result, Failure):
            raise EngineError(outcome.result.kind, outcome.result.message)
        scored += 1
    engine.close()
    Path(result_file).write_text(json.dumps(scored), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
    # As a worker ends: the teardown of an interpreter with torch in it takes seconds.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
