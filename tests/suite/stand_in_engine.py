"""Given as a profile's ``patch``: puts a small made-up engine in the place of the real ones, in the worker.

What it answers is written in the prompt: ``say B`` is the letter; ``die``, ``hang``, ``nan``, ``slow``,
``wander`` and ``wobble`` are mishaps, and ``newline`` asks with one more. ``lmdeploy:`` before an order
limits it to that kind of engine.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import time
import types
import zlib
from collections.abc import Iterator, Sequence

import numpy as np

from harness.distributions import log_softmax, top_k
from harness.engines.contract import Answer, EngineSettings, Entry, Failure, Json, Outcome, Question, Request
from harness.engines.letters import LetterIds
from harness.engines.readings import NotFinite, read_rows
from harness.errors import EngineError, ErrorKind

WIDTH = 64


class StandIn:
    def __init__(self, settings: EngineSettings) -> None:
        self.settings = settings
        self.paths = settings.paths or ("two-stage", "captured")
        if settings.device == "cuda":
            raise EngineError(ErrorKind.LOAD, "this machine has no NVIDIA GPU")

    def fingerprint(self) -> dict[str, Json]:
        return {"device": "stand-in", "dtype": "float32"}

    def score(self, requests: Sequence[Request]) -> Iterator[Outcome]:
        for request in requests:
            try:
                yield Outcome(request.case, self.answer(request))
            except NotFinite as error:
                yield Outcome(request.case, Failure(kind=error.kind, message=error.message))

    def answer(self, request: Request) -> Answer:
        orders = re.sub(r"(\w+): ?(\w+)", self.for_me, request.prompt)
        if "die" in orders:
            os.kill(os.getpid(), signal.SIGKILL)
        if "hang" in orders or "slow" in orders:
            time.sleep(600 if "hang" in orders else 0.4)
        more = (4,) if "newline" in orders else ()
        said = re.search(r"say ([A-Z])", orders)
        letters = LetterIds(
            request.letters,
            (1, 2) if "wander" in orders else (),  # a prefix that it does not write
            tuple(ord(x) - 60 for x in request.letters),
            tuple(() for _ in request.letters),
        )
        noise = np.random.default_rng(zlib.crc32(request.prompt.encode()))
        row = noise.normal(size=WIDTH).astype(np.float32)
        row[ord(said[1] if said else "A") - 60] += 8
        if "wobble" in orders:
            row[letters.ids[0]] += 0.05
        if "nan" in orders:
            row[3] = np.nan
        generated = (int(row.argmax()),) if "nan" not in orders else (5,)
        readings = [
            read_rows(path, row[None], generated, letter_ids=letters, top_k=self.settings.top_k)
            for path in self.paths
        ]
        logprobs = log_softmax(row)
        reports = self.settings.kind == "lmdeploy"
        best = [Entry(int(i), float(logprobs[i])) for i in top_k(row, self.settings.top_k).ids]
        return Answer(
            prompt_ids=(1, 2, 3, *more),
            question=Question(text=request.prompt + "\n" * len(more), tokens=3 + len(more), tiles=0),
            generated_ids=generated,
            text=chr(generated[0] + 60),
            letter_ids=letters.ids,
            answer_step=letters.answer_step(generated),
            readings=tuple(readings),
            reported_top=tuple(best) if reports else (),
            reported_logprobs=(float(logprobs[generated[0]]),) if reports else (),
            seconds={"forward": 0.0},
            rows=dict.fromkeys(self.paths, row),
        )

    def for_me(self, order: re.Match[str]) -> str:
        return order[2] if order[1] == self.settings.kind else ""

    def close(self) -> None:
        """Nothing is held."""


for name in ("torch_native", "lmdeploy_pipeline"):
    module = types.ModuleType(f"harness.engines.{name}.engine")
    module.load = StandIn  # type: ignore[attr-defined]
    sys.modules[module.__name__] = module
