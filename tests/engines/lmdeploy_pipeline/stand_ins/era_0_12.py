"""LMDeploy 0.12 to 0.18 with TurboMind: a ``Pipeline`` around an engine with sessions and prompt processor.

After v0.12.3, v0.16.0 and v0.18.0 of lmdeploy/pipeline.py, serve/core/async_engine.py,
serve/processors/multimodal.py and turbomind/turbomind.py; nothing here was run on a GPU.
"""

from __future__ import annotations

import asyncio
import enum
import itertools
import threading
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch

from tests.engines.lmdeploy_pipeline.stand_ins import tiny_model as tiny


@dataclass(frozen=True, kw_only=True)
class Faults:
    """What a test may plant."""

    temperature: float = 1.0  # of the logits that come back
    loses_image: bool = False  # in the second pass
    shifted: int = 0  # rows that come back begin so much later
    falls_back: bool = False  # to the PyTorch engine, with a warning only
    drops_image: bool = False  # on the way into the prompt
    dtype: str = ""  # what TurboMind takes in place of the one that it was asked for


@dataclass(frozen=True, kw_only=True)
class Version:
    """What differs: images as pixels (from 0.16) or embeddings, and ``preprocess`` (from 0.18)."""

    pixels: bool
    makes_requests: bool


class ResponseType(enum.Enum):
    """messages.py."""

    SUCCESS = 1
    FINISH = 2
    INTERNAL_ENGINE_ERROR = 8
    ENGINE_STOP_ERROR = 9


@dataclass
class EngineOutput:
    """messages.py."""

    status: ResponseType
    token_ids: list[int]
    logits: torch.Tensor | None = None


@dataclass
class GenOut:
    """serve/core/async_engine.py."""

    input_token_len: int
    token_ids: list[int]
    finish_reason: str | None = None
    logprobs: Any = None
    logits: torch.Tensor | None = None


@dataclass
class GenerationConfig:
    """messages.py."""

    max_new_tokens: int = 512
    do_sample: bool = False
    top_k: int = 50
    temperature: float = 0.8
    ignore_eos: bool = False
    stop_token_ids: list[int] | None = None
    logprobs: int | None = None
    logits_processors: list[Any] | None = None
    output_logits: str | None = None
    include_stop_str_in_output: bool = False
    logprob_start_len: int = -1

    def convert_stop_bad_words_to_ids(self, tokenizer: Any) -> None: ...

    def update_from_hf_gen_cfg(self, config: dict[str, Any], eos: int) -> None:
        self.stop_token_ids = [*(self.stop_token_ids or ()), *config["eos_token_id"], eos]


@dataclass
class TurbomindEngineConfig:
    """messages.py."""

    dtype: str = "auto"
    model_format: str | None = None
    tp: int = 1
    session_len: int | None = None
    max_batch_size: int = 128
    cache_max_entry_count: float = 0.8
    cache_block_seq_len: int = 64
    enable_prefix_caching: bool = False
    quant_policy: int = 0
    max_prefill_token_num: int = 8192
    enable_metrics: bool = True


@dataclass
class PytorchEngineConfig:
    """messages.py."""

    dtype: str = "auto"
    logprobs_mode: str | None = None


def image_in(inputs: dict[str, Any]) -> int | None:
    """The image's key, from embeddings or pixels."""
    for embedding in inputs.get("input_embeddings") or ():
        return int(np.asarray(embedding)[0, 0])
    for item in inputs.get("multimodal") or ():
        return int(item["key"])
    return None


def segments(prompt: str, images: Iterable[Any], placeholder: int) -> tuple[list[int], list[list[int]]]:
    """Ids of a prompt tokenized piece by piece around its images (vl/model/base.py), and ranges."""
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


class TurboMind:
    """turbomind/turbomind.py: ``engine_config`` with the dtype that it took, and neither config nor more."""

    def __init__(self, config: TurbomindEngineConfig, faults: Faults) -> None:
        self.faults = faults
        self.engine_config = replace(config, dtype=faults.dtype or config.dtype)

    def answer(self, input_ids: Sequence[int], image: int | None, config: Any) -> EngineOutput:
        """Greedy decoding; a stop token ends it and is among the ids. Rows as ``_get_logits`` cuts them."""
        stops = set() if config.ignore_eos else {*(config.stop_token_ids or ()), tiny.END_ID}
        ids: list[int] = []
        while len(ids) < config.max_new_tokens and not (ids and ids[-1] in stops):
            best = tiny.row((*input_ids, *ids), image).argsort()
            ids.append(int(best[-1 if config.top_k == 1 else -2]))  # not greedy: another token
        logits = None
        if config.output_logits is not None:
            seen = None if self.faults.loses_image else image
            rows = np.roll(tiny.rows_of([*input_ids, *ids[:-1]], seen), -self.faults.shifted, axis=0)
            logits = torch.tensor(rows) / self.faults.temperature
            logits = logits if config.output_logits == "all" else logits[len(input_ids) - 1 :]
        return EngineOutput(ResponseType.FINISH, ids, logits)

    async def async_stream_infer(
        self, session_id: int, input_ids: list[int], gen_config: Any = None, **kwargs: Any
    ) -> AsyncIterator[EngineOutput]:
        yield self.answer(input_ids, image_in(kwargs), gen_config)


class Session:
    """serve/managers/session_manager.py."""

    def __init__(self, engine: Any, session_id: int) -> None:
        self.session_id = session_id
        self.engine = engine

    @asynccontextmanager
    async def request_handle(self) -> AsyncIterator[Any]:
        yield self.engine


class SessionManager:
    def __init__(self, engine: Any) -> None:
        self.engine = engine
        self.numbers = itertools.count()
        self.open: dict[int, Session] = {}

    def get(self) -> Session:
        session = Session(self.engine, next(self.numbers))
        self.open[session.session_id] = session
        return session

    def remove(self, session: Session) -> None:
        del self.open[session.session_id]


class Prompts:
    """serve/processors/multimodal.py."""

    def __init__(self, version: Version, faults: Faults) -> None:
        self.version, self.faults = version, faults
        vision = SimpleNamespace(image_token_id=tiny.VOCABULARY[tiny.IMAGE_CONTEXT])
        self.vl_encoder = SimpleNamespace(model=vision)

    async def get_prompt_input(
        self, prompt: Any, do_preprocess: bool, adapter_name: Any, **_: Any
    ) -> dict[str, Any]:
        plain, images = [], []
        for message in prompt:
            content = message["content"]
            if not isinstance(content, str):
                found = [item["image_data"]["data"] for item in content if item["type"] == "image_data"]
                content = "\n".join(item["text"] for item in content if item["type"] == "text")
                if found and not self.faults.drops_image:
                    content = f"<img>{tiny.IMAGE_TOKEN * len(found)}</img>\n{content}"
                    images += found
            if "unpreparable" in content:
                raise AssertionError("the number of <IMAGE_TOKEN> is not equal to input images")
            plain.append({"role": message["role"], "content": content})
        text = tiny.rendered(plain)
        placeholder = tiny.VOCABULARY[tiny.IMAGE_CONTEXT] if self.version.pixels else 0
        ids, ranges = segments(text, images, placeholder)
        inputs: dict[str, Any] = {"prompt": text, "input_ids": ids}
        if images and self.version.pixels:
            values = [torch.tensor(np.asarray(i) / 255.0, dtype=torch.float32)[None] for i in images]
            inputs["multimodal"] = [
                {"pixel_values": value, "key": tiny.image_key(i)}
                for value, i in zip(values, images, strict=True)
            ]
        elif images:
            inputs["input_embedding_ranges"] = ranges
            inputs["input_embeddings"] = [
                np.full((tiny.image_tokens(i), 4), tiny.image_key(i), dtype=np.float64) for i in images
            ]
        return inputs


@dataclass
class PreprocessedRequest:
    session: Session
    inputs: dict[str, Any]
    input_token_len: int
    gen_config: Any


class AsyncEngine:
    """serve/core/async_engine.py until 0.16: ``generate`` takes messages."""

    def __init__(self, backend: str, config: Any, version: Version, faults: Faults) -> None:
        self.backend = backend
        self.engine = TurboMind(config, faults) if backend == "turbomind" else SimpleNamespace()
        self.backend_config = getattr(self.engine, "engine_config", config)
        self.prompt_processor = Prompts(version, faults)
        self.session_mgr = SessionManager(self.engine)
        self.tokenizer = tiny.Tokenizer()
        self.chat_template = object()
        self.session_len = getattr(config, "session_len", None) or 4096
        self.stop_words = [tiny.END_ID]
        self.hf_gen_cfg = {"eos_token_id": [tiny.END_ID]}

    @asynccontextmanager
    async def safe_run(self, handle: Any, session: Any, **kwargs: Any) -> AsyncIterator[Any]:
        assert session.session_id in self.session_mgr.open
        yield handle.async_stream_infer(session.session_id, **kwargs)

    async def generate(
        self, messages: Any, session_id: Session, gen_config: Any, stream_response: bool
    ) -> AsyncIterator[GenOut]:
        inputs = await self.prompt_processor.get_prompt_input(messages, True, None)
        async for part in self.parts(session_id, inputs, gen_config, stream=stream_response):
            yield part

    async def parts(
        self, session: Session, inputs: dict[str, Any], config: Any, *, stream: bool
    ) -> AsyncIterator[GenOut]:
        assert config.max_new_tokens > 0
        assert not stream, "with the logits of every step so far at every step"
        stops = [] if config.ignore_eos else [tiny.END_ID]
        if not config.do_sample:
            config = replace(config, top_k=1, temperature=1.0)
        async with (
            session.request_handle() as handle,
            self.safe_run(handle, session=session, **inputs, gen_config=config) as outputs,
        ):
            async for output in outputs:
                hit = int(output.token_ids[-1] in stops)
                last = len(output.token_ids) - hit
                logits = output.logits[:last] if output.logits is not None else None
                yield GenOut(len(inputs["input_ids"]), output.token_ids[:last], logits=logits)
        yield GenOut(len(inputs["input_ids"]), [], "stop" if hit else "length")
        self.session_mgr.remove(session)

    async def async_get_logits(self, input_ids: Any, sequence_start: bool, sequence_end: bool) -> Any:
        raise AssertionError("it would lose the image")


class AsyncEngine18(AsyncEngine):
    """0.18: ``preprocess`` makes the request that ``generate`` takes."""

    async def preprocess(self, messages: Any, session_id: Session, gen_config: Any) -> PreprocessedRequest:
        inputs = await self.prompt_processor.get_prompt_input(messages, True, None)
        config = replace(gen_config, stop_token_ids=[*self.stop_words])
        return PreprocessedRequest(session_id, inputs, len(inputs["input_ids"]), config)

    async def generate(  # type: ignore[override]
        self, request: PreprocessedRequest, stream_response: bool = True
    ) -> AsyncIterator[GenOut]:
        async for part in self.parts(
            request.session, request.inputs, request.gen_config, stream=stream_response
        ):
            yield part

    async def async_get_logits(self, input_ids: Any, sessions: Any = None) -> Any:  # type: ignore[override]
        raise AssertionError("it would lose the image")


class LoopThread:
    """``_EventLoopThread`` of pipeline.py."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


class Pipeline:
    """pipeline.py."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.async_engine = engine
        self.internal_thread = LoopThread()

    def close(self) -> None:
        self.internal_thread.close()


def make(version: Version, faults: Faults) -> dict[str, ModuleType]:
    """The modules ``lmdeploy``, ``lmdeploy.messages`` and ``lmdeploy.pipeline``."""

    def pipeline(model_path: str, backend_config: Any, trust_remote_code: bool) -> Pipeline:
        if faults.falls_back:
            backend_config = PytorchEngineConfig()
        backend = "pytorch" if isinstance(backend_config, PytorchEngineConfig) else "turbomind"
        kind = AsyncEngine18 if version.makes_requests else AsyncEngine
        return Pipeline(kind(backend, backend_config, version, faults))

    def told(model_path: str, *, trust_remote_code: bool = False) -> None: ...

    names: dict[str, dict[str, Any]] = {
        "lmdeploy": {
            "pipeline": pipeline,
            "GenerationConfig": GenerationConfig,
            "TurbomindEngineConfig": TurbomindEngineConfig,
            "PytorchEngineConfig": PytorchEngineConfig,
        },
        "lmdeploy.messages": {"ResponseType": ResponseType},
        "lmdeploy.pipeline": {"Pipeline": told},
    }
    modules = {}
    for name, members in names.items():
        modules[name] = ModuleType(name)
        vars(modules[name]).update(members)
    return modules
