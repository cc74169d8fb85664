"""Settings and checkpoints that are refused."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.errors import EngineError, ErrorKind
from tests.engines.torch_native.asking import (
    EMBEDDED,
    answers_of,
    assert_same,
    loaded,
    request_of,
    settings_of,
)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"paths": ("two-stage",)}, "the path 'two-stage'; allowed: forward, generate"),
        (
            {"options": {"atention": "eager"}},
            "the option 'atention'; allowed: attention, max_pixels, min_pixels, template_date, ",
        ),
    ],
)
def test_settings_the_engine_does_not_know_are_refused(
    tiny: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(EngineError) as caught:
        loaded(tiny, **changes)
    assert caught.value.kind is ErrorKind.UNSUPPORTED
    assert message in caught.value.message


@pytest.mark.parametrize("path", ["forward", "generate"])
@pytest.mark.parametrize("memory", [True, False])
def test_what_an_image_sets_off_is_told_at_load(
    tiny: Path, memory: bool, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from transformers.models.internvl.modeling_internvl import InternVLVisionModel

    shown = []

    def failing(_: object, pixel_values: Any, **__: object) -> Any:
        shown.append(len(pixel_values))
        raise torch.OutOfMemoryError("planted") if memory else RuntimeError("expected scalar type Half")

    monkeypatch.setattr(InternVLVisionModel, "forward", failing)
    with pytest.raises(EngineError, match=r"cannot be loaded: .*(planted|Half)") as caught:
        loaded(tiny, paths=[path])
    assert caught.value.kind is (ErrorKind.OUT_OF_MEMORY if memory else ErrorKind.LOAD)
    assert shown == [4]  # the most, three, and a thumbnail


def test_without_a_gpu_the_device_cuda_is_refused(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(EngineError, match=r"no NVIDIA GPU visible.*'device: cpu'") as caught:
        loaded(tiny, device="cuda")
    assert caught.value.kind is ErrorKind.LOAD


def _without(name: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda weights: {key: value for key, value in weights.items() if not key.endswith(name)}


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("model.safetensors", _without("lm_head.weight"), "1 weights are missing, among them lm_head.weight"),
        (
            "processor_config.json",
            lambda config: {**config, "processor_class": "NobodyKnowsProcessor"},
            "AutoProcessor gave a",
        ),
        ("chat_template.jinja", None, "has no chat template; put a chat_template.jinja into the folder"),
        ("config.json", lambda config: {"model_type": "nobody-knows"}, "cannot be loaded: "),
        ("model.safetensors", None, "cannot be loaded: OSError"),
    ],
)
def test_a_checkpoint_that_is_not_whole_is_refused(
    tiny: Path, changed: Callable[..., Path], name: str, change: Callable[[Any], Any] | None, message: str
) -> None:
    folder = changed(name, change or (lambda content: content))
    if change is None:
        (folder / name).unlink()
    if name == "chat_template.jinja" or message.startswith("AutoProcessor"):
        file = folder / "tokenizer_config.json"
        config = json.loads(file.read_text())
        config.pop("processor_class", None)
        config.pop("chat_template", None)
        file.write_text(json.dumps(config))
    with pytest.raises(EngineError) as caught:
        loaded(folder)
    assert caught.value.kind is ErrorKind.LOAD
    assert message in caught.value.message
    assert str(folder) in caught.value.message


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"there is no model folder .*nowhere"):
        loaded(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("device", "accelerate", "given"),
    [("cuda", True, {"": "cuda"}), ("cuda", False, None), ("cpu", True, None)],
)
def test_weights_go_straight_to_a_gpu_where_accelerate_is_there(
    device: str, accelerate: bool, given: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By what Transformers is asked; nothing here ran on a GPU."""
    from harness.engines.torch_native import loading

    asked: dict[str, Any] = {}

    class Kind:
        @staticmethod
        def from_pretrained(folder: str, **options: Any) -> Any:
            asked.update(options)
            return SimpleNamespace(eval=lambda: "a model"), {}

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name if accelerate else None)
    model: Any = loading._load_weights(Kind, settings_of(Path(), device=device), attn_implementation="sdpa")

    assert model == "a model"
    assert asked.get("device_map") == given
    assert asked["attn_implementation"] == "sdpa"


def test_weights_read_into_their_place_are_the_same(
    tiny: Path, tiny_engine: Any, pictures: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the real accelerate, on the one device that is here."""
    from harness.engines.torch_native import loading

    monkeypatch.setattr(loading, "_placement", lambda device: {"device_map": {"": device}})
    engine = loaded(tiny)
    requests = [request_of("text"), request_of("wide", image=pictures.wide, max_new_tokens=4)]
    expected = answers_of(tiny_engine, requests)
    for case, answer in answers_of(engine, requests).items():
        assert_same(answer, expected[case], noise=0.0)


@pytest.mark.parametrize("path", ["forward", "generate"])
def test_what_shows_only_where_a_row_is_fetched_is_told_at_load(
    tiny: Path, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As what a GPU failed at does."""
    from harness.engines.torch_native import passes

    def failing(_: Any) -> Any:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(passes, "to_numpy", failing)
    with pytest.raises(EngineError, match="cannot be loaded: RuntimeError: CUDA error"):
        loaded(tiny, paths=[path])


def test_a_tokenizer_without_a_vocabulary_is_refused_at_load(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(EMBEDDED, folder, ignore=shutil.ignore_patterns("tokenizer.json"))
    with pytest.raises(EngineError, match="has no vocabulary: it makes no ids of 'A'") as caught:
        loaded(folder)
    assert caught.value.kind is ErrorKind.LOAD


def test_kernels_for_a_gpu_that_were_taken_on_a_cpu_are_named(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In Triton's own words (triton/runtime/driver.py)."""
    from transformers.models.internvl.modeling_internvl import InternVLVisionModel

    def failing(*_: object, **__: object) -> Any:
        raise RuntimeError("0 active drivers ([]). There should only be one.")

    monkeypatch.setattr(InternVLVisionModel, "forward", failing)
    with pytest.raises(
        EngineError, match="took Triton kernels for a GPU, since flash-linear-attention"
    ) as caught:
        loaded(tiny)
    assert "requirements: [torch==" in caught.value.message


def test_a_begin_of_text_is_kept_for_transformers_that_want_one_beside_embeddings(tiny: Path) -> None:
    """4.37 raises without (generation/utils.py: _maybe_initialize_input_ids_for_generation)."""
    engine = loaded(tiny)
    config = engine._passes.model.generation_config
    assert config.bos_token_id == config.pad_token_id
