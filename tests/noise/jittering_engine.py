"""Given as a profile's ``patch``: a made-up engine whose answers depend a little on how it is run.

``say B`` in the prompt is the letter. Dtype, batch size, options, path and place in the batch each move a row
by 0.01 of a logit or so. ``far`` moves LMDeploy's rows by one more, always the same way, as a fault would;
``unsteady`` moves them by as much, another way in each process. ``die`` ends the worker, and ``broken`` does
in batches of one only.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import types
import zlib
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from harness.engines.contract import Answer, EngineSettings, Failure, Json, Outcome, Request, Row
from harness.engines.letters import LetterIds
from harness.engines.readings import read_rows
from harness.errors import EngineError, ErrorKind

Floats = npt.NDArray[np.float64]
WIDTH = 64
SIZE = 0.01


class Jittering:
    def __init__(self, settings: EngineSettings) -> None:
        self.settings = settings
        self.paths = settings.paths or ("two-stage", "captured")
        if settings.options.get("attention") == "eager" and settings.top_k == 7:
            raise EngineError(ErrorKind.UNSUPPORTED, "eager: found nothing of the kind")

    def fingerprint(self) -> dict[str, Json]:
        return {"device": "stand-in", "dtype": self.settings.dtype}

    def score(self, requests: Sequence[Request]) -> Iterator[Outcome]:
        for place, request in enumerate(requests):
            if "die" in request.prompt or ("broken" in request.prompt and self.settings.batch_size == 1):
                os.kill(os.getpid(), signal.SIGKILL)
            if "nan" in request.prompt:
                yield Outcome(request.case, Failure(kind=ErrorKind.NOT_FINITE, message="NaN in it"))
                continue
            yield Outcome(request.case, self.answer(request, place))

    def answer(self, request: Request, place: int) -> Answer:
        said = re.search(r"say ([A-Z])", request.prompt)
        letters = LetterIds(
            request.letters,
            (),
            tuple(ord(x) - 60 for x in request.letters),
            tuple(() for _ in request.letters),
        )
        base = np.random.default_rng(zlib.crc32(request.prompt.encode())).normal(size=WIDTH)
        base[ord(said[1] if said else "A") - 60] += 8
        rows = {path: self.moved(base, request, place, path)[None] for path in self.paths}
        generated = (int(rows[self.paths[0]][0].argmax()),)
        readings = [
            read_rows(path, row, generated, letter_ids=letters, top_k=0) for path, row in rows.items()
        ]
        return Answer(
            prompt_ids=(1, 2, 3),
            generated_ids=generated,
            text=chr(generated[0] + 60),
            letter_ids=letters.ids,
            answer_step=0,
            readings=tuple(readings),
            seconds={"forward": 0.0},
            rows={path: row[0] for path, row in rows.items()},
        )

    def moved(self, base: Floats, request: Request, place: int, path: str) -> Row:
        own = self.settings
        how = json.dumps([own.kind, own.dtype, own.batch_size, dict(own.options)])
        how += f"{path} {place} {request.prompt}"
        row = base + np.random.default_rng(zlib.crc32(how.encode())).normal(size=WIDTH) * SIZE
        if own.kind == "lmdeploy" and "far" in request.prompt:
            row[5] += 1.0
        if own.kind == "lmdeploy" and "unsteady" in request.prompt:
            row += np.random.default_rng(os.getpid()).normal(size=WIDTH)
        return row.astype(np.float32)

    def close(self) -> None:
        """Nothing is held."""


for name in ("torch_native", "lmdeploy_pipeline"):
    module = types.ModuleType(f"harness.engines.{name}.engine")
    module.load = Jittering  # type: ignore[attr-defined]
    sys.modules[module.__name__] = module
