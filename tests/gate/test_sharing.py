"""Two sides hold once what both were asked, and each its own where that differs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from harness.engines.contract import Json, Question
from harness.gate.side import Kept
from harness.recordings.store import Recording
from harness.scoring.scoring import Scoring
from tests.recordings.recording_data import recording

ASKED: dict[str, Json] = {"version": 2, "prompt": "0123456789abcdef"}


def asked_of(text: str, asked: dict[str, Json], number: int, *ids: int) -> Recording:
    made = recording(number)
    answer = replace(made.answer, prompt_ids=ids, question=Question(text=text))
    return replace(made, answer=answer, asked={**asked})


def kept() -> Kept:
    return Kept(folder=Path(), suites=(), scoring=cast(Scoring, None))


def held(one: Recording) -> tuple[Any, ...]:
    return one.answer.prompt_ids, one.answer.question, one.asked


def test_what_both_were_asked_is_held_once() -> None:
    sides = kept()
    first, second = asked_of("Look", ASKED, 1, 5, 6, 7), asked_of("Look", ASKED, 2, *(5, 6, 7))
    assert sides.sharing(first) is first
    shared = sides.sharing(second)
    assert shared == second
    assert all(a is b for a, b in zip(held(shared), held(first), strict=True))


def test_what_differs_stays_its_own() -> None:
    sides = kept()
    sides.sharing(asked_of("Look", ASKED, 1, 5, 6, 7))
    other = asked_of("Look!", {**ASKED, "prompt": "f" * 16}, 2, 5, 6, 8)
    assert sides.sharing(other) == other
    assert held(sides.sharing(other)) == ((5, 6, 8), Question(text="Look!"), {**ASKED, "prompt": "f" * 16})
