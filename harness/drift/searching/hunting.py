"""Hypothesis, driven: batches are drawn towards the largest disagreement, and what is found is shrunk."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Final, NamedTuple

import hypothesis
from hypothesis import strategies as st
from hypothesis.configuration import set_hypothesis_home_dir
from hypothesis.database import DirectoryBasedExampleDatabase
from hypothesis.errors import Flaky, NoSuchExample, Unsatisfiable

from harness.drift.searching.distances import Judged
from harness.drift.searching.studio import Drawn, Picture
from harness.errors import HarnessError

__all__ = ["Budget", "Hunt", "batches", "hunt"]

# What comes first is what is shrunk towards.
_QUESTIONS: Final = ("What is it?", "What colour is it?", "How many shapes are there?", "这是什么颜色?")
_WORDS: Final = ("red", "blue", "green", "circle", "two", "three", "top left", "红色", "none of these")
_SYSTEMS: Final = (None, "You are a helpful assistant.", "Be brief.")
_LONGER: Final = "Look at the picture closely. "
_SMALLEST, _LARGEST = 28, 448


class Budget(NamedTuple):
    """The most examples, and the most seconds with shrinking.

    With a ``seed`` the same are drawn each time, and none are kept.
    """

    examples: int
    seconds: float | None = None
    seed: int | None = None


class Hunt(NamedTuple):
    """``tried`` batches were asked up to the find, ``asked`` in all; ``worst`` is of those not beyond 1.

    ``found`` is the smallest batch that was, if any; ``steady`` whether it was so each time.
    """

    found: tuple[tuple[Drawn, ...], Judged] | None
    steady: bool
    tried: int
    asked: int
    worst: float


class _StopError(BaseException):
    """Hypothesis lets pass what is no Exception, and asks the same batch first the next time."""


def batches(most: int) -> st.SearchStrategy[tuple[Drawn, ...]]:
    """One to ``most`` cases of two to six letters, with pictures of 28 to 448 pixels a side or without."""
    side = st.integers(_SMALLEST, _LARGEST)
    free = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=30)
    question = st.builds(
        lambda times, text: _LONGER * times + text, st.integers(0, 20), st.sampled_from(_QUESTIONS) | free
    )
    case = st.builds(
        Drawn,
        st.none() | st.builds(Picture, side, side, st.integers(0, 4), st.integers(0, 999)),
        question,
        st.lists(st.sampled_from(_WORDS), min_size=2, max_size=6, unique=True).map(tuple),
        st.sampled_from(("", "Answer: ")),
        st.sampled_from(_SYSTEMS),
        st.sampled_from((None, 8)),
    )
    return st.lists(case, min_size=1, max_size=most).map(tuple)


def hunt(
    most: int, judge: Callable[[tuple[Drawn, ...]], Judged | None], budget: Budget, folder: Path
) -> Hunt:
    """Look for a batch of at most ``most`` cases that ``judge`` puts beyond 1, and shrink it.

    ``judge`` gives None for what cannot be judged. ``folder`` keeps what Hypothesis learnt, and the next
    search without a seed begins there. A HarnessError of ``judge`` ends the search; one is raised where
    nothing was judged.
    """
    seen: list[tuple[tuple[Drawn, ...], Judged]] = []
    raised: list[HarnessError] = []
    tried = asked = answered = 0
    worst, began, steady = 0.0, time.monotonic(), True

    def ask(drawn: tuple[Drawn, ...]) -> bool:
        nonlocal tried, asked, answered, worst
        if budget.seconds is not None and time.monotonic() - began > budget.seconds:
            raise _StopError
        asked += 1
        tried += not seen
        try:
            judged = judge(drawn)
        except HarnessError as error:
            raised.append(error)
            raise _StopError from None
        if judged is None:
            hypothesis.reject()
        answered += 1
        hypothesis.target(judged.ratio)
        if judged.ratio > 1:
            seen.append((drawn, judged))
        else:
            worst = max(worst, judged.ratio)
        return judged.ratio > 1

    settings = hypothesis.settings(
        max_examples=budget.examples,
        database=DirectoryBasedExampleDatabase(folder / "examples"),
        deadline=None,
        phases=[phase for phase in hypothesis.Phase if phase is not hypothesis.Phase.explain],
        verbosity=hypothesis.Verbosity.quiet,
    )
    random = None if budget.seed is None else Random(budget.seed)  # noqa: S311 - to be had again
    set_hypothesis_home_dir(folder)
    try:
        with suppress(_StopError, NoSuchExample, Unsatisfiable):
            hypothesis.find(batches(most), ask, settings=settings, random=random, database_key=b"batches")
    except Flaky:
        steady = False
    finally:
        set_hypothesis_home_dir(None)
    if raised:
        raise raised[0]
    if not answered:
        why = "the engines' logs say why" if asked else "allowed: more --minutes"
        raise HarnessError(f"none of {asked} batches was answered: {why}")
    found = seen[-1] if seen else None
    places = range(len(found[0])) if found and steady else ()
    for place in reversed(places):  # Hypothesis leaves cases that need not be there
        assert found is not None  # noqa: S101 - else there is no place
        if (fewer := found[0][:place] + found[0][place + 1 :]) and (far := judge(fewer)) and far.ratio > 1:
            found = fewer, far
    return Hunt(found, steady, tried, asked, worst)
