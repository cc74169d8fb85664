"""Seconds of the torch engine's two paths, in turn.

Run as ``python -m benchmarks.time_torch ORDER RESULT`` in the engine's interpreter.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from benchmarks.ratios import interleaved
from harness.engines.codec import request_from_json, settings_from_json
from harness.engines.contract import Engine, Failure, Request
from harness.engines.torch_native.engine import load
from harness.errors import EngineError, ErrorKind

_PATHS = ("forward", "generate")


def generated(engine: Engine, requests: Sequence[Request]) -> dict[str, tuple[int, ...]]:
    """The ids generated for each case; raises `EngineError` for one that gets no answer."""
    ids = {}
    for case, result in engine.score(requests):
        if isinstance(result, Failure):
            raise EngineError(result.kind, result.message)
        ids[case] = result.generated_ids
    return ids


def main(order_file: str, result_file: str) -> None:
    """Time both paths on the same cases, after seeing that they generate the same."""
    order = json.loads(Path(order_file).read_text(encoding="utf-8"))
    settings = settings_from_json(order["settings"])
    requests = [request_from_json(request) for request in order["requests"]]
    engines = {path: load(replace(settings, paths=(path,))) for path in _PATHS}
    fast, literal = (generated(engines[path], requests) for path in _PATHS)
    if fast != literal:
        raise EngineError(ErrorKind.FAILED, "the two paths generate different ids: this is not the same work")
    work = {path: partial(generated, engine, requests) for path, engine in engines.items()}
    Path(result_file).write_text(json.dumps(interleaved(work, order["repeats"])), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
