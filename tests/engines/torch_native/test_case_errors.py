"""An error is that of its case, whatever else is in its batch."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest

from harness.engines.contract import Failure
from harness.errors import EngineError, ErrorKind
from tests.engines.torch_native.asking import (
    BOTH,
    NOISE,
    answers_of,
    assert_paths_agree,
    loaded,
    request_of,
    settings_of,
)


@pytest.mark.parametrize("paths", [BOTH, ("forward",)])
def test_nan_is_the_failure_of_its_case_only(
    tiny_engine: Any, pictures: SimpleNamespace, changed: Callable[..., Path], paths: Sequence[str]
) -> None:
    poisoned = tiny_engine._passes.tokenizer.convert_tokens_to_ids("~")

    def poison(weights: dict[str, Any]) -> dict[str, Any]:
        name = next(name for name in weights if name.endswith("embed_tokens.weight"))
        weights[name][poisoned] = float("nan")
        return weights

    requests = [request_of("a", image=pictures.wide), request_of("b", "Which ~ne?", image=pictures.wide)]
    expected = answers_of(tiny_engine, requests[:1])["a"]
    results = answers_of(loaded(changed("model.safetensors", poison), paths=paths), requests)
    assert isinstance(results["b"], Failure)
    assert results["b"].kind is ErrorKind.NOT_FINITE
    assert results["b"].message.startswith(f"b: {paths[0]}: ")
    assert results["a"].generated_ids == expected.generated_ids
    np.testing.assert_allclose(results["a"].rows["forward"], expected.rows["forward"], rtol=0, atol=NOISE)


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"images": ("nowhere.png",)}, ErrorKind.FAILED, "nowhere.png"),
        ({"images": (__file__,)}, ErrorKind.FAILED, "cannot identify image file"),
        ({"answer_prefix": "答"}, ErrorKind.LETTERS, "candidates:"),
        (
            {"prompt": "a <IMG_CONTEXT> b"},
            ErrorKind.FAILED,
            "in the text but no images were passed",
        ),
    ],
)
def test_a_bad_request_fails_alone(
    tiny_engine: Any, pictures: SimpleNamespace, changes: dict[str, Any], kind: ErrorKind, message: str
) -> None:
    bad = dataclasses.replace(request_of("bad"), **changes)
    results = answers_of(tiny_engine, [request_of("before"), bad, request_of("after", image=pictures.square)])
    assert results["bad"].kind is kind
    assert message in results["bad"].message
    assert_paths_agree(results["before"])
    assert_paths_agree(results["after"])


def test_a_template_that_drops_the_image_is_a_failure(
    pictures: SimpleNamespace, changed: Callable[..., Path]
) -> None:
    engine = loaded(changed("chat_template.jinja", lambda text: text.replace("<IMG_CONTEXT>", "")))
    result = answers_of(engine, [request_of("x", image=pictures.square)])["x"]
    assert result.kind is ErrorKind.FAILED
    assert "Found total 0 <IMG_CONTEXT> tokens and 1 images" in result.message


def test_a_template_that_refuses_a_case_is_its_failure(changed: Callable[..., Path]) -> None:
    engine = loaded(
        changed("chat_template.jinja", lambda text: "{{- raise_exception('no system, please') -}}" + text)
    )
    result = answers_of(engine, [request_of("x")])["x"]
    assert result.kind is ErrorKind.FAILED
    assert "no system, please" in result.message


def test_a_case_that_breaks_its_batch_fails_alone(
    tiny_engine: Any, pictures: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = tiny_engine._passes.rows

    def rows(batch: Sequence[Any]) -> Any:
        if any(case.prepared.request.case == "bad" for case in batch):
            raise RuntimeError("shapes do not match")
        return real(batch)

    monkeypatch.setattr(tiny_engine._passes, "rows", rows)
    results = answers_of(tiny_engine, [request_of(case, image=pictures.square) for case in ("a", "bad", "c")])
    assert results["bad"].message == "bad: RuntimeError: shapes do not match"
    assert_paths_agree(results["a"])
    assert_paths_agree(results["c"])


@pytest.mark.parametrize("path", BOTH)
@pytest.mark.parametrize("text", ["", "[enforce fail] DefaultCPUAllocator: can't allocate memory"])
def test_out_of_memory_concerns_the_whole_batch(
    tiny_engine: Any, monkeypatch: pytest.MonkeyPatch, path: str, text: str
) -> None:
    import torch

    error = RuntimeError(text) if text else torch.OutOfMemoryError("CUDA out of memory")
    monkeypatch.setattr(tiny_engine, "_settings", settings_of(Path(), paths=[path]))
    monkeypatch.setattr(tiny_engine._passes, "rows", Mock(side_effect=error))
    monkeypatch.setattr(tiny_engine._passes.model, "generate", Mock(side_effect=error))
    with pytest.raises(
        EngineError, match=r"did not fit.*lower batch_size in the profile \(now 16\)"
    ) as caught:
        answers_of(tiny_engine, [request_of("a"), request_of("b")])
    assert caught.value.kind is ErrorKind.OUT_OF_MEMORY
