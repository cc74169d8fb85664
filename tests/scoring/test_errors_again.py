"""An error that stands for many tests is raised for each of them, without the traceback of those before."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.cases.folder import load
from harness.errors import EngineError, ErrorKind, GateError
from harness.plugin.gate_tests import GateRun
from harness.scoring.resolving import Engines
from harness.scoring.scoring import Scoring
from harness.scoring.subjects import Subject, subjects
from tests.gate_folder import Folder

ERROR = EngineError(ErrorKind.LOAD, "it cannot be loaded", log_tail="last words")


@pytest.fixture
def one(tmp_path: Path) -> Subject:
    folder = Folder(tmp_path)
    folder.clean(1)
    loaded = load(folder.cases)
    return next(iter(subjects(loaded.cases, loaded.profiles, selection="every")))


@pytest.fixture
def scoring(tmp_path: Path) -> Scoring:
    return Scoring(tmp_path / "recordings", run_id="r", fresh=False, show=lambda _: None)


def depth(ask: Callable[[], object]) -> int:
    """Frames of the traceback with which an error comes out."""
    with pytest.raises((EngineError, GateError)) as caught:
        ask()
    return len(traceback.extract_tb(caught.value.__traceback__))


def test_of_an_engine_that_is_not_there(
    scoring: Scoring, one: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    def described(engines: Engines, subject: Subject) -> None:
        raise ERROR

    monkeypatch.setattr(Engines, "_described", described)
    first = depth(lambda: scoring.recording(one))
    assert {depth(lambda: scoring.recording(one)) for _ in range(5)} == {first}


def test_of_a_case_that_could_not_be_answered(
    scoring: Scoring, one: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "key", lambda subject: "key")
    scoring._errors["key"] = ERROR
    first = depth(lambda: scoring.recording(one))
    assert {depth(lambda: scoring.recording(one)) for _ in range(5)} == {first}


def test_of_two_sides_that_cannot_be_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = object.__new__(GateRun)
    gate._result = GateError("no such side")
    first = depth(gate.comparison)
    assert {depth(gate.comparison) for _ in range(5)} == {first}


def test_an_error_raised_as_it_is_would_be_noticed() -> None:
    def raise_as_it_is() -> None:
        raise ERROR

    first, second = depth(raise_as_it_is), depth(raise_as_it_is)
    assert first < second
