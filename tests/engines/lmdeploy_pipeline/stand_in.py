"""Stand-ins for LMDeploy's engine as several versions have it; nothing of LMDeploy itself is imported.

They answer by a made-up model of eight columns, in which the next id is the last one plus one. What differs
between versions differs here: names, parameters, and who ends a sequence.
"""

from __future__ import annotations

import enum
import itertools
import sys
import types
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from copy import deepcopy
from dataclasses import dataclass, field, make_dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from harness.engines.contract import EngineSettings
from harness.engines.lmdeploy_pipeline.steps.pytorch import PytorchSteps

WIDTH = 8
PROMPT = [1, 2, 3]

OPTIONS: dict[str, Any] = {
    "max_new_tokens": 512,
    "do_sample": False,
    "include_stop_str_in_output": False,
    "logprobs": None,
    "output_logits": None,
    "top_k": 50,
    "temperature": 0.8,
    "stop_token_ids": None,
    "logits_processors": None,
    "logprob_start_len": -1,
}


class ResponseType(enum.Enum):
    FINISH = 1
    INTERNAL_ENGINE_ERROR = 2
    ENGINE_STOP_ERROR = 3


def row(last: int) -> torch.Tensor:
    """Logits that follow an id."""
    logits = torch.linspace(-1.0, 1.0, WIDTH)
    logits[(last + 1) % WIDTH] = 4.0
    return logits


def install(monkeypatch: pytest.MonkeyPatch, *, without: Sequence[str] = ()) -> None:
    """Put a module `lmdeploy` in place whose GenerationConfig lacks the options named."""
    fields = [(name, Any, field(default=value)) for name, value in OPTIONS.items() if name not in without]
    config: Any = make_dataclass("GenerationConfig", fields)
    config.convert_stop_bad_words_to_ids = lambda self, tokenizer: None
    config.update_from_hf_gen_cfg = lambda self, hf_config, eos: setattr(self, "stop_token_ids", [eos])
    for name, member in {"lmdeploy": config, "lmdeploy.messages": ResponseType}.items():
        module = types.ModuleType(name)
        setattr(module, member.__name__, member)
        monkeypatch.setitem(sys.modules, name, module)


@dataclass
class Request:
    session: Any
    inputs: dict[str, Any]
    input_token_len: int
    gen_config: Any


class Sessions:
    def __init__(self) -> None:
        self.numbers = itertools.count(1)
        self.open: dict[int, Any] = {}
        self.ended: list[int] = []

    def get(self) -> Any:
        session = SimpleNamespace(session_id=next(self.numbers))
        self.open[session.session_id] = session

        @asynccontextmanager
        async def handle() -> AsyncIterator[Any]:
            async def end(number: int) -> None:
                self.ended.append(number)

            yield SimpleNamespace(async_end=end)

        session.request_handle = handle
        return session

    def remove(self, session: Any) -> None:
        self.open.pop(session.session_id, None)


class Engine:
    """What all versions share; ``reports`` is what becomes of log-probabilities."""

    def __init__(self, *, reports: str = "raw", calls_processors: bool = True, scales: bool = True) -> None:
        self.reports, self.calls_processors, self.scales = reports, calls_processors, scales
        self.status = ResponseType.FINISH
        self.session_mgr = Sessions()
        self.ran: list[dict[str, Any]] = []
        self.prompt_processor = SimpleNamespace(get_prompt_input=self.get_prompt_input)
        self.engine = SimpleNamespace(
            cache_config=SimpleNamespace(
                num_gpu_blocks=9,
                num_reserved_gpu_blocks=0,
                block_size=64,
                max_prefill_token_num=99,
                enable_prefix_caching=False,
            ),
            max_session_len=99,
            model_config=SimpleNamespace(dtype=torch.float32),
            req_manager=SimpleNamespace(),
            executor=SimpleNamespace(model_agent=SimpleNamespace()),
        )
        self.session_len = 99
        self.tokenizer = SimpleNamespace(eos_token_id=7)
        self.stop_words = None
        self.hf_gen_cfg: dict[str, Any] = {}

    async def get_prompt_input(self, prompt: Any, do_preprocess: bool, adapter_name: Any) -> dict[str, Any]:
        return {"prompt": "abc", "input_ids": list(PROMPT)}

    def parts(self, ids: list[int], options: Any, length: int) -> list[Any]:
        made, entries = [], []
        for _ in range(options.max_new_tokens):
            logits = row(ids[-1])
            for processor in (
                (getattr(options, "logits_processors", None) or ()) if self.calls_processors else ()
            ):
                logits = processor(torch.tensor(ids), logits)
            made.append(int(logits.argmax()))
            entries.append({made[-1]: float(logits.log_softmax(-1)[made[-1]])})
            ids = [*ids, made[-1]]
        if self.reports == "one":
            entries = [{token: 0.0} for token in made]
        told = options.logprobs is not None and self.reports != "none"
        return [
            SimpleNamespace(
                input_token_len=length,
                token_ids=made,
                logprobs=entries if told else None,
                logits=None,
                finish_reason="length",
            )
        ]

    @asynccontextmanager
    async def safe_run(self, handle: Any, session: Any, **asked: Any) -> AsyncIterator[Any]:
        self.ran.append(asked)

        async def outputs() -> AsyncIterator[Any]:
            logits = torch.stack([row(token) for token in asked["input_ids"]])
            if self.scales:
                logits[-1] /= asked["gen_config"].temperature
            yield SimpleNamespace(status=self.status, logits=logits)

        yield outputs()


class Old(Engine):
    """`generate` takes messages, and a caller begins and ends sequences."""

    async def get_prompt_input(  # type: ignore[override]
        self, prompt: Any, do_preprocess: bool, sequence_start: bool, adapter_name: Any
    ) -> dict[str, Any]:
        assert sequence_start
        return {"prompt": "abc", "input_ids": list(PROMPT)}

    async def generate(
        self, messages: Any, session_id: Any, gen_config: Any, stream_response: bool
    ) -> AsyncIterator[Any]:
        for part in self.parts(list(PROMPT), deepcopy(gen_config), len(PROMPT)):
            yield part
        self.session_mgr.remove(session_id)

    async def async_get_logits(
        self, input_ids: list[list[int]], sequence_start: bool = True, sequence_end: bool = True
    ) -> list[torch.Tensor]:
        raise AssertionError("safe_run is there")


class New(Engine):
    """`preprocess` makes the request that `generate` takes; inputs can be scored."""

    async def preprocess(self, messages: Any, session_id: Any, gen_config: Any) -> Request:
        gen_config.stop_token_ids = [7]
        return Request(
            session_id, {"input_ids": list(PROMPT), "multimodal": [{"pixels": "image"}]}, 3, gen_config
        )

    async def generate(self, request: Request, stream_response: bool = True) -> AsyncIterator[Any]:
        options, ids = request.gen_config, request.inputs["input_ids"]
        request.inputs.pop("multimodal")
        if options.logprob_start_len >= 0:
            pairs = list(itertools.pairwise(ids))[options.logprob_start_len :]
            entries = []
            for last, token in pairs:
                logprobs = row(last).log_softmax(-1)
                best = int(logprobs.argmax())
                entries.append({token: float(logprobs[token]), best: float(logprobs[best])})
            yield SimpleNamespace(logprobs=entries)
            return
        for part in self.parts(list(ids), options, request.input_token_len):
            yield part
        self.session_mgr.remove(request.session)

    async def async_get_logits(self, input_ids: list[list[int]], sessions: Any = None) -> Any:
        raise AssertionError("safe_run is there")


def steps_on(engine: Any) -> PytorchSteps:
    """The steps on a stand-in; they ask it for all that they need."""
    return PytorchSteps(engine, settings_of())


def settings_of(*, paths: tuple[str, ...] = (), **options: Any) -> EngineSettings:
    return EngineSettings(
        kind="lmdeploy",
        model="m",
        dtype="auto",
        device="cpu",
        paths=paths,
        top_k=5,
        batch_size=1,
        options=options,
    )
