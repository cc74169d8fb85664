from __future__ import annotations

import dataclasses
import json
import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.engines import codec
from harness.engines.contract import Answer, EngineSettings, Entry, Json, Question, Reading, Request
from harness.errors import RecordingError

IDS = st.integers(0, 200_000)
LOGPROBS = st.floats(-100, 0) | st.just(-math.inf)
FLOAT32 = st.floats(width=32, allow_nan=False)
TEXT = st.text()
JSON_VALUES: st.SearchStrategy[Json] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


def tuples(values: st.SearchStrategy[object], *, max_size: int = 5) -> st.SearchStrategy[object]:
    return st.lists(values, max_size=max_size).map(tuple)


ENTRIES = tuples(st.builds(Entry, IDS, LOGPROBS))
READINGS = st.builds(
    Reading,
    path=TEXT,
    argmax=tuples(IDS),
    logprobs=tuples(LOGPROBS),
    letter_logits=tuples(FLOAT32),
    log_z=st.none() | st.floats(-1e4, 1e4),
    top=ENTRIES,
    other_spellings=tuples(st.floats(0, 1)),
    letter_ranks=tuples(IDS),
    letter_ceilings=tuples(LOGPROBS),
)
COUNTS = st.none() | st.integers(0, 5000)
QUESTIONS = st.builds(
    Question,
    text=st.none() | TEXT,
    tokens=COUNTS,
    tiles=COUNTS,
    pixels=st.none() | TEXT,
    pixel_means=tuples(st.integers(-999, 999).map(lambda n: n / 256)),
    pixel_marks=tuples(st.integers(-999, 999).map(lambda n: n / 256)),
    image_tiles=tuples(st.integers(1, 40)),
)
PROMPT_IDS = st.lists(st.tuples(IDS, st.integers(1, 6)), max_size=8).map(
    lambda runs: tuple(i for token, count in runs for i in [token] * count)
)
ANSWERS = st.builds(
    Answer,
    prompt_ids=PROMPT_IDS,
    generated_ids=tuples(IDS),
    text=TEXT,
    letter_ids=tuples(IDS),
    answer_step=st.none() | st.integers(0, 20),
    readings=tuples(READINGS, max_size=3),
    reported_top=ENTRIES,
    reported_logprobs=tuples(LOGPROBS),
    seconds=st.dictionaries(TEXT, st.floats(0, 1e4), max_size=3),
    rows=st.just({}),
    question=QUESTIONS,
)
SETTINGS = st.builds(
    EngineSettings,
    kind=TEXT,
    model=TEXT,
    dtype=TEXT,
    device=TEXT,
    paths=tuples(TEXT),
    top_k=st.integers(0, 100),
    batch_size=st.integers(1, 64),
    max_tiles=st.none() | st.integers(1, 40),
    options=st.dictionaries(TEXT, JSON_VALUES, max_size=3),
)
REQUESTS = st.builds(
    Request,
    case=TEXT,
    prompt=TEXT,
    letters=tuples(TEXT),
    images=tuples(TEXT),
    system=st.none() | TEXT,
    answer_prefix=TEXT,
    max_new_tokens=st.none() | st.integers(1, 100),
    kind=st.just(Request.LETTER) | TEXT,
)


def through_text(data: Json) -> dict[str, Json]:
    back = json.loads(json.dumps(data, allow_nan=False))
    assert isinstance(back, dict)
    return back


def close(left: object, right: object, relative: float) -> bool:
    """Equal in shape and in everything but floats, which may differ by `relative`."""
    if isinstance(left, float) and isinstance(right, float):
        return left == right or math.isclose(left, right, rel_tol=relative)
    if isinstance(left, tuple) and isinstance(right, tuple):
        return len(left) == len(right) and all(
            close(a, b, relative) for a, b in zip(left, right, strict=True)
        )
    if dataclasses.is_dataclass(left) and type(left) is type(right):
        return all(
            close(getattr(left, f.name), getattr(right, f.name), relative) for f in dataclasses.fields(left)
        )
    return left == right


@given(SETTINGS)
def test_settings_come_back(settings: EngineSettings) -> None:
    assert codec.settings_from_json(through_text(codec.settings_to_json(settings))) == settings


@given(REQUESTS)
def test_requests_come_back(request: Request) -> None:
    assert codec.request_from_json(through_text(codec.request_to_json(request))) == request


@given(ANSWERS)
def test_answers_come_back_up_to_nine_digits(answer: Answer) -> None:
    back = codec.answer_from_json(through_text(codec.answer_to_json(answer)))
    seconds = back.seconds
    coarse = dataclasses.replace(back, seconds=answer.seconds, question=answer.question)
    assert close(coarse, answer, 5.1e-9)
    assert close(back.question, answer.question, 5.1e-3)
    assert seconds.keys() == answer.seconds.keys()
    assert all(math.isclose(seconds[k], v, rel_tol=5.1e-4) for k, v in answer.seconds.items())
    # Exact, not merely close: two engines' letters are compared at float32's resolution.
    assert [r.letter_logits for r in back.readings] == [r.letter_logits for r in answer.readings]


@given(ANSWERS)
def test_reading_and_writing_again_changes_nothing(answer: Answer) -> None:
    once = codec.answer_to_json(answer)
    assert codec.answer_to_json(codec.answer_from_json(through_text(once))) == once


@given(st.lists(FLOAT32))
def test_reported_logprobs_keep_every_bit_of_a_float32(values: list[float]) -> None:
    answer = dataclasses.replace(example_answer(), reported_logprobs=tuple(values))
    back = codec.answer_from_json(through_text(codec.answer_to_json(answer)))
    assert np.array_equal(np.array(back.reported_logprobs, np.float32), np.array(values, np.float32))


@given(PROMPT_IDS)
def test_runs_are_shorter_and_lossless(prompt_ids: tuple[int, ...]) -> None:
    answer = dataclasses.replace(example_answer(), prompt_ids=prompt_ids)
    data = through_text(codec.answer_to_json(answer))
    assert codec.answer_from_json(data).prompt_ids == prompt_ids
    assert len(json.dumps(data["p"])) <= len(json.dumps(prompt_ids))


def test_numpy_scalars_are_accepted() -> None:
    plain = example_answer()
    reading = dataclasses.replace(
        plain.readings[0],
        argmax=tuple(np.int64(plain.readings[0].argmax)),  # type: ignore[arg-type]
        logprobs=tuple(np.float32(plain.readings[0].logprobs)),  # type: ignore[arg-type]
        letter_logits=tuple(np.float32(plain.readings[0].letter_logits)),  # type: ignore[arg-type]
    )
    scalars = dataclasses.replace(plain, readings=(reading, *plain.readings[1:]))
    assert through_text(codec.answer_to_json(scalars))["l"] == list(plain.letter_ids)


def test_equal_top_ids_are_written_once() -> None:
    data = codec.answer_to_json(example_answer())
    readings = data["r"]
    assert isinstance(readings, list)
    assert [reading["k"][0] for reading in readings] == [None, None]  # type: ignore[index, call-overload]


@pytest.mark.parametrize(
    ("vocabulary", "prompt", "run", "limit"), [(448, 90, 64, 1750), (151_674, 300, 256, 1850)]
)
def test_answers_are_compact(vocabulary: int, prompt: int, run: int, limit: int) -> None:
    answer = example_answer(vocabulary=vocabulary, prompt=prompt, run=run)
    size = len(json.dumps(codec.answer_to_json(answer), separators=(",", ":")))
    assert size <= limit


@pytest.mark.parametrize("field", ["p", "g", "t", "l", "s", "r", "k", "n", "w"])
def test_a_missing_field_is_named(field: str) -> None:
    data = codec.answer_to_json(example_answer())
    del data[field]
    with pytest.raises(RecordingError, match=f"no answer.*'{field}'"):
        codec.answer_from_json(data)


def test_lists_of_unequal_length_are_refused() -> None:
    data = codec.answer_to_json(example_answer())
    data["k"] = [[1, 2], [-0.5]]
    with pytest.raises(RecordingError, match="no answer"):
        codec.answer_from_json(data)


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(RecordingError, match=r"no settings.*'colour'"):
        codec.settings_from_json({**dict.fromkeys(SETTING_NAMES, ()), "colour": 1})


def test_an_unknown_request_field_is_refused() -> None:
    with pytest.raises(RecordingError, match=r"no request.*'colour'"):
        codec.request_from_json({"case": "a.b", "prompt": "", "letters": ["A"], "images": [], "colour": 1})


SETTING_NAMES = [field.name for field in dataclasses.fields(EngineSettings)]


def example_answer(*, vocabulary: int = 448, prompt: int = 90, run: int = 64, top_k: int = 20) -> Answer:
    """As long as a real one: two paths, three generated tokens, ids as long as the vocabulary's."""
    rng = random.Random(1)

    def ids(count: int) -> tuple[int, ...]:
        return tuple(rng.randrange(vocabulary * 2 // 3, vocabulary) for _ in range(count))

    def logprobs(count: int) -> tuple[float, ...]:
        return tuple(sorted((-rng.expovariate(0.2) for _ in range(count)), reverse=True))

    top_ids = ids(top_k)

    def top() -> tuple[Entry, ...]:
        return tuple(map(Entry, top_ids, logprobs(top_k)))

    readings = [
        Reading(
            path=path,
            argmax=ids(3),
            logprobs=logprobs(3),
            letter_logits=tuple(float(np.float32(rng.gauss(0, 9))) for _ in range(4)),
            log_z=rng.uniform(5, 30),
            top=top(),
            other_spellings=tuple(math.exp(value) for value in logprobs(4)),
        )
        for path in ("two-stage", "captured")
    ]
    words = prompt - run
    return Answer(
        prompt_ids=ids(words // 2) + (vocabulary - 1,) * run + ids(words - words // 2),
        generated_ids=ids(3),
        text="Answer: B",
        letter_ids=ids(4),
        answer_step=2,
        readings=tuple(readings),
        reported_top=top(),
        reported_logprobs=logprobs(3),
        seconds={"stage-1": 0.123456, "stage-2": 0.0456789, "captured": 0.2},
    )
