"""CPU seconds of an engine for prompts and for decoded tokens, alone in a process.

Run as ``python -m benchmarks.time_interpreted ORDER RESULT`` in the engine's interpreter.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from harness.engines.codec import request_from_json, settings_from_json
from harness.engines.contract import Engine, Failure, Request
from harness.errors import EngineError
from harness.workers.serving import ENGINE_MODULES


def main(order_file: str, result_file: str) -> None:
    """Time the cases, each alone: with one token to generate, with all, and with a prompt twice as long."""
    order = json.loads(Path(order_file).read_text(encoding="utf-8"))
    settings = settings_from_json(order["settings"])
    options = {**settings.options, **order["options"], "threads": 1}
    settings = replace(settings, batch_size=1, paths=("captured",), options=options)
    engine = importlib.import_module(ENGINE_MODULES[settings.kind]).load(settings)
    whole = [request_from_json(request) for request in order["requests"]]
    first = [replace(request, max_new_tokens=1) for request in whole]
    longer = [replace(request, prompt=f"{request.prompt}\n{request.prompt}") for request in first]
    for request in (whole[0], longer[0]):  # whatever is done once
        _spent(engine, [request])
    rounds = []
    for _ in range(order["repeats"]):
        (asked, _, one), (more, _, two), (_, written, three) = (
            _spent(engine, requests) for requests in (first, longer, whole)
        )
        rounds.append(
            {
                "prompt token": (two - one) / (more - asked),
                "decoded token": (three - one) / (written - len(whole)),
                "case": three / len(whole),
            }
        )
    Path(result_file).write_text(json.dumps(rounds), encoding="utf-8")


def _spent(engine: Engine, requests: Sequence[Request]) -> tuple[int, int, float]:
    """Tokens of the prompts, tokens generated, and CPU seconds of this process."""
    asked = written = 0
    start = time.process_time()
    for request in requests:
        ((_, answer),) = engine.score([request])
        if isinstance(answer, Failure):
            raise EngineError(answer.kind, answer.message)
        asked += len(answer.prompt_ids)
        written += len(answer.generated_ids)
    return asked, written, time.process_time() - start


if __name__ == "__main__":
    main(*sys.argv[1:])
