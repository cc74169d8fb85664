"""LMDeploy 0.5.3 and 0.6: ``prepare_inputs`` and ``get_logits``; the pipeline is the engine itself.

After v0.5.3 and 0.6.5 of lmdeploy/serve/{utils,async_engine,vl_async_engine}.py and lmdeploy/vl/templates.py.
"""

from __future__ import annotations

import asyncio
import dataclasses
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import torch

from tests.engines.lmdeploy_pipeline.stand_ins import tiny_model as tiny
from tests.engines.lmdeploy_pipeline.stand_ins.common_ground import (
    Engine,
    Faults,
    Response,
    all_rows,
    embedded,
    fake_module,
    seen,
    segments,
)


@dataclass
class GenerationConfig:
    """v0.5.3 messages.py: no ``do_sample``, and no way to logits."""

    n: int = 1
    max_new_tokens: int = 512
    top_p: float = 1.0
    top_k: int = 1
    temperature: float = 0.8
    repetition_penalty: float = 1.0
    ignore_eos: bool = False
    random_seed: int | None = None
    logprobs: int | None = None

    @property
    def stop_token_ids(self) -> list[int]:
        return [tiny.END_ID]

    @property
    def logits_processors(self) -> None:
        return None


@dataclass
class GenerationConfig06(GenerationConfig):
    """0.6.5 messages.py."""

    top_k: int = 50
    do_sample: bool = False
    stop_token_ids: list[int] | None = None  # type: ignore[assignment]
    logits_processors: list[Any] | None = None  # type: ignore[assignment]


@dataclass
class TurbomindEngineConfig:
    """v0.5.3 messages.py: no ``dtype``, no ``enable_metrics``."""

    model_format: str | None = None
    tp: int = 1
    session_len: int | None = None
    max_batch_size: int = 128
    cache_max_entry_count: float = 0.8
    cache_block_seq_len: int = 64
    enable_prefix_caching: bool = False
    quant_policy: int = 0
    max_prefill_token_num: int = 8192


@dataclass
class TurbomindEngineConfig06(TurbomindEngineConfig):
    dtype: str = "auto"


@dataclass
class PytorchEngineConfig:
    """v0.5.3 messages.py: no ``dtype``, no ``logprobs_mode``."""

    tp: int = 1
    session_len: int | None = None
    max_batch_size: int = 128
    cache_max_entry_count: float = 0.8
    block_size: int = 64
    num_gpu_blocks: int = 0
    max_prefill_token_num: int = 4096
    enable_prefix_caching: bool = False
    adapters: dict[str, str] = field(default_factory=dict)


@dataclass
class PytorchEngineConfig06(PytorchEngineConfig):
    dtype: str = "auto"
    quant_policy: int = 0


class VLPrompts:
    """From messages to an engine's inputs; with ``pixels`` (from 0.6.5) the PyTorch engine is given those."""

    def __init__(self, backend: str, backend_config: Any, faults: Faults, *, pixels: bool) -> None:
        self.backend = backend
        self.backend_config = backend_config
        self.faults = faults
        self.pixels = pixels
        self.engine = Engine(backend, faults, getattr(backend_config, "logprobs_mode", None))
        self.tokenizer = self.engine.tokenizer
        self.chat_template = object()
        self.session_len = backend_config.session_len or 4096
        self.stop_words = [tiny.END_ID]
        self.vl_encoder = SimpleNamespace(model=SimpleNamespace(image_token_id=0))

    def _decorated(self, messages: list[dict[str, Any]]) -> tuple[str, list[Any]]:
        """v0.5.3 vl/templates.py: items image_url and image_data, and the last text, are taken."""
        plain, images = [], []
        for message in messages:
            content = message["content"]
            if not isinstance(content, str):
                found = [item["image_data"]["data"] for item in content if item["type"] == "image_data"]
                text = [item["text"] for item in content if item["type"] == "text"][-1]
                if found and not self.faults.drops_image:
                    text = f"<img>{tiny.IMAGE_TOKEN * len(found)}</img>\n{text}"
                    images += found
                content = text
            plain.append({"role": message["role"], "content": content})
        return tiny.rendered(plain), images

    async def _get_prompt_input(
        self, messages: Any, do_preprocess: bool, sequence_start: bool, adapter_name: Any, **_: Any
    ) -> dict[str, Any]:
        prompt, images = self._decorated(messages)
        if self.pixels and self.backend == "pytorch" and images:
            ids, _ranges = segments(prompt, images, tiny.VOCABULARY[tiny.IMAGE_CONTEXT])
            return {"prompt": prompt, "input_ids": ids, "multimodal": [{"pixel_values": i} for i in images]}
        ids, ranges = segments(prompt, images, 0)  # IMAGE_DUMMY_TOKEN_INDEX
        found: dict[str, Any] = {"prompt": prompt, "input_ids": ids}
        if images:
            found |= {"input_embeddings": [embedded(i) for i in images], "input_embedding_ranges": ranges}
        return found


class VLAsyncEngine(VLPrompts):
    """The pipeline of both engines; with ``pixels`` it is that of 0.6.5."""

    def prepare_inputs(self, prompts: Any) -> dict[str, Any]:
        """serve/utils.py:34. What is in ``multimodal`` does not come along."""
        prompts = [prompts] if isinstance(prompts, str) or isinstance(prompts[0], dict) else prompts
        found = [asyncio.run(self._get_prompt_input(p, True, True, None)) for p in prompts]
        embeddings: Any = [each.get("input_embeddings") for each in found]
        ranges: Any = [each.get("input_embedding_ranges") for each in found]
        if not any(embeddings):
            embeddings = ranges = None
        return {
            "prompts": [each["prompt"] for each in found],
            "input_ids": [each["input_ids"] for each in found],
            "input_embeddings": embeddings,
            "input_embedding_ranges": ranges,
        }

    def get_logits(
        self, input_ids: Any, input_embeddings: Any = None, input_embedding_ranges: Any = None
    ) -> torch.Tensor:
        """serve/utils.py:66: [B, T, V] for ids of one length, cut into pieces and joined again."""
        assert len(input_ids) > 0
        if isinstance(input_ids[0], int):
            input_ids = [input_ids]
        if input_embeddings is not None and not isinstance(input_embeddings[0], list):
            input_embeddings, input_embedding_ranges = [input_embeddings], [input_embedding_ranges]
        rows = []
        for number, ids in enumerate(input_ids):
            image = None
            if input_embeddings is not None:
                for emb, (begin, end) in zip(
                    input_embeddings[number], input_embedding_ranges[number], strict=True
                ):
                    assert end <= len(ids)
                    assert end - begin == len(emb)
                image = seen({"input_embeddings": input_embeddings[number]})
            rows.append(all_rows(ids, image, self.faults))
        return torch.stack(rows)

    def __call__(self, prompts: Any, gen_config: Any = None, **_: Any) -> Any:
        single = isinstance(prompts, str) or isinstance(prompts[0], dict)
        prompts = [prompts] if single else prompts
        if not isinstance(gen_config, list):
            gen_config = [gen_config] * len(prompts)
        assert len(prompts) == len(gen_config)
        found = [self._generated(p, c) for p, c in zip(prompts, gen_config, strict=True)]
        return found[0] if single else found

    def _generated(self, prompt: Any, config: Any) -> Response:
        """async_engine.py, with stop tokens taken off by the engines (turbomind.py:864, _EMPTY_TOKEN)."""
        inputs = asyncio.run(self._get_prompt_input(prompt, True, True, None))
        config = dataclasses.replace(config)
        if self.pixels:
            config.stop_token_ids = self.stop_words
            if not config.do_sample:
                config.top_k, config.temperature = 1, 1.0
        output = self.engine.answer(inputs["input_ids"], seen(inputs), config)
        ids = output.token_ids
        if ids and ids[-1] == tiny.END_ID:
            ids = ids[:-1]
        reason = "length" if output.num_token >= config.max_new_tokens else "stop"
        text = self.tokenizer.model.model.decode(ids)
        return Response(text, len(ids), len(inputs["input_ids"]), reason, ids, output.logprobs)


def make(*, new: bool, faults: Faults) -> Any:
    """A package ``lmdeploy`` of 0.5.3, or (``new``) of 0.6.5."""
    turbomind = TurbomindEngineConfig06 if new else TurbomindEngineConfig
    pytorch = PytorchEngineConfig06 if new else PytorchEngineConfig

    def pipeline(model_path: str, backend_config: Any = None, log_level: str = "ERROR", **kwargs: Any) -> Any:
        assert not kwargs
        if faults.falls_back:
            backend_config = pytorch()
        backend = "pytorch" if isinstance(backend_config, pytorch) else "turbomind"
        return VLAsyncEngine(backend, backend_config, faults, pixels=new)

    return fake_module(
        pipeline,
        GenerationConfig=GenerationConfig06 if new else GenerationConfig,
        TurbomindEngineConfig=named(turbomind, "TurbomindEngineConfig"),
        PytorchEngineConfig=named(pytorch, "PytorchEngineConfig"),
    )


def named(kind: type[Any], name: str) -> type[Any]:
    """The class under LMDeploy's own name."""
    kind.__name__ = name
    return kind
