"""The engine ``torch`` on small random models of families unlike InternVL.

Each test runs in every interpreter of the fixture ``python``: that of the tests, and in a worker one with an
older Transformers where HARNESS_OLDER_TRANSFORMERS names it, whose checkpoints that Transformers makes.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.engines.contract import Answer, EngineSettings, Question, Request
from tests.engines.asked_in_a_worker import ask

IMAGES = Path(__file__).parents[3] / "cases" / "images"
MAKER = Path(__file__).with_name("tiny_families.py")
BOTH = ("forward", "generate")
NOISE = 2e-5  # of a float32 logit of these models, between batched and single, cached and not
OLDER = [os.environ[name] for name in ("HARNESS_OLDER_TRANSFORMERS",) if name in os.environ]

SQUARE = str(IMAGES / "red-circle-centre.png")
OTHER = str(IMAGES / "blue-circle-top-left.png")
WIDE = str(IMAGES / "two-green-cross-112x56.png")


def _request(case: str, prompt: str, *, image: str | None = None, **changes: Any) -> Request:
    images = () if image is None else (image,)
    return Request(
        case=case,
        prompt=prompt,
        images=images,
        **{"letters": ("A", "B", "C"), "max_new_tokens": 1, **changes},
    )


# Of unlike lengths, so that rows of a batch are padded.
REQUESTS = (
    _request("square", "Which?", image=SQUARE),
    _request("other", "Which?", image=OTHER),
    _request("wide", "Which one is it?", image=WIDE, max_new_tokens=4),
    _request("system", "Which one?", image=WIDE, system="Be brief."),
    _request("text", "Which of the three is it?", max_new_tokens=4),
    _request("long-text", "Which of the three, please?"),
)

# How many pieces the image is cut into: of Qwen2-VL always one, of the others tiles and the whole.
TILES = {
    "qwen2_vl": {"square": 1, "other": 1, "wide": 1, "system": 1, "text": 0, "long-text": 0},
    "idefics3": {"square": 5, "other": 5, "wide": 3, "system": 3, "text": 0, "long-text": 0},
}


@pytest.fixture(scope="module", params=[sys.executable, *OLDER])
def python(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module", params=list(TILES))
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def answers(family: str, python: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp(family)
    settings = EngineSettings(
        kind="torch",
        model=str(folder / family),
        dtype="float32",
        device="cpu",
        paths=BOTH,
        top_k=5,
        batch_size=len(REQUESTS),
        options={"threads": 1},
    )
    if python == sys.executable:
        return _here(family, settings)
    command = [python, str(MAKER), str(folder), family]
    made = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert made.returncode == 0, made.stderr
    found = ask(folder, python, settings, REQUESTS)
    del found["loaded"]
    return found


def _here(family: str, settings: EngineSettings) -> dict[str, Any]:
    from harness.engines.torch_native.engine import load
    from tests.engines.torch_native.tiny_families import make

    make(family, Path(settings.model))
    return {outcome.case: outcome.result for outcome in load(settings).score(REQUESTS)}


def test_both_paths_agree(answers: dict[str, Any]) -> None:
    assert sorted(answers) == sorted(request.case for request in REQUESTS)
    for answer in answers.values():
        assert isinstance(answer, Answer), answer
        forward, generate = answer.readings
        assert (forward.path, generate.path) == BOTH
        assert forward.argmax == generate.argmax == answer.generated_ids
        np.testing.assert_allclose(forward.letter_logits, generate.letter_logits, rtol=0, atol=NOISE)
        np.testing.assert_allclose(forward.logprobs, generate.logprobs, rtol=0, atol=NOISE)
        assert forward.log_z == pytest.approx(generate.log_z, abs=NOISE)


def test_the_question_says_what_was_asked(family: str, answers: dict[str, Any]) -> None:
    asked = {case: answer.question for case, answer in answers.items()}
    assert {case: question.tiles for case, question in asked.items()} == TILES[family]
    assert {case: question.text for case, question in asked.items()} == {
        "square": f"<|user|>{Question.IMAGE}Which?<|assistant|>",
        "other": f"<|user|>{Question.IMAGE}Which?<|assistant|>",
        "wide": f"<|user|>{Question.IMAGE}Which one is it?<|assistant|>",
        "system": f"<|system|>Be brief.<|user|>{Question.IMAGE}Which one?<|assistant|>",
        "text": "<|user|>Which of the three is it?<|assistant|>",
        "long-text": "<|user|>Which of the three, please?<|assistant|>",
    }
    for case, question in asked.items():
        assert question.tokens == len(answers[case].prompt_ids)
        assert len(question.pixel_means) == question.tiles
    assert asked["wide"].pixels == asked["system"].pixels != asked["square"].pixels


def test_the_image_is_seen(answers: dict[str, Any]) -> None:
    """The paths would agree as well if neither were given the pixels."""
    square, other = (answers[case].readings[0].letter_logits for case in ("square", "other"))
    assert answers["square"].prompt_ids == answers["other"].prompt_ids
    assert np.abs(np.subtract(square, other)).max() > 0.01
