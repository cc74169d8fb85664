"""What an earlier version wrote is kept as it was, and is read by the present one."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest
from pydantic import ValidationError

from harness.cases.folder import load
from harness.errors import ErrorKind, GateError
from harness.noise.store import NoiseStore
from harness.recordings.journal import Journal
from harness.recordings.store import RecordingStore
from harness.schemas.report import ReportFile
from harness.scoring.stored_runs import StoredRuns
from harness.snapshots.converting import convert
from harness.snapshots.files import read_engine
from tests.formats.folder import FROZEN, FROZEN_THIRD, frozen_folder


def changed_files(folder: Path) -> list[str]:
    """Files that are not as the list says, gone or new."""
    lines = (folder / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    listed = {name.removeprefix("./"): sha for sha, _, name in (line.partition("  ") for line in lines)}
    there = {
        file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in folder.rglob("*")
        if file.is_file() and file.name not in ("SHA256SUMS", "README.md")
    }
    return sorted(name for name in listed.keys() | there.keys() if listed.get(name) != there.get(name))


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A copy of the folder of recordings, which readers may add locks to."""
    return Path(shutil.copytree(FROZEN / "store", tmp_path / "store"))


@pytest.mark.parametrize("frozen", [FROZEN, FROZEN_THIRD])
def test_nothing_was_changed(frozen: Path) -> None:
    assert changed_files(frozen) == []


def test_a_change_would_be_noticed(tmp_path: Path) -> None:
    copy = Path(shutil.copytree(FROZEN, tmp_path / "copy"))
    (copy / "junit.xml").write_text("<changed/>")
    (copy / "new.json").write_text("{}")
    (copy / "store" / "metrics.jsonl").unlink()
    assert changed_files(copy) == ["junit.xml", "new.json", "store/metrics.jsonl"]


def test_runs_and_their_recordings_are_read(store: Path) -> None:
    runs, recordings = StoredRuns(store), RecordingStore(store)
    for engine, paths in (("torch", {"forward"}), ("lmdeploy", {"two-stage", "captured"})):
        run = runs.of("small", engine)[-1]
        assert sorted(run.keys) == ["few.green-cross-colour", "few.red-circle-colour", "few.stated-colour"]
        for case, key in run.keys.items():
            recording = recordings.get(key)
            assert recording is not None
            assert recording.case == case
            assert {reading.path for reading in recording.answer.readings} == paths
            assert recording.asked is not None
            assert recording.asked["letters"] == ["A", "B", "C", "D"]
            assert recording.asked["kind"] == "letter"
            images = recording.asked["images"]
            assert isinstance(images, list)
            assert len(images) == (0 if case == "few.stated-colour" else 1)
            assert recordings.load_row(key, recording.answer.readings[0].path) is not None
    pair = [
        run.keys["few.stated-colour"]
        for run in (runs.of("small", "torch")[-1], runs.of("small", "lmdeploy")[-1])
    ]
    assert recordings.get_metrics(*pair)


@pytest.mark.parametrize("frozen", [FROZEN, FROZEN_THIRD])
def test_recordings_are_read_and_come_back_the_same_from_what_is_written_today(
    frozen: Path, tmp_path: Path
) -> None:
    shutil.copytree(frozen / "store", tmp_path / "old")
    old, new = RecordingStore(tmp_path / "old"), RecordingStore(tmp_path / "new")
    read = [
        recording
        for file in sorted((old.root / "recordings").glob("*.jsonl"))
        for key in sorted(old.answers(file.stem))
        if (recording := old.get(key)) is not None
    ]
    assert len(read) == {FROZEN: 6, FROZEN_THIRD: 4}[frozen]
    for one in read:
        new.put(one, run_id="today")
    assert [new.get(one.key, run_id="today") for one in read] == read


def test_todays_recordings_stand_beside_those_of_an_earlier_version(tmp_path: Path) -> None:
    shutil.copytree(FROZEN_THIRD / "store", tmp_path / "store")
    store = RecordingStore(tmp_path / "store")
    first, second = sorted(store.answers("torch-1e395b8e0f36"))
    renewed = store.get(first)
    assert renewed is not None
    store.put(renewed, run_id="today")
    again = RecordingStore(store.root)
    assert again.get(first, run_id="today") == renewed
    assert again.get(second) is not None
    assert len(again.shared("torch-1e395b8e0f36", [first, second])) == 2  # a fingerprint and a sample


def test_errors_are_read(store: Path) -> None:
    names = [
        key
        for file in (store / "recordings").glob("*.jsonl")
        for key in Journal(file, format_name="vlm-harness recordings", version=2).keys()  # noqa: SIM118 - no mapping
        if key.startswith("error:")
    ]
    found = [RecordingStore(store).error_for(key, run) for _, run, key in (name.split(":") for name in names)]
    assert len(found) == 6
    assert {error.kind for error in found if error is not None} == {ErrorKind.LOAD}
    assert None not in found


@pytest.mark.parametrize("engine", ["torch", "lmdeploy"])
def test_a_noise_floor_is_read(store: Path, engine: str) -> None:
    floor = NoiseStore(store, "small", engine).floor()
    assert floor is not None
    assert sorted(floor.cases) == ["few.green-cross-colour", "few.red-circle-colour", "few.stated-colour"]


def test_accepted_outputs_are_converted(tmp_path: Path) -> None:
    snapshots = frozen_folder(tmp_path) / "snapshots"
    with pytest.raises(GateError, match="harness accept --convert"):
        read_engine(snapshots / "small" / "lmdeploy")
    assert len(convert(snapshots, load(tmp_path / "cases"))) == 2
    for engine in ("torch", "lmdeploy"):
        (suite,) = read_engine(snapshots / "small" / engine)
        assert sorted(suite.cases) == ["few.green-cross-colour", "few.red-circle-colour", "few.stated-colour"]


@pytest.mark.parametrize("name", ["report-gate.json", "report-pytest.json"])
def test_reports_of_an_earlier_version_are_refused_with_what_to_do(name: str) -> None:
    with pytest.raises(ValidationError, match=r"found version 1 of the report; allowed: version 3\."):
        ReportFile.model_validate_json((FROZEN / name).read_text(encoding="utf-8"))
