"""LMDeploy 0.12 to 0.18 with TurboMind: a ``Pipeline`` around an engine with sessions and prompt processor.

After v0.12.3 and v0.16.0 of lmdeploy/pipeline.py, serve/core/async_engine.py, serve/processors/multimodal.py.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

from tests.engines.lmdeploy_pipeline.stand_ins import era_0_7
from tests.engines.lmdeploy_pipeline.stand_ins import tiny_model as tiny
from tests.engines.lmdeploy_pipeline.stand_ins.common_ground import (
    EngineOutput,
    Faults,
    LoopThread,
    fake_module,
)
from tests.engines.lmdeploy_pipeline.stand_ins.era_0_5 import VLPrompts, named
from tests.engines.lmdeploy_pipeline.stand_ins.era_0_7 import Generating


class Session:
    """serve/managers/session_manager.py."""

    def __init__(self, engine: Any, session_id: int) -> None:
        self.session_id = session_id
        self.engine = engine

    @asynccontextmanager
    async def request_handle(self) -> AsyncIterator[Any]:
        yield self.engine.create_instance()


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


class AsyncEngine(VLPrompts):
    """serve/core/async_engine.py."""

    def __init__(self, backend: str, backend_config: Any, faults: Faults) -> None:
        super().__init__(backend, backend_config, faults, pixels=True)
        vision = self.__dict__.pop("vl_encoder")
        self.hf_gen_cfg = {"eos_token_id": [tiny.END_ID]}
        self.prompt_processor = SimpleNamespace(vl_encoder=vision, get_prompt_input=self._prompt_input)
        self.session_mgr = SessionManager(self.engine)

    async def _prompt_input(
        self, prompt: Any, do_preprocess: bool, sequence_start: bool, adapter_name: Any, **kwargs: Any
    ) -> dict[str, Any]:
        """v0.12.3 multimodal.py:156; from 0.16 TurboMind is given pixels too, which changes nothing here."""
        return await self._get_prompt_input(prompt, do_preprocess, sequence_start, adapter_name)

    @asynccontextmanager
    async def safe_run(self, handle: Any, session: Any, **kwargs: Any) -> AsyncIterator[Any]:
        assert session.session_id in self.session_mgr.open
        yield handle.async_stream_infer(session.session_id, **kwargs)


class Pipeline(Generating):
    """pipeline.py."""

    skips = False

    def __init__(self, engine: AsyncEngine) -> None:
        self.async_engine = engine
        self.backend_config = engine.backend_config
        self.stop_words = engine.stop_words
        self.tokenizer = engine.tokenizer
        self.internal_thread = LoopThread()

    def close(self) -> None:
        self.internal_thread.close()

    async def prompt_input(self, messages: Any) -> dict[str, Any]:
        processor = self.async_engine.prompt_processor
        found: dict[str, Any] = await processor.get_prompt_input(messages, True, True, None)
        return found

    async def raw(self, inputs: dict[str, Any], config: Any) -> AsyncIterator[EngineOutput]:
        session = self.async_engine.session_mgr.get()
        async with (
            session.request_handle() as handle,
            self.async_engine.safe_run(handle, session=session, **inputs, gen_config=config) as stream,
        ):
            async for output in stream:
                yield output
        self.async_engine.session_mgr.remove(session)


def make(*, faults: Faults) -> Any:
    """A package ``lmdeploy`` of 0.12 to 0.18."""
    turbomind = named(era_0_7.TurbomindEngineConfig011, "TurbomindEngineConfig")
    pytorch = named(era_0_7.PytorchEngineConfig011, "PytorchEngineConfig")

    def pipeline(
        model_path: str, backend_config: Any = None, trust_remote_code: bool = False, **kwargs: Any
    ) -> Any:
        if faults.falls_back:
            backend_config = pytorch()
        backend = "pytorch" if isinstance(backend_config, pytorch) else "turbomind"
        return Pipeline(AsyncEngine(backend, backend_config, faults))

    return fake_module(
        pipeline,
        GenerationConfig=era_0_7.GenerationConfig011,
        TurbomindEngineConfig=turbomind,
        PytorchEngineConfig=pytorch,
    )
