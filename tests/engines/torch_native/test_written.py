"""What a model may write: prefixes, lengths, stop tokens, settings of its own."""

from __future__ import annotations

import dataclasses
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest

from harness.engines.contract import Answer, Request
from harness.engines.torch_native.passes import Generated
from harness.errors import EngineError, ErrorKind
from tests.engines.torch_native.asking import (
    BOTH,
    answers_of,
    assert_paths_agree,
    assert_same,
    loaded,
    request_of,
    settings_of,
)


def _written(engine: Any, request: Request, count: int) -> tuple[int, ...]:
    answer = answers_of(engine, [dataclasses.replace(request, max_new_tokens=count)])[request.case]
    assert isinstance(answer, Answer), answer
    ids: tuple[int, ...] = answer.generated_ids
    return ids


def test_the_answers_row_follows_a_prefix_that_the_model_writes(
    tiny_engine: Any, pictures: SimpleNamespace
) -> None:
    plain = request_of("x", image=pictures.wide)
    ids = _written(tiny_engine, plain, 3)
    prefix = tiny_engine._passes.tokenizer.decode(ids[:2])
    answer = answers_of(tiny_engine, [dataclasses.replace(plain, answer_prefix=prefix)])["x"]
    assert answer.answer_step == 2
    assert answer.generated_ids == ids
    assert_paths_agree(answer)
    assert len(answer.readings[0].letter_logits) == 3


def test_the_fast_path_needs_no_generate_where_the_model_writes_the_prefix(
    tiny_engine: Any, pictures: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = request_of("x", image=pictures.wide)
    ids = _written(tiny_engine, plain, 3)
    prefix = tiny_engine._passes.tokenizer.decode(ids[:2])
    monkeypatch.setattr(tiny_engine, "_settings", settings_of(Path(), paths=["forward"]))
    monkeypatch.setattr(tiny_engine, "_generate", Mock(side_effect=AssertionError("generate was called")))
    answer = answers_of(tiny_engine, [dataclasses.replace(plain, answer_prefix=prefix)])["x"]
    assert answer.generated_ids == ids


@pytest.mark.parametrize("paths", [BOTH, ("forward",), ("generate",)])
def test_where_the_model_leaves_the_prefix_its_own_words_are_kept(
    tiny_engine: Any, pictures: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, paths: Sequence[str]
) -> None:
    plain = request_of("x", image=pictures.wide)
    ids = _written(tiny_engine, plain, 4)
    right = tiny_engine._passes.tokenizer.decode(ids[:1])
    wrong = "?" if tiny_engine._passes.tokenizer.decode(ids[1:2]) != "?" else "!"
    monkeypatch.setattr(tiny_engine, "_settings", settings_of(Path(), paths=paths))
    answer = answers_of(tiny_engine, [dataclasses.replace(plain, answer_prefix=right + wrong + right)])["x"]
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
    plain = request_of("x", image=pictures.wide)
    ids = _written(tiny_engine, plain, 6)
    prefix = tiny_engine._passes.tokenizer.decode(ids[:1])
    monkeypatch.setattr(tiny_engine, "_settings", settings_of(Path(), paths=paths))
    request = dataclasses.replace(plain, answer_prefix=prefix, max_new_tokens=count)
    answer = answers_of(tiny_engine, [request])["x"]
    assert answer.generated_ids == ids[:count]
    assert answer.answer_step == (None if count == 1 else 1)
    assert all(len(reading.argmax) == len(reading.logprobs) == count for reading in answer.readings)


@pytest.mark.parametrize("paths", [BOTH, ("forward",), ("generate",)])
def test_writing_ends_with_the_models_stop_token(
    tiny_engine: Any, pictures: SimpleNamespace, changed: Callable[..., Path], paths: Sequence[str]
) -> None:
    plain = request_of("x", image=pictures.wide)
    ids = _written(tiny_engine, plain, 4)
    assert ids[1] not in ids[:1]
    folder = changed("generation_config.json", lambda config: {**config, "eos_token_id": [0, ids[1]]})
    engine = loaded(folder, paths=paths)
    assert engine.fingerprint()["stop_ids"] == [0, ids[1]]
    for request in (
        dataclasses.replace(plain, max_new_tokens=4),
        dataclasses.replace(plain, answer_prefix=tiny_engine._passes.tokenizer.decode(ids[:2])),
    ):
        answer = answers_of(engine, [request])["x"]
        assert answer.generated_ids == ids[:2]
        assert all(len(reading.argmax) == 2 for reading in answer.readings)


def test_generation_defaults_that_change_scores_are_dropped_and_named(
    tiny_engine: Any, pictures: SimpleNamespace, changed: Callable[..., Path]
) -> None:
    request = request_of("x", image=pictures.wide, max_new_tokens=6)
    expected = answers_of(tiny_engine, [request])["x"]
    loud = {
        "repetition_penalty": 5.0,
        "suppress_tokens": [expected.generated_ids[0]],
        "do_sample": True,
        "temperature": 0.5,
        "min_new_tokens": 3,
    }
    engine = loaded(changed("generation_config.json", lambda config: {**config, **loud}))
    assert_same(answers_of(engine, [request])["x"], expected, noise=0.0)
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
        answers_of(tiny_engine, [request_of("x", image=pictures.square)])
    assert caught.value.kind is ErrorKind.UNSUPPORTED


@pytest.mark.parametrize("path", BOTH)
def test_long_answers_do_not_pile_up_in_memory(
    tiny_engine: Any, pictures: SimpleNamespace, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 4 cases, 200 tokens and 20,000 columns float32, 64 MB in all, no more than a few rows are there."""
    count, width = 200, 20_000

    def rows(seed: int) -> Any:
        noise = np.random.default_rng(seed)
        return (noise.normal(size=width).astype(np.float32) for _ in range(count))

    passes = Mock(wraps=tiny_engine._passes, can_pad=True, most_together=None, stop_ids=())
    passes.generate = lambda prepared: Generated((5,) * count, rows(1))
    passes.rows = lambda batch: [rows(seed) for seed, _ in enumerate(batch)]
    passes.tokenizer = tiny_engine._passes.tokenizer
    monkeypatch.setattr(tiny_engine, "_passes", passes)
    monkeypatch.setattr(tiny_engine, "_settings", settings_of(Path(), paths=[path]))
    requests = [request_of(case, max_new_tokens=count) for case in "abcd"]
    tracemalloc.start()
    answers = answers_of(tiny_engine, requests)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert all(len(answer.readings[0].logprobs) == count for answer in answers.values())
    assert peak < 8e6, peak / 1e6
