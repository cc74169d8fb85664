"""The engine ``torch`` on the embedded model, and on small random models for what that model never does."""

from __future__ import annotations

import dataclasses
import json
import shutil
import string
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageOps

from harness.distributions import log_softmax
from harness.engines.contract import Answer, EngineSettings, Failure, Request
from harness.errors import EngineError, ErrorKind

EMBEDDED = Path(__file__).parents[3] / "cases" / "models" / "embedded"
BOTH = ("forward", "generate")
LETTERS = ("A", "B", "C", "D")
NOISE = 5e-5  # of a float32 logit of these models, between batched and single, cached and not

QUESTION = (
    "What colour are the objects?\nA. red\nB. green\nC. blue\nD. yellow\nAnswer with the option's letter."
)
LATER = "What colour are the objects?\nA. red\nB. green\nC. blue\nD. yellow\nReply in the form 'Answer: X'."


def _settings(model: Path, *, paths: Sequence[str] = BOTH, **changes: Any) -> EngineSettings:
    base = EngineSettings(
        kind="torch",
        model=str(model),
        dtype="auto",
        device="cpu",
        paths=tuple(paths),
        top_k=5,
        batch_size=16,
        options={"threads": 1},
    )
    return dataclasses.replace(base, **changes)


def _load(model: Path, **changes: Any) -> Any:
    from harness.engines.torch_native.engine import load

    return load(_settings(model, **changes))


def _answers(engine: Any, requests: Sequence[Request]) -> dict[str, Any]:
    outcomes = list(engine.score(requests))
    assert sorted(outcome.case for outcome in outcomes) == sorted(request.case for request in requests)
    return {outcome.case: outcome.result for outcome in outcomes}


def _assert_same(one: Any, two: Any, *, noise: float = NOISE) -> None:
    """Two answers of the same paths: ids equal, rows equal but for noise."""
    assert isinstance(one, Answer), one
    assert isinstance(two, Answer), two
    for name in ("prompt_ids", "generated_ids", "text", "letter_ids", "answer_step"):
        assert getattr(one, name) == getattr(two, name), name
    assert one.rows.keys() == two.rows.keys()
    for path in one.rows:
        np.testing.assert_allclose(one.rows[path], two.rows[path], rtol=0, atol=noise)


def _assert_paths_agree(answer: Any, *, noise: float = NOISE) -> None:
    assert isinstance(answer, Answer), answer
    forward, generate = answer.readings
    assert (forward.path, generate.path) == BOTH
    assert forward.argmax == generate.argmax == answer.generated_ids
    np.testing.assert_allclose(forward.logprobs, generate.logprobs, rtol=0, atol=2 * noise)
    np.testing.assert_allclose(forward.letter_logits, generate.letter_logits, rtol=0, atol=noise)
    assert [e.id for e in forward.top] == [e.id for e in generate.top]
    np.testing.assert_allclose(forward.other_spellings, generate.other_spellings, rtol=0, atol=noise)
    assert (answer.answer_step is None) == (not answer.rows)


# --- models and pictures ----------------------------------------------------------------------------------


def _picture(path: Path, size: tuple[int, int], colour: str) -> str:
    image = Image.new("RGB", size, "#787878")
    draw = ImageDraw.Draw(image)
    draw.rectangle((4, 4, size[1] // 2, size[1] // 2), fill=colour)
    image.save(path)
    return str(path)


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    folder = tmp_path_factory.mktemp("pictures")
    return SimpleNamespace(
        square=_picture(folder / "square.png", (56, 56), "red"),
        other=_picture(folder / "other.png", (56, 56), "#3060d0"),
        wide=_picture(folder / "wide.png", (112, 56), "green"),
    )


@pytest.fixture(scope="session")
def embedded() -> Any:
    return _load(EMBEDDED)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random InternVL with logits spread wide, so that it writes readable nonsense without near-ties."""
    import torch
    from transformers import InternVLConfig, InternVLForConditionalGeneration, InternVLProcessor
    from transformers.models.got_ocr2.image_processing_got_ocr2 import GotOcr2ImageProcessor
    from transformers.models.internvl.video_processing_internvl import InternVLVideoProcessor

    from tests.engines.torch_native.tiny_families import tokenizer_of

    folder = tmp_path_factory.mktemp("tiny")
    tokenizer = tokenizer_of(
        "<IMG_CONTEXT>",
        extra_special_tokens={
            "start_image_token": "<img>",
            "end_image_token": "</img>",
            "context_image_token": "<IMG_CONTEXT>",
            "video_token": "<video>",
        },
    )
    size = {"height": 28, "width": 28}
    InternVLProcessor(
        image_processor=GotOcr2ImageProcessor(size=size, crop_to_patches=True, min_patches=1, max_patches=3),
        tokenizer=tokenizer,
        video_processor=InternVLVideoProcessor(size=size),
        image_seq_length=1,
        chat_template=tokenizer.chat_template,
    ).save_pretrained(folder)
    config = InternVLConfig(
        vision_config={
            "hidden_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 16,
            "image_size": [28, 28],
            "patch_size": [14, 14],
        },
        text_config={
            "model_type": "qwen2",
            "vocab_size": len(tokenizer),
            "hidden_size": 32,
            "intermediate_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
            "tie_word_embeddings": False,
        },
        image_token_id=tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"),
        image_seq_length=1,
        tie_word_embeddings=False,
    )
    torch.manual_seed(4)
    model = InternVLForConditionalGeneration(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0.0, 0.35)
        # Of special tokens only the end may be written, and that seldom.
        model.lm_head.weight[len(string.printable) - 4 + 26 :] *= 0.1
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_engine(tiny: Path) -> Any:
    return _load(tiny)


@pytest.fixture
def changed(tiny: Path, tmp_path: Path) -> Callable[..., Path]:
    """A copy of the tiny model with one file rewritten: JSON files as dictionaries, others as text."""

    def change(name: str, change: Callable[[Any], Any]) -> Path:
        folder = tmp_path / "changed"
        shutil.copytree(tiny, folder)
        file = folder / name
        if name.endswith(".safetensors"):
            from safetensors.torch import load_file, save_file

            save_file(change(load_file(file)), file, metadata={"format": "pt"})
        elif name.endswith(".json"):
            file.write_text(json.dumps(change(json.loads(file.read_text()))))
        else:
            file.write_text(change(file.read_text()))
        return folder

    return change


def _request(case: str, prompt: str = "Which one?", *, image: str | None = None, **changes: Any) -> Request:
    images = () if image is None else (image,)
    return Request(case=case, prompt=prompt, images=images, **{"letters": ("A", "B", "C"), **changes})


# --- on the embedded model --------------------------------------------------------------------------------


def _mixed(pictures: SimpleNamespace) -> list[Request]:
    """One tile and several, no picture, other languages, a system text, the second answer style."""
    plain: dict[str, Any] = {"letters": LETTERS}
    later: dict[str, Any] = {"letters": LETTERS, "answer_prefix": "Answer: "}
    chinese = "物体是什么颜色？\nA. 红色\nB. 绿色\nC. 蓝色\nD. 黄色\n请回答选项的字母。"
    return [
        _request("square", QUESTION, image=pictures.square, **plain),
        _request("other", QUESTION, image=pictures.other, **plain),
        _request("wide", QUESTION, image=pictures.wide, **plain),
        _request("text", QUESTION, **plain),
        _request("chinese", chinese, image=pictures.square, **plain),
        _request("system", QUESTION, image=pictures.wide, system="You are helpful.", **plain),
        _request("later", LATER, image=pictures.square, **later),
        _request("later-wide", LATER, image=pictures.wide, **later),
        _request("longer", QUESTION, image=pictures.square, max_new_tokens=5, **plain),
    ]


def test_the_fast_path_agrees_with_the_literal_one(embedded: Any, pictures: SimpleNamespace) -> None:
    answers = _answers(embedded, _mixed(pictures))
    for answer in answers.values():
        _assert_paths_agree(answer)
    assert len(answers["wide"].prompt_ids) > len(answers["square"].prompt_ids)


def test_each_path_alone_gives_the_same_answer(
    embedded: Any, pictures: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = _mixed(pictures)
    both = _answers(embedded, requests)
    for path in BOTH:
        monkeypatch.setattr(embedded, "_settings", _settings(EMBEDDED, paths=[path]))
        for case, answer in _answers(embedded, requests).items():
            assert [reading.path for reading in answer.readings] == [path]
            rows = {name: row for name, row in both[case].rows.items() if name == path}
            _assert_same(answer, dataclasses.replace(both[case], rows=rows))


def test_paths_left_out_are_the_fast_one(tiny: Path, pictures: SimpleNamespace) -> None:
    answer = _answers(_load(tiny, paths=()), [_request("x", image=pictures.square)])["x"]
    assert [reading.path for reading in answer.readings] == ["forward"]


def test_a_batch_gives_what_single_cases_give(
    embedded: Any, pictures: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = _mixed(pictures)
    together = _answers(embedded, requests)
    monkeypatch.setattr(embedded, "_settings", _settings(EMBEDDED, batch_size=1))
    for case, answer in _answers(embedded, requests).items():
        _assert_same(answer, together[case])


def test_the_literal_path_is_the_method_as_one_would_write_it(
    embedded: Any, pictures: SimpleNamespace
) -> None:
    """Written out here with Transformers alone: its own template, tokens, generate and softmax."""
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor

    processor = AutoProcessor.from_pretrained(EMBEDDED)
    model = AutoModelForImageTextToText.from_pretrained(EMBEDDED, dtype="auto").eval()
    content = [{"type": "image", "path": pictures.wide}, {"type": "text", "text": QUESTION}]
    inputs = processor.apply_chat_template(
        [{"role": "user", "content": content}],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
    )
    with torch.inference_mode():
        output = model.generate(
            **inputs, do_sample=False, output_scores=True, return_dict_in_generate=True, max_new_tokens=1
        )
    probabilities = torch.softmax(output.scores[0][0].double(), dim=-1).numpy()
    ids = [processor.tokenizer.convert_tokens_to_ids(letter) for letter in LETTERS]

    answer = _answers(embedded, [_request("wide", QUESTION, image=pictures.wide, letters=LETTERS)])["wide"]
    assert answer.prompt_ids == tuple(inputs["input_ids"][0].tolist())
    assert answer.generated_ids == tuple(output.sequences[0, -1:].tolist())
    assert answer.letter_ids == tuple(ids)
    for reading in answer.readings:
        letters = np.exp(np.array(reading.letter_logits) - reading.log_z)
        np.testing.assert_allclose(letters, probabilities[ids], rtol=0, atol=5e-6)
        top = [(entry.id, np.exp(entry.logprob)) for entry in reading.top]
        np.testing.assert_allclose([p for _, p in top], np.sort(probabilities)[::-1][:5], rtol=0, atol=5e-6)
        np.testing.assert_allclose([probabilities[i] for i, _ in top], [p for _, p in top], rtol=0, atol=5e-6)


def test_the_rows_kept_are_the_answers_own(embedded: Any, pictures: SimpleNamespace) -> None:
    answers = _answers(embedded, _mixed(pictures))
    for answer in answers.values():
        for reading in answer.readings:
            if answer.answer_step is not None:
                row = answer.rows[reading.path]
                assert row.dtype == np.float32
                assert tuple(row[list(answer.letter_ids)].tolist()) == reading.letter_logits
                assert float(log_softmax(row)[answer.generated_ids[answer.answer_step]]) == pytest.approx(
                    reading.logprobs[answer.answer_step]
                )


def test_what_a_recording_depends_on_is_in_the_fingerprint(embedded: Any) -> None:
    found = embedded.fingerprint()
    assert json.loads(json.dumps(found)) == found
    assert found["model_class"] == "InternVLForConditionalGeneration"
    assert found["processor_class"] == "InternVLProcessor"
    assert (found["device"], found["dtype"], found["threads"], found["tf32"]) == ("cpu", "float32", 1, False)
    assert found["attention"] == {"model": "sdpa", "text_config": "sdpa", "vision_config": "sdpa"}
    assert found["generation_settings_dropped"] == {}
    changed = _load(EMBEDDED, dtype="bfloat16", options={"attention": "eager", "threads": 1}).fingerprint()
    assert changed["dtype"] == "bfloat16"
    assert set(changed["attention"].values()) == {"eager"}
    assert changed["template_sha256"] == found["template_sha256"]


# --- what a model may write -------------------------------------------------------------------------------


def _written(engine: Any, request: Request, count: int) -> tuple[int, ...]:
    answer = _answers(engine, [dataclasses.replace(request, max_new_tokens=count)])[request.case]
    assert isinstance(answer, Answer), answer
    ids: tuple[int, ...] = answer.generated_ids
    return ids


def test_the_answers_row_follows_a_prefix_that_the_model_writes(
    tiny_engine: Any, pictures: SimpleNamespace
) -> None:
    plain = _request("x", image=pictures.wide)
    ids = _written(tiny_engine, plain, 3)
    prefix = tiny_engine._passes.tokenizer.decode(ids[:2])
    answer = _answers(tiny_engine, [dataclasses.replace(plain, answer_prefix=prefix)])["x"]
    assert answer.answer_step == 2
    assert answer.generated_ids == ids
    _assert_paths_agree(answer)
    assert len(answer.readings[0].letter_logits) == 3


def test_the_fast_path_needs_no_generate_where_the_model_writes_the_prefix(
    tiny_engine: Any, pictures: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = _request("x", image=pictures.wide)
    ids = _written(tiny_engine, plain, 3)
    prefix = tiny_engine._passes.tokenizer.decode(ids[:2])
    monkeypatch.setattr(tiny_engine, "_settings", _settings(Path(), paths=["forward"]))
    monkeypatch.setattr(tiny_engine, "_generate", Mock(side_effect=AssertionError("generate was called")))
    answer = _answers(tiny_engine, [dataclasses.replace(plain, answer_prefix=prefix)])["x"]
    assert answer.generated_ids == ids


@pytest.mark.parametrize("paths", [BOTH, ("forward",), ("generate",)])
def test_where_the_model_leaves_the_prefix_its_own_words_are_kept(
    tiny_engine: Any, pictures: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, paths: Sequence[str]
) -> None:
    plain = _request("x", image=pictures.wide)
    ids = _written(tiny_engine, plain, 4)
    right = tiny_engine._passes.tokenizer.decode(ids[:1])
    wrong = "?" if tiny_engine._passes.tokenizer.decode(ids[1:2]) != "?" else "!"
    monkeypatch.setattr(tiny_engine, "_settings", _settings(Path(), paths=paths))
    answer = _answers(tiny_engine, [dataclasses.replace(plain, answer_prefix=right + wrong + right)])["x"]
    assert answer.generated_ids == ids
    assert answer.answer_step is None
    assert answer.rows == {}
    for reading in answer.readings:
        assert reading.argmax == ids
        assert len(reading.logprobs) == 4
        assert reading.letter_logits == ()


@pytest.mark.parametrize("paths", [BOTH, ("forward",), ("generate",)])
@pytest.mark.parametrize("count", [1, 2, 6])
def test_as_many_tokens_are_written_as_are_asked_for(
    tiny_engine: Any,
    pictures: SimpleNamespace,
    monkeypatch: pytest.MonkeyPatch,
    paths: Sequence[str],
    count: int,
) -> None:
    plain = _request("x", image=pictures.wide)
    ids = _written(tiny_engine, plain, 6)
    prefix = tiny_engine._passes.tokenizer.decode(ids[:1])
    monkeypatch.setattr(tiny_engine, "_settings", _settings(Path(), paths=paths))
    request = dataclasses.replace(plain, answer_prefix=prefix, max_new_tokens=count)
    answer = _answers(tiny_engine, [request])["x"]
    assert answer.generated_ids == ids[:count]
    assert answer.answer_step == (None if count == 1 else 1)
    assert all(len(reading.argmax) == len(reading.logprobs) == count for reading in answer.readings)


@pytest.mark.parametrize("paths", [BOTH, ("forward",), ("generate",)])
def test_writing_ends_with_the_models_stop_token(
    tiny_engine: Any, pictures: SimpleNamespace, changed: Callable[..., Path], paths: Sequence[str]
) -> None:
    plain = _request("x", image=pictures.wide)
    ids = _written(tiny_engine, plain, 4)
    assert ids[1] not in ids[:1]
    folder = changed("generation_config.json", lambda config: {**config, "eos_token_id": [0, ids[1]]})
    engine = _load(folder, paths=paths)
    assert engine.fingerprint()["stop_ids"] == [0, ids[1]]
    for request in (
        dataclasses.replace(plain, max_new_tokens=4),
        dataclasses.replace(plain, answer_prefix=tiny_engine._passes.tokenizer.decode(ids[:2])),
    ):
        answer = _answers(engine, [request])["x"]
        assert answer.generated_ids == ids[:2]
        assert all(len(reading.argmax) == 2 for reading in answer.readings)


def test_generation_defaults_that_change_scores_are_dropped_and_named(
    tiny_engine: Any, pictures: SimpleNamespace, changed: Callable[..., Path]
) -> None:
    request = _request("x", image=pictures.wide, max_new_tokens=6)
    expected = _answers(tiny_engine, [request])["x"]
    loud = {
        "repetition_penalty": 5.0,
        "suppress_tokens": [expected.generated_ids[0]],
        "do_sample": True,
        "temperature": 0.5,
        "min_new_tokens": 3,
    }
    engine = _load(changed("generation_config.json", lambda config: {**config, **loud}))
    _assert_same(_answers(engine, [request])["x"], expected, noise=0.0)
    assert engine.fingerprint()["generation_settings_dropped"] == {
        name: loud[name] for name in ("repetition_penalty", "suppress_tokens", "min_new_tokens")
    }


def test_scores_that_are_no_raw_logits_are_refused(
    tiny_engine: Any, pictures: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiny_engine._passes.model.generation_config, "repetition_penalty", 2.0)
    with pytest.raises(
        EngineError, match=r"generate changes the scores by itself.*paths: \[forward\]"
    ) as caught:
        _answers(tiny_engine, [_request("x", image=pictures.square)])
    assert caught.value.kind is ErrorKind.UNSUPPORTED


# --- errors of one case -----------------------------------------------------------------------------------


@pytest.mark.parametrize("paths", [BOTH, ("forward",)])
def test_nan_is_the_failure_of_its_case_only(
    tiny_engine: Any, pictures: SimpleNamespace, changed: Callable[..., Path], paths: Sequence[str]
) -> None:
    poisoned = tiny_engine._passes.tokenizer.convert_tokens_to_ids("~")

    def poison(weights: dict[str, Any]) -> dict[str, Any]:
        name = next(name for name in weights if name.endswith("embed_tokens.weight"))
        weights[name][poisoned] = float("nan")
        return weights

    requests = [_request("a", image=pictures.wide), _request("b", "Which ~ne?", image=pictures.wide)]
    expected = _answers(tiny_engine, requests[:1])["a"]
    results = _answers(_load(changed("model.safetensors", poison), paths=paths), requests)
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
    bad = dataclasses.replace(_request("bad"), **changes)
    results = _answers(tiny_engine, [_request("before"), bad, _request("after", image=pictures.square)])
    assert results["bad"].kind is kind
    assert message in results["bad"].message
    _assert_paths_agree(results["before"])
    _assert_paths_agree(results["after"])


def test_a_template_that_drops_the_image_is_a_failure(
    pictures: SimpleNamespace, changed: Callable[..., Path]
) -> None:
    engine = _load(changed("chat_template.jinja", lambda text: text.replace("<IMG_CONTEXT>", "")))
    result = _answers(engine, [_request("x", image=pictures.square)])["x"]
    assert result.kind is ErrorKind.FAILED
    assert "Found total 0 <IMG_CONTEXT> tokens and 1 images" in result.message


def test_a_template_that_refuses_a_case_is_its_failure(changed: Callable[..., Path]) -> None:
    engine = _load(
        changed("chat_template.jinja", lambda text: "{{- raise_exception('no system, please') -}}" + text)
    )
    result = _answers(engine, [_request("x")])["x"]
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
    results = _answers(tiny_engine, [_request(case, image=pictures.square) for case in ("a", "bad", "c")])
    assert results["bad"].message == "bad: RuntimeError: shapes do not match"
    _assert_paths_agree(results["a"])
    _assert_paths_agree(results["c"])


@pytest.mark.parametrize("path", BOTH)
@pytest.mark.parametrize("text", ["", "[enforce fail] DefaultCPUAllocator: can't allocate memory"])
def test_out_of_memory_concerns_the_whole_batch(
    tiny_engine: Any, monkeypatch: pytest.MonkeyPatch, path: str, text: str
) -> None:
    import torch

    error = RuntimeError(text) if text else torch.OutOfMemoryError("CUDA out of memory")
    monkeypatch.setattr(tiny_engine, "_settings", _settings(Path(), paths=[path]))
    monkeypatch.setattr(tiny_engine._passes, "rows", Mock(side_effect=error))
    monkeypatch.setattr(tiny_engine._passes.model, "generate", Mock(side_effect=error))
    with pytest.raises(
        EngineError, match=r"did not fit.*lower batch_size in the profile \(now 16\)"
    ) as caught:
        _answers(tiny_engine, [_request("a"), _request("b")])
    assert caught.value.kind is ErrorKind.OUT_OF_MEMORY


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
    engine = _load(folder)
    answer = _answers(engine, [_request("x", image=pictures.wide)])["x"]
    assert answer.prompt_ids.count(begin) == 1
    content = [{"type": "image", "path": pictures.wide}, {"type": "text", "text": "Which one?"}]
    expected = engine._passes._processor.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=True, return_dict=True
    )
    assert answer.prompt_ids == tuple(expected["input_ids"][0])


# --- pictures ---------------------------------------------------------------------------------------------


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
        _answers(tiny_engine, [_request("x", image=path)])["x"] for path in (pictures.wide, str(turned))
    )
    _assert_same(plain, same, noise=0.0)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "1", "CMYK"])
def test_pictures_of_every_mode_are_read(tiny_engine: Any, tmp_path: Path, mode: str) -> None:
    path = tmp_path / "picture.tiff"
    Image.new("RGB", (40, 30), "white").convert(mode).save(path)
    reference = _picture(tmp_path / "white.png", (40, 30), "white")
    Image.new("RGB", (40, 30), "white").save(reference)
    one, two = (_answers(tiny_engine, [_request("x", image=str(p))])["x"] for p in (path, reference))
    _assert_same(one, two, noise=0.0)


# --- models that take text only ---------------------------------------------------------------------------


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
    engine = _load(text_model)
    requests = [
        _request("short", "Which of them?"),
        _request("longer", "Which is it?", system="Be brief."),
        _request("long", "Which of them all would it be?", max_new_tokens=3),
    ]
    lengths = [len(answer.prompt_ids) for answer in _answers(engine, requests).values()]
    assert len({length.bit_length() for length in lengths}) < len(set(lengths)) == 3
    together = _answers(engine, requests)
    for request in requests:
        _assert_paths_agree(together[request.case])
        _assert_same(_answers(engine, [request])[request.case], together[request.case])


def test_an_image_for_a_model_of_text_is_unsupported(text_model: Path, pictures: SimpleNamespace) -> None:
    results = _answers(_load(text_model), [_request("a"), _request("b", image=pictures.square)])
    assert results["b"].kind is ErrorKind.UNSUPPORTED
    assert "the model takes text only" in results["b"].message
    _assert_paths_agree(results["a"])


def test_cases_are_not_padded_for_a_model_that_would_not_know(
    text_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = _load(text_model, paths=["forward"])
    monkeypatch.setattr(engine._passes, "_forward_takes", engine._passes._forward_takes - {"position_ids"})
    batches = []
    real = engine._passes.rows
    monkeypatch.setattr(engine._passes, "rows", lambda batch: batches.append(batch) or real(batch))  # type: ignore[func-returns-value]
    requests = [_request("a", "Which?"), _request("b", "Whose?"), _request("c", "Which one?")]
    alone = {request.case: _answers(engine, [request])[request.case] for request in requests}
    batches.clear()
    for case, answer in _answers(engine, requests).items():
        _assert_same(answer, alone[case])
    assert sorted(len(batch) for batch in batches) == [1, 2]


def test_tensors_that_cannot_be_lengthened_are_named() -> None:
    import torch

    from harness.engines.torch_native.inputs import Forced, pad_together

    prepared = Mock(tensors={"cross_mask": torch.zeros(1, 3, 2)}, prompt_ids=(1, 2, 3))
    assert pad_together([Forced(prepared, ())], pad_id=0)["cross_mask"].shape == (1, 3, 2)
    with pytest.raises(ValueError, match=r"'cross_mask' of shape \[1, 3, 2\]; set paths: \[generate\]"):
        pad_together([Forced(prepared, (7,))], pad_id=0)


# --- loading ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"paths": ("two-stage",)}, "the path 'two-stage'; allowed: forward, generate"),
        ({"options": {"atention": "eager"}}, "the option 'atention'; allowed: attention, template, threads"),
    ],
)
def test_settings_the_engine_does_not_know_are_refused(
    tiny: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(EngineError) as caught:
        _load(tiny, **changes)
    assert caught.value.kind is ErrorKind.UNSUPPORTED
    assert message in caught.value.message


def test_without_a_gpu_the_device_cuda_is_refused(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(EngineError, match=r"no NVIDIA GPU visible.*'device: cpu'") as caught:
        _load(tiny, device="cuda")
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
        _load(folder)
    assert caught.value.kind is ErrorKind.LOAD
    assert message in caught.value.message
    assert str(folder) in caught.value.message


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"there is no model folder .*nowhere"):
        _load(tmp_path / "nowhere")
