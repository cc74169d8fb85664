"""Hypothesis is driven: what is found is shrunk, kept for the next time, and ends within its budget."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from harness.drift.searching.distances import Judged
from harness.drift.searching.hunting import Budget, hunt
from harness.drift.searching.studio import Drawn, Picture
from harness.errors import EngineError, ErrorKind, HarnessError

Batch = tuple[Drawn, ...]
FAULT, QUIET = Judged(50.0, "far"), Judged(0.2, "near")
SMALLEST = Drawn(None, "What is it?", ("red", "blue"))


def wide(drawn: Batch) -> Judged:
    """A fault of several tiles."""
    sizes = [one.picture[:2] for one in drawn if one.picture]
    return FAULT if any(width >= height + 10 for width, height in sizes) else QUIET


def crowded(drawn: Batch) -> Judged:
    """A fault of company."""
    return FAULT if len(drawn) > 1 else QUIET


def test_what_is_found_is_shrunk(tmp_path: Path) -> None:
    for seed in range(3):  # with a case in front that need not be there, too
        came = hunt(4, wide, Budget(60, seed=seed), tmp_path / str(seed))
        assert came.found == ((SMALLEST._replace(picture=Picture(38, 28, 0, 0)),), FAULT)
        assert came.steady
    assert hunt(4, crowded, Budget(60, seed=1), tmp_path / "c").found == ((SMALLEST, SMALLEST), FAULT)


def test_the_next_search_begins_with_what_was_found(tmp_path: Path) -> None:
    first = hunt(4, wide, Budget(200), tmp_path)
    again = hunt(4, wide, Budget(200), tmp_path)
    assert again.found == first.found is not None
    assert again.tried == 1 < first.tried


def test_nothing_is_found_in_what_agrees(tmp_path: Path) -> None:
    came = hunt(4, lambda _: QUIET, Budget(30, seed=1), tmp_path)
    assert (came.found, came.tried, came.worst) == (None, 30, 0.2)


def test_letters_lengths_pictures_and_company_are_drawn(tmp_path: Path) -> None:
    drawn: list[Drawn] = []
    sizes: set[int] = set()

    def note(batch: Batch) -> Judged:
        sizes.add(len(batch))
        drawn.extend(batch)
        return QUIET

    hunt(3, note, Budget(100, seed=1), tmp_path)
    assert sizes == {1, 2, 3}
    assert {len(one.letters) for one in drawn} == {2, 3, 4, 5, 6}
    assert {one.prefix for one in drawn} == {"", "Answer: "}
    assert {None, "Be brief."} < {one.system for one in drawn}
    assert max(len(one.question) for one in drawn) > 200
    sides = [side for one in drawn if one.picture for side in one.picture[:2]]
    assert min(sides) >= 28
    assert 300 < max(sides) <= 448


def test_time_ends_it(tmp_path: Path) -> None:
    def slow(_: Batch) -> Judged:
        time.sleep(0.05)
        return QUIET

    came = hunt(4, slow, Budget(1000, seconds=0.2), tmp_path)
    assert came.found is None
    assert 0 < came.asked < 10


def test_an_engine_that_ends_ends_it_and_is_asked_the_same_first_again(tmp_path: Path) -> None:
    asked: list[Batch] = []

    def dies(drawn: Batch) -> Judged:
        asked.append(drawn)
        if wide(drawn) is FAULT:
            raise EngineError(ErrorKind.CRASH, "it ended")
        return QUIET

    with pytest.raises(EngineError, match="it ended"):
        hunt(4, dies, Budget(200), tmp_path)
    killer = asked[-1]
    asked.clear()
    with pytest.raises(EngineError, match="it ended"):
        hunt(4, dies, Budget(200), tmp_path)
    assert asked == [killer]


def test_what_is_not_so_each_time_is_told(tmp_path: Path) -> None:
    answers = iter([FAULT])
    came = hunt(4, lambda _: next(answers, QUIET), Budget(20, seed=1), tmp_path)
    assert came.found is not None
    assert not came.steady


def test_a_search_that_asked_nothing_found_nothing_out(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="none of 0 batches was answered: allowed: more --minutes"):
        hunt(4, lambda _: QUIET, Budget(30, seconds=-1.0, seed=1), tmp_path)
