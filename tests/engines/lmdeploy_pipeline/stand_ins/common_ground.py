"""What the stand-ins of all eras share: results, faults to plant, the engines behind ``async_stream_infer``.

Written after LMDeploy's sources, tag and file named at each piece; nothing here was run on a GPU.
"""

from __future__ import annotations

import asyncio
import enum
import threading
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch

from tests.engines.lmdeploy_pipeline.stand_ins import tiny_model as tiny


@dataclass(frozen=True, kw_only=True)
class Faults:
    """What a test may plant. ``bans_end`` is no fault but 0.7.0's ``ignore_eos`` (turbomind.py:532)."""

    temperature: float = 1.0  # of the logits that come back
    loses_image: bool = False  # in the second pass
    shifted: int = 0  # rows that come back begin so much later
    falls_back: bool = False  # to the PyTorch engine, with a warning only
    drops_image: bool = False  # on the way into the prompt
    bans_end: bool = False


class ResponseType(enum.Enum):
    """messages.py of every era."""

    SUCCESS = 1
    FINISH = 2
    INTERNAL_ENGINE_ERROR = 8


@dataclass
class EngineOutput:
    """messages.py; ``num_token`` until 0.9."""

    status: ResponseType
    token_ids: list[int]
    num_token: int = 0
    logprobs: list[dict[int, float]] | None = None
    logits: torch.Tensor | None = None


@dataclass
class Response:
    """messages.py of 0.7.0; until 0.6 without ``logits``."""

    text: str
    generate_token_len: int
    input_token_len: int
    finish_reason: str | None = None
    token_ids: Any = ()
    logprobs: Any = None
    logits: Any = None
    index: int = 0
    error_message: str | None = None

    def extend(self, other: Response) -> Response:
        """v0.7.0 serve/async_engine.py:75 and v0.16.0 messages.py:634: the logits are not merged."""
        self.text += other.text
        self.generate_token_len = other.generate_token_len
        self.finish_reason = other.finish_reason
        if other.token_ids:
            self.token_ids = [*self.token_ids, *other.token_ids]
        if other.logprobs:
            self.logprobs = [*(self.logprobs or []), *other.logprobs]
        return self


class LoopThread:
    """``_EventLoopThread`` of v0.7.0 serve/async_engine.py:166, from then on ``pipe.internal_thread``."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


def seen(inputs: dict[str, Any]) -> int | None:
    """The image's key, from embeddings or pixels."""
    for emb in inputs.get("input_embeddings") or ():
        return int(np.asarray(emb)[0, 0])
    for item in inputs.get("multimodal") or ():
        return tiny.image_key(item["pixel_values"])
    return None


def embedded(image: Any) -> np.ndarray[Any, Any]:
    return np.full((tiny.image_tokens(image), 4), tiny.image_key(image), dtype=np.float64)


def all_rows(ids: Sequence[int], image: int | None, faults: Faults) -> torch.Tensor:
    """Logits [N, V] of a whole sequence, with what a test planted."""
    rows = tiny.rows_of(ids, None if faults.loses_image else image)
    if faults.shifted:
        rows = np.roll(rows, -faults.shifted, axis=0)
    return torch.tensor(rows) / faults.temperature


class Instance:
    """What ``create_instance`` of either engine gives: one sequence, decoded greedily."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    async def async_stream_infer(
        self, session_id: int, input_ids: list[int], gen_config: Any = None, **kwargs: Any
    ) -> AsyncIterator[EngineOutput]:
        yield self.engine.answer(input_ids, seen(kwargs), gen_config)

    async def async_end(self, session_id: int) -> None: ...

    async def async_cancel(self, session_id: int) -> None: ...


class Engine:
    """TurboMind or the PyTorch engine, behind its Python interface."""

    def __init__(self, backend: str, faults: Faults, logprobs_mode: str | None = None) -> None:
        self.backend = backend
        self.logprobs_mode = logprobs_mode
        self.faults = faults
        self.tokenizer = tiny.Tokenizer()
        self.config = SimpleNamespace(model_config=SimpleNamespace(weight_type="float16"))
        if backend == "pytorch":
            self.model_config = SimpleNamespace(dtype=torch.float16, vocab_size=tiny.WIDTH)

    def create_instance(self) -> Instance:
        return Instance(self)

    def answer(self, input_ids: list[int], image: int | None, config: Any) -> EngineOutput:
        """Greedy decoding, and logits as v0.8.0 turbomind.py:336 and engine_instance.py give them.

        A stop token ends it and is among the ids. TurboMind's rows are cut to ``seq_len - offset - 1``; the
        PyTorch engine has rows only with ``max_new_tokens=0`` (v0.8.0 messages.py, SamplingParam).
        """
        stops = set() if config.ignore_eos else {*(config.stop_token_ids or ()), tiny.END_ID}
        wants = getattr(config, "output_logits", None)
        ids: list[int] = []
        logprobs: list[dict[int, float]] = []
        while len(ids) < config.max_new_tokens and not (ids and ids[-1] in stops):
            raw = torch.tensor(tiny.row((*input_ids, *ids), image))
            chosen = raw.clone()
            if self.backend == "pytorch":
                for process in config.logits_processors or ():
                    chosen = process(torch.tensor([*input_ids, *ids]), chosen)
            if config.ignore_eos and (self.backend == "pytorch" or self.faults.bans_end):
                chosen[tiny.END_ID] = -torch.inf
            best = chosen.argsort(descending=True, stable=True)
            ids.append(int(best[0 if config.top_k == 1 else 1]))  # not greedy: another token
            logprobs.append(self._logprobs(raw, ids[-1], config))
        logits = None
        if self.backend == "turbomind" and wants is not None:
            whole = all_rows([*input_ids, *ids[:-1]], image, self.faults)
            logits = whole if wants == "all" else whole[len(input_ids) - 1 :]
        elif wants == "all" and config.max_new_tokens == 0:
            logits = all_rows(input_ids, image, self.faults)
        return EngineOutput(
            ResponseType.FINISH,
            ids,
            len(ids),
            logprobs=logprobs if config.logprobs and any(logprobs) else None,
            logits=logits,
        )

    def _logprobs(self, raw: torch.Tensor, token: int, config: Any) -> dict[int, float]:
        if self.backend == "turbomind":
            return {token: 0.0}  # top_k is forced to 1 and the rest renormalised: lmdeploy#1933
        if self.logprobs_mode != "raw_logprobs":
            return {}
        values, places = raw.log_softmax(-1).topk(config.logprobs or 1)
        return dict(zip(places.tolist(), values.tolist(), strict=True))


def fake_module(pipeline: Any, **names: Any) -> ModuleType:
    module = ModuleType("lmdeploy")
    for name, value in {"pipeline": pipeline, **names}.items():
        setattr(module, name, value)
    return module


def segments(prompt: str, images: Iterable[Any], placeholder: int) -> tuple[list[int], list[list[int]]]:
    """Ids of a prompt tokenized piece by piece around its images (0.6.5 vl/model/base.py), and ranges."""
    ids: list[int] = []
    ranges = []
    pending = iter(images)
    tokenizer = tiny.Tokenizer()
    for number, piece in enumerate(prompt.split(tiny.IMAGE_TOKEN)):
        if number:
            count = tiny.image_tokens(next(pending))
            ranges.append([len(ids), len(ids) + count])
            ids += [placeholder] * count
        ids += tokenizer.encode(piece)
    return ids, ranges
