"""An engine is resolved once, and so is one that is not there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from harness.cases.folder import load
from harness.environments.store import Environments
from harness.errors import EngineError, ErrorKind
from harness.reports.progress import describe
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

    def look(python: str, **_: object) -> dict[str, object]:
        asked.append(python)
        return {"python": "3"}

    monkeypatch.setattr(resolving, "probe", look)
    found = list(map(engines(tmp_path).resolve, every))
    assert len(found) == 4
    assert len({id(engine) for engine in found}) == 2
    assert len(asked) == 1
    assert all(engine.fingerprint["installed"] == {"python": "3"} for engine in found)


def test_what_takes_long_is_shown(
    every: Iterator[Subject], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(python: str, model: str, *, show: Callable[[str], None], **_: object) -> dict[str, object]:
        show("3.2 of 16.1 GB")
        return {"folder": str(tmp_path)}

    def look(python: str, *, show: Callable[[str], None], **_: object) -> dict[str, object]:
        show("hashing lmdeploy: 9 of 10 files")
        return {"python": "3"}

    monkeypatch.setattr(resolving, "find_model", fetch)
    monkeypatch.setattr(resolving, "probe", look)
    subject = next(every)
    settings = replace(subject.engine.settings, model="org/name")
    shown: list[str] = []
    run = Engines(
        Environments(run_id="r"), cache=tmp_path / "cache", show=lambda told: shown.append(describe(told))
    )
    run.resolve(replace(subject, engine=replace(subject.engine, settings=settings)))
    assert shown == [
        f"{subject.engine_label}: downloading org/name (3.2 of 16.1 GB) ...",
        f"{subject.engine_label}: looking at its interpreter (hashing lmdeploy: 9 of 10 files) ...",
    ]


def test_an_engine_that_is_not_there_is_looked_for_once(
    every: Iterator[Subject], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def look(python: str, **_: object) -> dict[str, object]:
        asked.append(python)
        raise EngineError(ErrorKind.LOAD, "no such interpreter")

    monkeypatch.setattr(resolving, "probe", look)
    run = engines(tmp_path)
    for subject in every:
        with pytest.raises(EngineError, match="no such interpreter"):
            run.resolve(subject)
    assert len(asked) == 2
