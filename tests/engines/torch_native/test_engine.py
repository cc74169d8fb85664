"""The engine ``torch`` on the embedded model."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from harness.distributions import log_softmax
from harness.engines.codec import request_digest
from harness.engines.contract import Request
from tests.engines.torch_native.asking import (
    BOTH,
    EMBEDDED,
    LATER,
    LETTERS,
    QUESTION,
    answers_of,
    assert_paths_agree,
    assert_same,
    loaded,
    request_of,
    settings_of,
)

PLACED = f"{{image:2}}, not {{image:1}}: {QUESTION}"


def mixed(pictures: SimpleNamespace) -> list[Request]:
    """One tile and several, no picture, several, other languages, a system text, the second answer style."""
    plain: dict[str, Any] = {"letters": LETTERS}
    later: dict[str, Any] = {"letters": LETTERS, "answer_prefix": "Answer: "}
    chinese = "物体是什么颜色？\nA. 红色\nB. 绿色\nC. 蓝色\nD. 黄色\n请回答选项的字母。"
    return [
        request_of("square", QUESTION, image=pictures.square, **plain),
        request_of("other", QUESTION, image=pictures.other, **plain),
        request_of("wide", QUESTION, image=pictures.wide, **plain),
        request_of("text", QUESTION, **plain),
        request_of("several", QUESTION, images=(pictures.wide, pictures.square), **plain),
        request_of("placed", PLACED, images=(pictures.wide, pictures.other), **plain),
        request_of("chinese", chinese, image=pictures.square, **plain),
        request_of("system", QUESTION, image=pictures.wide, system="You are helpful.", **plain),
        request_of("later", LATER, image=pictures.square, **later),
        request_of("later-wide", LATER, image=pictures.wide, **later),
        request_of("longer", QUESTION, image=pictures.square, max_new_tokens=5, **plain),
    ]


def test_the_fast_path_agrees_with_the_literal_one(embedded: Any, pictures: SimpleNamespace) -> None:
    answers = answers_of(embedded, mixed(pictures))
    for answer in answers.values():
        assert_paths_agree(answer)
    assert len(answers["wide"].prompt_ids) > len(answers["square"].prompt_ids)


def test_each_path_alone_gives_the_same_answer(
    embedded: Any, pictures: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = mixed(pictures)
    both = answers_of(embedded, requests)
    for path in BOTH:
        monkeypatch.setattr(embedded, "_settings", settings_of(EMBEDDED, paths=[path]))
        for case, answer in answers_of(embedded, requests).items():
            assert [reading.path for reading in answer.readings] == [path]
            rows = {name: row for name, row in both[case].rows.items() if name == path}
            assert_same(answer, dataclasses.replace(both[case], rows=rows))


def test_paths_left_out_are_the_fast_one(tiny: Path, pictures: SimpleNamespace) -> None:
    answer = answers_of(loaded(tiny, paths=()), [request_of("x", image=pictures.square)])["x"]
    assert [reading.path for reading in answer.readings] == ["forward"]


def test_a_batch_gives_what_single_cases_give(
    embedded: Any, pictures: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = mixed(pictures)
    together = answers_of(embedded, requests)
    monkeypatch.setattr(embedded, "_settings", settings_of(EMBEDDED, batch_size=1))
    for case, answer in answers_of(embedded, requests).items():
        assert_same(answer, together[case])


@pytest.mark.parametrize("several", [False, True])
def test_the_literal_path_is_the_method_as_one_would_write_it(
    embedded: Any, pictures: SimpleNamespace, several: bool
) -> None:
    """Written out here with Transformers alone: its own template, tokens, generate and softmax."""
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor

    processor = AutoProcessor.from_pretrained(EMBEDDED)
    model = AutoModelForImageTextToText.from_pretrained(EMBEDDED, dtype="auto").eval()
    asked, images = QUESTION, [pictures.wide]
    content = [{"type": "image", "path": pictures.wide}, {"type": "text", "text": QUESTION}]
    if several:
        asked, images = PLACED, [pictures.wide, pictures.square]
        words = ({"type": "text", "text": text} for text in (", not ", f": {QUESTION}"))
        content = [{"type": "image", "path": pictures.square}, next(words), content[0], next(words)]
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

    request = request_of("wide", asked, images=tuple(images), letters=LETTERS)
    answer = answers_of(embedded, [request])["wide"]
    assert answer.request == request_digest(request)
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
    answers = answers_of(embedded, mixed(pictures))
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
    changed = loaded(EMBEDDED, dtype="bfloat16", options={"attention": "eager", "threads": 1}).fingerprint()
    assert changed["dtype"] == "bfloat16"
    assert set(changed["attention"].values()) == {"eager"}
    assert changed["template_sha256"] == found["template_sha256"]
