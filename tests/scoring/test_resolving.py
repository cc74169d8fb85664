"""An engine is resolved once, and so is one that is not there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.cases.folder import load
from harness.environments.store import Environments
from harness.errors import EngineError, ErrorKind
from harness.scoring import resolving
from harness.scoring.resolving import Engines
from harness.scoring.subjects import Subject, subjects
from tests.gate_folder import Folder


@pytest.fixture
def every(tmp_path: Path) -> Iterator[Subject]:
    """Two cases, each put to two engines in one interpreter."""
    folder = Folder(tmp_path)
    folder.clean(2)
    loaded = load(folder.cases)
    return subjects(loaded.cases, loaded.profiles, selection="every")


def engines(tmp_path: Path) -> Engines:
    return Engines(Environments(run_id="r"), cache=tmp_path / "cache", show=lambda _: None)


def test_engines_that_share_an_interpreter_have_it_looked_at_once(
    every: Iterator[Subject], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def look(python: str, *, cache: Path) -> dict[str, object]:
        asked.append(python)
        return {"python": "3"}

    monkeypatch.setattr(resolving, "probe", look)
    found = list(map(engines(tmp_path).resolve, every))
    assert len(found) == 4
    assert len({id(engine) for engine in found}) == 2
    assert len(asked) == 1
    assert all(engine.fingerprint["installed"] == {"python": "3"} for engine in found)


def test_an_engine_that_is_not_there_is_looked_for_once(
    every: Iterator[Subject], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def look(python: str, *, cache: Path) -> dict[str, object]:
        asked.append(python)
        raise EngineError(ErrorKind.LOAD, "no such interpreter")

    monkeypatch.setattr(resolving, "probe", look)
    run = engines(tmp_path)
    for subject in every:
        with pytest.raises(EngineError, match="no such interpreter"):
            run.resolve(subject)
    assert len(asked) == 2
