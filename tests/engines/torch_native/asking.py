"""Requests for the engine ``torch``, and how two of its answers are the same."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from harness.engines.contract import Answer, EngineSettings, Request

EMBEDDED = Path(__file__).parents[3] / "cases" / "models" / "embedded"
BOTH = ("forward", "generate")
LETTERS = ("A", "B", "C", "D")
NOISE = 5e-5  # of a float32 logit of these models, between batched and single, cached and not

QUESTION = (
    "What colour are the objects?\nA. red\nB. green\nC. blue\nD. yellow\nAnswer with the option's letter."
)
LATER = "What colour are the objects?\nA. red\nB. green\nC. blue\nD. yellow\nReply in the form 'Answer: X'."


def settings_of(model: Path, *, paths: Sequence[str] = BOTH, **changes: Any) -> EngineSettings:
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


def loaded(model: Path, **changes: Any) -> Any:
    from harness.engines.torch_native.engine import load

    return load(settings_of(model, **changes))


def answers_of(engine: Any, requests: Sequence[Request]) -> dict[str, Any]:
    outcomes = list(engine.score(requests))
    assert sorted(outcome.case for outcome in outcomes) == sorted(request.case for request in requests)
    return {outcome.case: outcome.result for outcome in outcomes}


def assert_same(one: Any, two: Any, *, noise: float = NOISE) -> None:
    """Two answers of the same paths: ids equal, rows equal but for noise."""
    assert isinstance(one, Answer), one
    assert isinstance(two, Answer), two
    for name in ("prompt_ids", "generated_ids", "text", "letter_ids", "answer_step"):
        assert getattr(one, name) == getattr(two, name), name
    assert one.rows.keys() == two.rows.keys()
    for path in one.rows:
        np.testing.assert_allclose(one.rows[path], two.rows[path], rtol=0, atol=noise)


def assert_paths_agree(answer: Any, *, noise: float = NOISE) -> None:
    assert isinstance(answer, Answer), answer
    forward, generate = answer.readings
    assert (forward.path, generate.path) == BOTH
    assert forward.argmax == generate.argmax == answer.generated_ids
    np.testing.assert_allclose(forward.logprobs, generate.logprobs, rtol=0, atol=2 * noise)
    np.testing.assert_allclose(forward.letter_logits, generate.letter_logits, rtol=0, atol=noise)
    assert [e.id for e in forward.top] == [e.id for e in generate.top]
    np.testing.assert_allclose(forward.other_spellings, generate.other_spellings, rtol=0, atol=noise)
    assert (answer.answer_step is None) == (not answer.rows)


def picture(path: Path, size: tuple[int, int], colour: str) -> str:
    image = Image.new("RGB", size, "#787878")
    draw = ImageDraw.Draw(image)
    draw.rectangle((4, 4, size[1] // 2, size[1] // 2), fill=colour)
    image.save(path)
    return str(path)


def request_of(case: str, prompt: str = "Which one?", *, image: str | None = None, **changes: Any) -> Request:
    images = () if image is None else (image,)
    return Request(case=case, prompt=prompt, **{"letters": ("A", "B", "C"), "images": images, **changes})
