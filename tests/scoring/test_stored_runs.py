"""Stored runs: which recordings a run used, without a copy of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.cases.folder import load
from harness.scoring.stored_runs import StoredRun, StoredRuns, model_name
from tests.gate_folder import Folder

RUN = StoredRun(
    run="r1",
    when="2026-10-25T09:00:00+00:00",
    profile="p",
    engine="torch",
    fingerprint="torch-0123456789ab",
    model="m",
    keys={"s.a": "torch-0123456789ab-aa", "s.b": "torch-0123456789ab-bb"},
    errors={"s.c": "it hung"},
)


@pytest.mark.parametrize(
    "when",
    [
        "2026-10-25T08:00:00+00:00",  # a clock set back
        "2026-10-24T21:30:00-12:00",  # later by half an hour, in another zone
        "2026-11-01T09:00:00+00:00",
    ],
)
def test_runs_come_back_as_they_were_stored_whatever_clocks_say(tmp_path: Path, when: str) -> None:
    runs = StoredRuns(tmp_path)
    later = replace(RUN, run="r2", when=when, keys={"s.a": "other"})
    runs.add(RUN)
    runs.add(later)
    runs.add(replace(RUN, engine="lmdeploy"))
    assert StoredRuns(tmp_path).of("p", "torch") == (RUN, later)
    assert RUN.day == "2026-10-25"
    assert len(StoredRuns(tmp_path).all()) == 3


def test_a_run_that_is_added_to_names_none_that_was_stored_after_it(tmp_path: Path) -> None:
    runs = StoredRuns(tmp_path)
    runs.add(replace(RUN, keys={"s.a": "aa"}))
    later = replace(RUN, run="r2")
    runs.add(later)
    runs.add(RUN)
    assert StoredRuns(tmp_path).of("p", "torch") == (RUN, later)


def test_a_damaged_line_is_told_and_the_others_are_read(tmp_path: Path) -> None:
    runs = StoredRuns(tmp_path)
    later = replace(RUN, run="r2", keys={"s.a": "other"})
    runs.add(RUN)
    runs.add(later)
    assert runs.damage() == ()
    file = tmp_path / "runs.jsonl"
    file.write_bytes(file.read_bytes().replace(b'"run":"r1"', b'"run":"r9"'))
    again = StoredRuns(tmp_path)
    assert again.damage() == (f"{file}: 1 damaged lines left out, first 2: runs that are not known any more",)
    assert again.of("p", "torch") == (later,)


def test_a_run_with_the_same_recordings_names_the_one_before(tmp_path: Path) -> None:
    runs = StoredRuns(tmp_path)
    runs.add(RUN)
    size = (tmp_path / "runs.jsonl").stat().st_size
    again = replace(RUN, run="r2", when="2026-11-01T09:00:00+00:00")
    runs.add(again)
    text = (tmp_path / "runs.jsonl").read_text()
    assert text.count("torch-0123456789ab-aa") == 1
    assert (tmp_path / "runs.jsonl").stat().st_size > size
    assert StoredRuns(tmp_path).of("p", "torch") == (RUN, again)


def test_the_processes_of_one_run_add_up(tmp_path: Path) -> None:
    runs = StoredRuns(tmp_path)
    runs.add(RUN)
    runs.add(replace(RUN, when="2026-10-25T09:00:05+00:00", keys={"s.c": "cc"}, errors={"s.d": "it died"}))
    (found,) = runs.of("p", "torch")
    assert found.keys == {**RUN.keys, "s.c": "cc"}
    assert found.errors == {"s.d": "it died"}
    assert found.when == RUN.when


def test_an_engine_that_changed_within_a_run_is_told_as_it_is_now(tmp_path: Path) -> None:
    runs = StoredRuns(tmp_path)
    runs.add(RUN)
    changed = replace(RUN, fingerprint="torch-ba9876543210", keys={"s.a": "torch-ba9876543210-aa"})
    runs.add(changed)
    assert runs.of("p", "torch") == (changed,)


def test_no_runs(tmp_path: Path) -> None:
    assert StoredRuns(tmp_path).all() == ()


def test_models_are_named_so_that_they_hold_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    gate_folder = Folder(tmp_path)
    gate_folder.clean(1)
    gate_folder.write_profiles(
        q={"engines": {"torch": {"model": "../m2"}}}, r={"engines": {"torch": {"model": "org/name"}}}
    )
    (gate_folder.path / "m2").mkdir()
    (gate_folder.path / "m2" / "config.json").write_text("{}")
    loaded = load(gate_folder.cases)
    names = {profile.name: model_name(profile.engines[0], loaded.folder) for profile in loaded.profiles}
    assert names == {"p": "m", "q": "../m2", "r": "org/name"}
    engine = replace(loaded.profile("r").engines[0], revision="main")
    assert model_name(engine, loaded.folder) == "org/name@main"
    settings = replace(engine.settings, model="/models/far")
    assert model_name(replace(engine, settings=settings, revision=None), loaded.folder) == "/models/far"
