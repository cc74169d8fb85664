"""How fast an engine went: told only where one start of it on this machine made all its answers."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from harness.recordings.pace import Pace, PaceMaker, pace_of, this_host
from harness.recordings.store import RecordingStore
from tests.recordings.recording_data import answer, key_of, recording, stored


def paced(number: int, **more: object) -> Pace:
    whole = {
        "loaded": 5.0,
        "host": this_host(),
        "seconds": 2.0 * number,
        "cases": number,
        "tokens": 10 * number,
    }
    return Pace(**{**whole, **more})  # type: ignore[arg-type]


def test_it_is_kept_with_a_recording(store: RecordingStore) -> None:
    store.put(replace(recording(), pace=paced(3, tokens=None)))
    assert stored(RecordingStore(store.root).get(key_of(1))).pace == paced(3, tokens=None)


def test_a_start_counts_answers_and_tokens_until_a_case_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter((100.0, 101.0, 103.5, 200.0, 201.0))
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    maker, one = PaceMaker(), answer()
    own = len(one.prompt_ids) + len(one.generated_ids)
    assert maker.answered(one) is None  # nothing is loaded
    maker.start()
    first, second = maker.answered(one), maker.answered(one)
    assert first is not None
    assert second is not None
    assert (first.cases, first.seconds, first.tokens) == (1, 1.0, own)
    assert (second.cases, second.seconds, second.tokens) == (2, 3.5, 2 * own)
    maker.failed()
    assert maker.answered(one) is None
    maker.start()  # a new worker
    by_text = maker.answered(replace(one, prompt_ids=()))
    assert by_text is not None
    assert (by_text.cases, by_text.tokens) == (1, None)


@pytest.mark.parametrize(
    ("paces", "told"),
    [
        ([paced(1), paced(3), paced(2)], paced(3)),
        ([paced(2)], paced(2)),  # of a few cases: so many were answered until then
        ([paced(1), None], None),
        ([paced(1), paced(2, loaded=6.0)], None),  # two sessions
        ([paced(1), paced(2, host="other")], None),
        ([paced(1, host="other")], None),
        ([paced(1, seconds=0.0)], None),
        ([], None),
    ],
)
def test_what_was_not_made_in_one_go_here_has_none(paces: list[Pace | None], told: Pace | None) -> None:
    assert pace_of([replace(recording(), pace=one) for one in paces]) == told
