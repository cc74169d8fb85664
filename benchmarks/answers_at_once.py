"""Given as a profile's ``patch``: an engine that answers at once, so that what is measured is the harness.

It says the letter that the prompt names in ``Say B.``, by one of 256 rows of 64 logits; of LMDeploy's kind
they are a hair apart from the others, as another kernel's would be.
"""

from __future__ import annotations

import re
import sys
import types
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache

import numpy as np

from harness.engines.contract import Answer, EngineSettings, Entry, Json, Outcome, Question, Request
from harness.engines.letters import LetterIds
from harness.engines.readings import read_rows

_WIDTH, _ROWS, _IMAGE, _IMAGE_TOKENS = 64, 256, 63, 256
_SAID = re.compile(r"Say ([A-Z])\.")


class AtOnce:
    """The engine."""

    def __init__(self, settings: EngineSettings) -> None:
        """Nothing is loaded."""
        self.paths = settings.paths or ("captured",)
        self.apart = 1e-6 if settings.kind == "lmdeploy" else 0.0
        self.top_k = settings.top_k
        self.answer = cache(self._answer)

    def fingerprint(self) -> dict[str, Json]:
        """As other engines'."""
        return {"device": "none: a stand-in that answers at once", "dtype": "float32"}

    def score(self, requests: Sequence[Request]) -> Iterator[Outcome]:
        """All requests in their order."""
        for request in requests:
            said = _SAID.search(request.prompt)
            row = zlib.crc32(request.prompt.encode()) % _ROWS
            answer = self.answer(request.letters, said[1] if said else "A", row)
            own = (*answer.prompt_ids, *(ord(c) % _WIDTH for c in request.prompt[:_WIDTH]))
            tiles = len(request.images)
            text = "<image>\n" * tiles + request.prompt
            question = Question(text=text, tokens=len(own), tiles=tiles)
            yield Outcome(request.case, replace(answer, prompt_ids=own, question=question))

    def _answer(self, letters: tuple[str, ...], said: str, number: int) -> Answer:
        row = np.random.default_rng(number).normal(size=_WIDTH).astype(np.float32)
        row[ord(said) - 60] += 8
        row += self.apart * np.random.default_rng(~number & 0xFFFF).normal(size=_WIDTH).astype(np.float32)
        ids = LetterIds(letters, (), tuple(ord(x) - 60 for x in letters), tuple(() for _ in letters))
        generated = (int(row.argmax()),)
        readings = [
            read_rows(path, row[None], generated, letter_ids=ids, top_k=self.top_k) for path in self.paths
        ]
        return Answer(
            prompt_ids=(1, *[_IMAGE] * _IMAGE_TOKENS, 2),
            generated_ids=generated,
            text=chr(generated[0] + 60),
            letter_ids=ids.ids,
            answer_step=ids.answer_step(generated),
            readings=tuple(readings),
            reported_top=tuple(Entry(one.id, one.logprob) for one in readings[0].top[: self.top_k]),
            reported_logprobs=readings[0].logprobs if self.top_k else (),
            seconds={"forward": 0.0},
            rows=dict.fromkeys(self.paths, row),
        )

    def close(self) -> None:
        """Nothing is held."""


for _name in ("torch_native", "lmdeploy_pipeline"):
    _module = types.ModuleType(f"harness.engines.{_name}.engine")
    _module.load = AtOnce  # type: ignore[attr-defined]
    sys.modules[_module.__name__] = _module
