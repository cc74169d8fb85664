"""An answer that was just recorded is not read again, and what is held of it is what would be read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.cases.folder import load
from harness.engines.codec import answer_to_json
from harness.errors import EngineError, ErrorKind
from harness.recordings.store import RecordingStore
from harness.scoring import scoring as module
from harness.scoring.resolving import Engines, ResolvedEngine
from harness.scoring.scoring import Scoring
from harness.scoring.subjects import Subject, subjects
from harness.workers.believing import believed
from harness.workers.conversation import Item
from harness.workers.events import Event, Failed, Job, Loaded, Scored
from tests.gate_folder import Folder
from tests.recordings.recording_data import answer


class Executor:
    """Answers all but the last one."""

    def run(self, job: Job, requests: Sequence[Item]) -> Iterator[Event]:
        del job
        yield Loaded({"device": "cpu", "dtype": "float32"}, 0.1)
        *others, last = [key for key, _ in requests]
        for number, key in enumerate(others):
            told = json.loads(json.dumps(answer_to_json(answer(seed=number))))
            yield Scored(key, believed(told))
        yield Failed(last, EngineError(ErrorKind.FAILED, "no answer"))


@pytest.fixture
def every(tmp_path: Path) -> list[Subject]:
    folder = Folder(tmp_path)
    folder.clean(4)
    loaded = load(folder.cases)
    every = list(subjects(loaded.cases, loaded.profiles, selection="every"))
    return [one for one in every if one.engine_label == every[0].engine_label]


@pytest.fixture
def scoring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scoring:
    def described(engines: Engines, subject: Subject) -> ResolvedEngine:
        del engines
        return ResolvedEngine("python", subject.engine.settings, {"settings": {"kind": "torch"}})

    monkeypatch.setattr(Engines, "_described", described)
    monkeypatch.setattr(Engines, "changed", lambda *_: "")
    executor: Any = Executor()
    return Scoring(tmp_path / "kept", run_id="r", fresh=False, show=lambda _: None, executor=executor)


def test_what_was_just_recorded_is_not_read_again_and_is_what_would_be_read(
    scoring: Scoring, every: list[Subject], monkeypatch: pytest.MonkeyPatch
) -> None:
    scoring.make(every)
    monkeypatch.setattr(scoring, "_stored", lambda key: pytest.fail(f"{key} was read"))
    for one in every[:-1]:
        assert scoring.recording(one) == RecordingStore(scoring.store.root).get(scoring.key(one))
    with pytest.raises(EngineError, match="no answer"):
        scoring.recording(every[-1])


def test_no_more_are_held_than_memory_is_meant_for(
    scoring: Scoring, every: list[Subject], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_HELD", 2)
    scoring.make(every)
    assert len({scoring.recording(one).key for one in every[:-1]}) == len(every) - 1
    assert len(scoring._held) == 2
    scoring.make(every)  # nothing is missing, and others may have made them anew meanwhile
    assert not scoring._held
