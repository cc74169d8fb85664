"""What goes into the model: tokens, pictures, and batches of text."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from PIL import Image, ImageOps

from harness.errors import ErrorKind
from tests.engines.torch_native.asking import (
    answers_of,
    assert_paths_agree,
    assert_same,
    loaded,
    picture,
    request_of,
)


@pytest.mark.parametrize("begins", [True, False])
def test_begin_of_text_is_there_once(
    changed: Callable[..., Path], pictures: SimpleNamespace, begins: bool
) -> None:
    """The tokenizer adds it, and the template may have it too; Transformers' own way is the reference."""
    from tokenizers import processors

    folder = changed("chat_template.jinja", lambda text: "<|system|>" * begins + text)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        content = json.loads((folder / name).read_text())
        if name == "tokenizer.json":
            begin = next(t["id"] for t in content["added_tokens"] if t["content"] == "<|system|>")
            template = processors.TemplateProcessing(
                single="<|system|> $A", special_tokens=[("<|system|>", begin)]
            )
            content["post_processor"] = json.loads(template.__getstate__())
        else:
            content["bos_token"] = "<|system|>"
        (folder / name).write_text(json.dumps(content))
    engine = loaded(folder)
    answer = answers_of(engine, [request_of("x", image=pictures.wide)])["x"]
    assert answer.prompt_ids.count(begin) == 1
    content = [{"type": "image", "path": pictures.wide}, {"type": "text", "text": "Which one?"}]
    expected = engine._passes._processor.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=True, return_dict=True
    )
    assert answer.prompt_ids == tuple(expected["input_ids"][0])


@pytest.mark.parametrize("image", [True, False])
def test_a_prompt_is_not_cut_to_what_the_tokenizers_file_says(
    tiny_engine: Any, changed: Callable[..., Path], pictures: SimpleNamespace, image: bool
) -> None:
    cut = {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0}
    folder = changed("tokenizer.json", lambda content: {**content, "truncation": cut})
    request = request_of("x", image=pictures.wide) if image else request_of("x")
    plain, other = (answers_of(engine, [request])["x"] for engine in (tiny_engine, loaded(folder)))
    assert_same(plain, other, noise=0.0)


@pytest.mark.parametrize("template", ["text", "list"])
def test_a_template_in_the_tokenizers_configuration_is_one(
    tiny_engine: Any, changed: Callable[..., Path], pictures: SimpleNamespace, template: str
) -> None:
    found = tiny_engine._passes._processor.chat_template
    named = [{"name": "tool_use", "template": "no"}, {"name": "default", "template": found}]
    folder = changed(
        "tokenizer_config.json",
        lambda content: {**content, "chat_template": found if template == "text" else named},
    )
    (folder / "chat_template.jinja").unlink()
    request = request_of("x", image=pictures.wide)
    plain, other = (answers_of(engine, [request])["x"] for engine in (tiny_engine, loaded(folder)))
    assert_same(plain, other, noise=0.0)


def test_an_end_of_text_that_the_tokenizer_adds_is_refused(
    changed: Callable[..., Path], pictures: SimpleNamespace
) -> None:
    def adding(content: dict[str, Any]) -> dict[str, Any]:
        end = next(t["id"] for t in content["added_tokens"] if t["content"] == "<|end|>")
        template = processors.TemplateProcessing(single="$A <|end|>", special_tokens=[("<|end|>", end)])
        return {**content, "post_processor": json.loads(template.__getstate__())}

    from tokenizers import processors

    engine = loaded(changed("tokenizer.json", adding))
    found = answers_of(engine, [request_of("x", image=pictures.wide)])["x"]
    assert found.kind is ErrorKind.FAILED
    assert "The tokenizer adds '<|end|>' (ids [" in found.message
    assert "see the post_processor of tokenizer.json" in found.message


def test_a_picture_is_seen_as_stored_whatever_its_exif_orientation(
    tiny_engine: Any, pictures: SimpleNamespace, tmp_path: Path
) -> None:
    """As LMDeploy's loader sees it; turned, this picture would have other tiles."""
    from harness.engines.images import open_image

    turned = tmp_path / "turned.png"
    with Image.open(pictures.wide) as image:
        exif = image.getexif()
        exif[0x0112] = 6
        image.save(turned, exif=exif)
    with Image.open(turned) as image:
        assert ImageOps.exif_transpose(image).size == (56, 112)
    assert ImageOps.exif_transpose(open_image(str(turned))).size == (112, 56)
    plain, same = (
        answers_of(tiny_engine, [request_of("x", image=path)])["x"] for path in (pictures.wide, str(turned))
    )
    assert_same(plain, same, noise=0.0)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "1", "CMYK"])
def test_pictures_of_every_mode_are_read(tiny_engine: Any, tmp_path: Path, mode: str) -> None:
    path = tmp_path / "picture.tiff"
    Image.new("RGB", (40, 30), "white").convert(mode).save(path)
    reference = picture(tmp_path / "white.png", (40, 30), "white")
    Image.new("RGB", (40, 30), "white").save(reference)
    one, two = (answers_of(tiny_engine, [request_of("x", image=str(p))])["x"] for p in (path, reference))
    assert_same(one, two, noise=0.0)


@pytest.fixture(scope="session")
def text_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """GPT-2's architecture: positions are learned, so padding without positions would show."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    from tests.engines.torch_native.tiny_families import tokenizer_of

    folder = tmp_path_factory.mktemp("text-model")
    tokenizer = tokenizer_of("<IMG_CONTEXT>")
    tokenizer.save_pretrained(folder)
    torch.manual_seed(1)
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=256,
        n_embd=32,
        n_layer=2,
        n_head=2,
        initializer_range=0.3,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    GPT2LMHeadModel(config).save_pretrained(folder)
    return folder


def test_a_model_of_text_answers_in_batches_too(text_model: Path) -> None:
    engine = loaded(text_model)
    requests = [
        request_of("short", "Which of them?"),
        request_of("longer", "Which is it?", system="Be brief."),
        request_of("long", "Which of them all would it be?", max_new_tokens=3),
    ]
    lengths = [len(answer.prompt_ids) for answer in answers_of(engine, requests).values()]
    assert len({length.bit_length() for length in lengths}) < len(set(lengths)) == 3
    together = answers_of(engine, requests)
    for request in requests:
        assert_paths_agree(together[request.case])
        assert_same(answers_of(engine, [request])[request.case], together[request.case])


def test_an_image_for_a_model_of_text_is_unsupported(text_model: Path, pictures: SimpleNamespace) -> None:
    results = answers_of(loaded(text_model), [request_of("a"), request_of("b", image=pictures.square)])
    assert results["b"].kind is ErrorKind.UNSUPPORTED
    assert "the model takes text only" in results["b"].message
    assert_paths_agree(results["a"])


def test_cases_are_not_padded_for_a_model_that_would_not_know(
    text_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = loaded(text_model, paths=["forward"])
    monkeypatch.setattr(engine._passes, "_forward_takes", engine._passes._forward_takes - {"position_ids"})
    batches = []
    real = engine._passes.rows
    monkeypatch.setattr(engine._passes, "rows", lambda batch: batches.append(batch) or real(batch))  # type: ignore[func-returns-value]
    requests = [request_of("a", "Which?"), request_of("b", "Whose?"), request_of("c", "Which one?")]
    alone = {request.case: answers_of(engine, [request])[request.case] for request in requests}
    batches.clear()
    for case, answer in answers_of(engine, requests).items():
        assert_same(answer, alone[case])
    assert sorted(len(batch) for batch in batches) == [1, 2]


def test_tensors_that_cannot_be_lengthened_are_named() -> None:
    import torch

    from harness.engines.torch_native.inputs import Forced, pad_together

    prepared = Mock(tensors={"cross_mask": torch.zeros(1, 3, 2)}, prompt_ids=(1, 2, 3))
    assert pad_together([Forced(prepared, ())], pad_id=0)["cross_mask"].shape == (1, 3, 2)
    with pytest.raises(ValueError, match=r"'cross_mask' of shape \[1, 3, 2\]; set paths: \[generate\]"):
        pad_together([Forced(prepared, (7,))], pad_id=0)
