"""LMDeploy 0.7 to 0.11: the pipeline is still the engine; ``output_logits`` in place of ``get_logits``.

After v0.7.0, v0.8.0 and v0.11.1 of lmdeploy/serve/async_engine.py, vl_async_engine.py and messages.py.
"""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from tests.engines.lmdeploy_pipeline.stand_ins import era_0_5
from tests.engines.lmdeploy_pipeline.stand_ins import tiny_model as tiny
from tests.engines.lmdeploy_pipeline.stand_ins.common_ground import (
    EngineOutput,
    Faults,
    LoopThread,
    Response,
    ResponseType,
    fake_module,
)
from tests.engines.lmdeploy_pipeline.stand_ins.era_0_5 import VLPrompts, named


@dataclass
class GenerationConfig:
    """v0.7.0 messages.py."""

    n: int = 1
    max_new_tokens: int = 512
    do_sample: bool = False
    top_p: float = 1.0
    top_k: int = 50
    temperature: float = 0.8
    repetition_penalty: float = 1.0
    ignore_eos: bool = False
    random_seed: int | None = None
    stop_token_ids: list[int] | None = None
    logprobs: int | None = None
    logits_processors: list[Any] | None = None
    output_logits: str | None = None


@dataclass
class GenerationConfig011(GenerationConfig):
    """v0.11.1 messages.py (from 0.10.2)."""

    include_stop_str_in_output: bool = False


@dataclass
class TurbomindEngineConfig(era_0_5.TurbomindEngineConfig06):
    """v0.7.3 messages.py; v0.11.1 has ``enable_metrics``."""

    communicator: str = "nccl"


@dataclass
class TurbomindEngineConfig011(TurbomindEngineConfig):
    hf_overrides: dict[str, Any] | None = None
    enable_metrics: bool = True


@dataclass
class PytorchEngineConfig(era_0_5.PytorchEngineConfig06):
    """v0.8.0 messages.py; ``logprobs_mode`` and ``enable_metrics`` came with 0.10."""

    eager_mode: bool = False


@dataclass
class PytorchEngineConfig011(PytorchEngineConfig):
    enable_metrics: bool = True
    logprobs_mode: str | None = None


class Generating:
    """Calling the pipeline; ``skips`` is what 0.7 to 0.9 do with an answer that ends at once."""

    skips: bool
    stop_words: list[int]
    tokenizer: tiny.Tokenizer
    internal_thread: LoopThread

    async def prompt_input(self, messages: Any) -> dict[str, Any]:
        raise NotImplementedError

    def raw(self, inputs: dict[str, Any], config: Any) -> AsyncIterator[EngineOutput]:
        raise NotImplementedError

    async def generate(self, messages: Any, gen_config: Any) -> AsyncIterator[Response]:
        """v0.7.0 async_engine.py:626, v0.11.1:790, v0.12.3 serve/core/async_engine.py:440."""
        config = dataclasses.replace(gen_config, stop_token_ids=[*self.stop_words])
        if not config.do_sample:
            config.top_k, config.temperature = 1, 1.0
        inputs = await self.prompt_input(messages)
        assert config.max_new_tokens > 0
        stop_ids = [] if config.ignore_eos else config.stop_token_ids
        output = EngineOutput(ResponseType.INTERNAL_ENGINE_ERROR, [])
        async for output in self.raw(inputs, config):
            hit = int(bool(output.token_ids) and output.token_ids[-1] in stop_ids)
            if hit and len(output.token_ids) == 1 and self.skips:
                continue  # v0.7.0:773: one token and it is skipped, its logits with it
            ids = output.token_ids[: len(output.token_ids) - hit]
            yield Response(
                self.tokenizer.model.model.decode(ids),
                len(ids),
                len(inputs["input_ids"]),
                None,
                ids,
                output.logprobs[: len(ids)] if output.logprobs else None,
                output.logits[:-1] if hit and output.logits is not None else output.logits,
            )
        stopped = output.token_ids[-1] in stop_ids
        ids, logprobs, logits = [], None, None
        if getattr(config, "include_stop_str_in_output", False) and stopped:
            ids = output.token_ids[-1:]
            logits = self.stop_row(output)
            logprobs = output.logprobs[-1:] if output.logprobs else None
        yield Response("", 0, 0, "stop" if stopped else "length", ids, logprobs, logits)

    def stop_row(self, output: EngineOutput) -> Any:
        return output.logits[-1:] if output.logits is not None else None

    def __call__(self, prompts: Any, gen_config: Any = None, **_: Any) -> Any:
        async def one(prompt: Any, config: Any) -> Any:
            whole = None
            async for part in self.generate(prompt, config):
                whole = part if whole is None else whole.extend(part)
            return whole

        async def gather() -> list[Any]:
            return await asyncio.gather(*map(one, prompts, gen_config))

        # Where this raises, the real one never returns: v0.7.0:446 waits for a sentinel that nobody puts.
        return asyncio.run_coroutine_threadsafe(gather(), self.internal_thread.loop).result(timeout=20)


class VLAsyncEngine(VLPrompts, Generating):
    """Everything runs in a loop of its own thread."""

    def __init__(self, backend: str, backend_config: Any, faults: Faults, *, skips: bool) -> None:
        super().__init__(backend, backend_config, faults, pixels=True)
        self.skips = skips
        self.internal_thread = LoopThread()
        self.hf_gen_cfg = {"eos_token_id": [tiny.END_ID]}
        self.id2inst: dict[int, Any] = {}
        self._session_id = itertools.count()

    def close(self) -> None:
        self.internal_thread.close()

    @asynccontextmanager
    async def model_inst(self, session_id: int) -> AsyncIterator[Any]:
        """v0.7.0 async_engine.py:599."""
        assert session_id not in self.id2inst
        self.id2inst[session_id] = self.engine.create_instance()
        try:
            yield self.id2inst[session_id]
        finally:
            self.id2inst.pop(session_id)

    @asynccontextmanager
    async def safe_run(self, inst: Any, session_id: int, **kwargs: Any) -> AsyncIterator[Any]:
        """v0.7.0 async_engine.py:614: an exception is logged, and gone."""
        generator = inst.async_stream_infer(session_id, **kwargs)
        try:
            yield generator
        except Exception:  # noqa: BLE001
            await inst.async_cancel(session_id)
        finally:
            await generator.aclose()

    async def prompt_input(self, messages: Any) -> dict[str, Any]:
        return await self._get_prompt_input(messages, True, True, None)

    async def raw(self, inputs: dict[str, Any], config: Any) -> AsyncIterator[EngineOutput]:
        session_id = next(self._session_id)
        async with (
            self.model_inst(session_id) as inst,
            self.safe_run(inst, session_id=session_id, **inputs, gen_config=config, step=0) as stream,
        ):
            async for output in stream:
                yield output

    def stop_row(self, output: EngineOutput) -> Any:
        """v0.11.1 async_engine.py:966: a tensor is asked whether it is true, which it does not say."""
        return output.logits[-1:] if output.logits else None


def make(*, new: bool, faults: Faults) -> Any:
    """A package ``lmdeploy`` of 0.8, or (``new``) of 0.11.1."""
    turbomind = named(TurbomindEngineConfig011 if new else TurbomindEngineConfig, "TurbomindEngineConfig")
    pytorch = named(PytorchEngineConfig011 if new else PytorchEngineConfig, "PytorchEngineConfig")

    def pipeline(
        model_path: str, backend_config: Any = None, log_level: str = "WARNING", **kwargs: Any
    ) -> Any:
        assert not kwargs
        if faults.falls_back:
            backend_config = pytorch()
        backend = "pytorch" if isinstance(backend_config, pytorch) else "turbomind"
        return VLAsyncEngine(backend, backend_config, faults, skips=not new)

    return fake_module(
        pipeline,
        GenerationConfig=GenerationConfig011 if new else GenerationConfig,
        TurbomindEngineConfig=turbomind,
        PytorchEngineConfig=pytorch,
    )
