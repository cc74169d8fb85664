"""Seconds of the torch engine's two paths, of a bare batched forward and of the seed method, in turn.

Run as ``python -m benchmarks.time_torch ORDER RESULT`` in the engine's interpreter.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import transformers
from PIL import Image

from benchmarks.ratios import interleaved
from harness.engines.codec import request_from_json, settings_from_json
from harness.engines.contract import Engine, Failure, Request
from harness.engines.torch_native.engine import load
from harness.errors import EngineError, ErrorKind

_PATHS = ("forward", "generate")
Ids = dict[str, tuple[int, ...]]


def generated(engine: Engine, requests: Sequence[Request]) -> Ids:
    """The ids generated for each case; raises `EngineError` for one that gets no answer."""
    ids = {}
    for case, result in engine.score(requests):
        if isinstance(result, Failure):
            raise EngineError(result.kind, result.message)
        ids[case] = result.generated_ids
    return ids


def bare(model: Any, processor: Any, requests: Sequence[Request], size: int) -> Ids:  # noqa: ANN401
    """What somebody writes by hand: ``size`` cases at a time to processor and model; the letters' shares."""
    ids: Ids = {}
    for start in range(0, len(requests), size):
        batch = requests[start : start + size]
        texts, images = [], []
        for request in batch:
            content: list[dict[str, str]] = [{"type": "text", "text": request.prompt}]
            for at, shown in enumerate(request.images):
                with Image.open(shown) as image:
                    images.append(image.convert("RGB"))
                content.insert(at, {"type": "image"})
            system = [] if request.system is None else [{"role": "system", "content": request.system}]
            messages = [*system, {"role": "user", "content": content}]
            texts.append(processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False))
        inputs = processor(
            text=texts, images=images or None, padding=True, padding_side="left", return_tensors="pt"
        )
        positions = (inputs["attention_mask"].cumsum(-1) - 1).clamp(min=0)
        with torch.inference_mode():
            logits = model(**inputs, position_ids=positions, logits_to_keep=1).logits[:, -1].float()
        letters = [processor.tokenizer.convert_tokens_to_ids(list(request.letters)) for request in batch]
        shares = [row[own].softmax(-1).tolist() for row, own in zip(logits, letters, strict=True)]
        if not all(map(all, shares)):
            raise EngineError(ErrorKind.FAILED, "a letter has no share")
        ids.update({r.case: (top,) for r, top in zip(batch, logits.argmax(-1).tolist(), strict=True)})
    return ids


def main(order_file: str, result_file: str) -> None:
    """Time each way on the same cases, after seeing that they generate the same."""
    order = json.loads(Path(order_file).read_text(encoding="utf-8"))
    settings = settings_from_json(order["settings"])
    requests = [request_from_json(request) for request in order["requests"]]
    engines: dict[str, Any] = {path: load(replace(settings, paths=(path,))) for path in _PATHS}
    engines["seed"] = load(replace(settings, paths=("generate",), batch_size=1))
    work: dict[str, Callable[[], Ids]] = {
        name: partial(generated, engine, requests) for name, engine in engines.items()
    }
    at_once = [request for request in requests if not request.answer_prefix]
    model, processor = (transformers.AutoModelForImageTextToText, transformers.AutoProcessor)
    own = model.from_pretrained(settings.model, dtype=settings.dtype).eval().to(settings.device)
    work["bare"] = partial(bare, own, processor.from_pretrained(settings.model), at_once, settings.batch_size)
    work["one pass"] = partial(generated, engines["forward"], at_once)
    expected = generated(engines["forward"], requests)
    for name, once in work.items():
        if once().items() - expected.items():
            raise EngineError(ErrorKind.FAILED, f"{name} generates other ids: this is not the same work")
    Path(result_file).write_text(json.dumps(interleaved(work, order["repeats"])), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
