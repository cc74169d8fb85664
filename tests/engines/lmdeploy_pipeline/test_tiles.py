"""How LMDeploy is told the most tiles, with stand-ins for its vision models."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from harness.engines.contract import Request
from harness.engines.lmdeploy_pipeline.prompts import messages
from harness.engines.lmdeploy_pipeline.tiles import image_options, most_tiles_of
from harness.errors import EngineError


def engine(**vision: Any) -> Any:
    """A stand-in for LMDeploy's engine, as far as its preprocessing goes."""
    vision = {"hf_config": SimpleNamespace(architectures=["Other"]), **vision}
    encoder = SimpleNamespace(model=SimpleNamespace(**vision))
    return SimpleNamespace(prompt_processor=SimpleNamespace(vl_encoder=encoder))


def chat_model(**config: Any) -> Any:
    return engine(hf_config=SimpleNamespace(architectures=["InternVLChatModel"], **config))


def test_internvl_chat_models_are_told_with_every_image() -> None:
    options = image_options(chat_model(dynamic_image_size=True), 6)
    assert options == {"max_dynamic_patch": 6}
    request = Request(case="s.c", prompt="What?", letters=("A", "B"), images=("a", "b"))
    pictures: list[Any] = [object(), object()]
    shown = [{"type": "image_data", "image_data": {"data": each, **options}} for each in pictures]
    (user,) = messages(request, pictures, options)
    assert user["content"] == [*shown, {"type": "text", "text": "What?"}]
    placed = replace(request, prompt="Is {image:2} {image:1}?")
    (user,) = messages(placed, pictures, options)
    words = [{"type": "text", "text": text} for text in ("Is ", " ", "?")]
    assert user["content"] == [words[0], shown[0], words[1], shown[1], words[2]]
    assert placed.shown == ("b", "a")
    (user,) = messages(placed, pictures, options, in_text=True)
    assert user["content"] == [*shown, {"type": "text", "text": "Is <IMAGE_TOKEN> <IMAGE_TOKEN>?"}]


def test_processors_of_transformers_are_set_once() -> None:
    image_processor = SimpleNamespace(crop_to_patches=True, min_patches=1, max_patches=12)
    assert image_options(engine(processor=SimpleNamespace(image_processor=image_processor)), 6) == {}
    assert image_processor.max_patches == 6


def any_size(preprocess: Any) -> Any:
    image_processor = SimpleNamespace(merge_size=2, size={"shortest_edge": 3136, "longest_edge": 10**6})
    return engine(processor=SimpleNamespace(image_processor=image_processor), preprocess=preprocess)


def test_pixels_are_set_and_told_where_another_library_resizes_first() -> None:
    """Qwen2VLModel of LMDeploy 0.12 to 0.15 resizes by qwen_vl_utils; see vl/model/qwen2.py there."""
    older, newer = any_size(lambda messages: None), any_size(lambda messages, mm_processor_kwargs: None)
    both = {"min_pixels": 3136, "max_pixels": 9000}
    assert image_options(older, None, {"max_pixels": 9000}) == both
    assert image_options(newer, None, {"max_pixels": 9000}) == {}
    for each in (older, newer):
        size = each.prompt_processor.vl_encoder.model.processor.image_processor.size
        assert size == {"shortest_edge": 3136, "longest_edge": 9000}


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (
            SimpleNamespace(prompt_processor=SimpleNamespace(vl_encoder=None)),
            "max_pixels: the model takes",
        ),
        (engine(processor=print), "has a preprocessing of its own"),
    ],
)
def test_pixels_that_could_only_be_ignored_are_refused(model: Any, reason: str) -> None:
    with pytest.raises(EngineError, match=reason):
        image_options(model, None, {"max_pixels": 9000})


def test_without_a_limit_nothing_is_touched() -> None:
    assert image_options(engine(), None) == {}


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (SimpleNamespace(prompt_processor=SimpleNamespace(vl_encoder=None)), "takes text only"),
        (chat_model(), "no dynamic_image_size"),
        (engine(processor=print), "has a preprocessing of its own"),
        (engine(processor=SimpleNamespace(image_processor=object())), "offers no limit of tiles"),
    ],
)
def test_a_limit_that_could_only_be_ignored_is_refused(model: Any, reason: str) -> None:
    with pytest.raises(EngineError, match=reason):
        image_options(model, 6)


@pytest.mark.parametrize(
    ("model", "most"),
    [
        (chat_model(dynamic_image_size=True, max_dynamic_patch=12), 12),
        (chat_model(), 1),
        (
            engine(
                processor=SimpleNamespace(image_processor=SimpleNamespace(max_tiles=9, do_image_splitting=1))
            ),
            9,
        ),
        (engine(processor=print), None),
        (SimpleNamespace(prompt_processor=SimpleNamespace(vl_encoder=None)), None),
    ],
)
def test_the_most_tiles_are_the_models_own(model: Any, most: int | None) -> None:
    assert most_tiles_of(model) == most
