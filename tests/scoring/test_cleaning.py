"""What goes of a folder of recordings, and what never does."""

from __future__ import annotations

import datetime
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.cli import main
from harness.errors import EngineError, ErrorKind
from harness.recordings.fingerprint import engine_id_of
from harness.recordings.store import Recording, RecordingStore
from harness.scoring.cleaning import Cleaned, clean
from harness.scoring.stored_runs import StoredRun, StoredRuns
from harness.workers.rows import row_file, save_rows
from tests.recordings.recording_data import recording

DAY = 86400.0


def engine_of(number: int) -> list[Recording]:
    """Two recordings of the engine of this number."""
    made = []
    for case in range(2):
        one = recording(10 * number + case)
        kind, _, last = one.key.split("-")
        made.append(replace(one, case=f"s.c{case}", key=f"{kind}-{number:012x}-{last}"))
    return made


class Folder:
    """Four runs, each of another version of one engine, made 400, 300, 200 and 0 days ago."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.store, self.runs = RecordingStore(root), StoredRuns(root)
        self.made = [engine_of(number) for number in range(4)]
        for number, days in enumerate((400, 300, 200, 0)):
            self.run(number, days)

    def run(self, number: int, days: float, *, profile: str = "p") -> None:
        when = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=days)
        for one in self.made[number]:
            self.store.put(one, run_id=f"r{number}")
            save_rows(self._rows(), one.key, {"forward": np.zeros(8, np.float32)})
        one = self.made[number][0]
        self.store.put_error(one.key, f"r{number}", EngineError(ErrorKind.CRASH, "it died"))
        self.store.put_metrics(one.key, one.key, {"kl": 0.0})
        self.runs.add(
            StoredRun(
                run=f"r{number}",
                when=when.isoformat(timespec="seconds"),
                profile=profile,
                engine="torch",
                fingerprint=engine_id_of(one.key),
                model="m",
                keys={each.case: each.key for each in self.made[number]},
            )
        )

    def _rows(self) -> Path:
        self.store.rows_folder.mkdir(parents=True, exist_ok=True)
        return self.store.rows_folder

    def there(self) -> list[int]:
        """Of which of the runs all recordings are there, to a reader that looked before and to a new one."""
        readers = (self.store, RecordingStore(self.root))
        found = [{reader.get(one.key) is not None for reader in readers for one in own} for own in self.made]
        assert all(len(each) == 1 for each in found), "both see the same, and a run is there whole or not"
        return [number for number, each in enumerate(found) if each == {True}]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / ".harness")


def cleaned(found: Iterator[Cleaned]) -> dict[str, int]:
    return {one.what: one.number for one in found if one.number}


def test_the_last_two_runs_stay_and_older_ones_go_with_what_only_they_need(folder: Folder) -> None:
    (folder.root / "noise").mkdir()
    (folder.root / "noise" / "p-torch.jsonl").write_text("a floor")
    os.utime(folder.root / "noise" / "p-torch.jsonl", (0, 0))
    found = cleaned(clean(folder.root, days=90))
    assert found == {"recordings and errors": 2 * 4 + 4, "metrics": 2, "runs": 2, "rows": 4}
    assert folder.there() == [2, 3]
    assert [run.run for run in StoredRuns(folder.root).all()] == ["r2", "r3"]
    assert {file.name.rpartition(".forward")[0] for file in folder.store.rows_folder.iterdir()} == {
        one.key for own in folder.made[2:] for one in own
    }
    assert folder.store.error_for(folder.made[3][0].key, "r3") is None
    assert (folder.root / "noise" / "p-torch.jsonl").read_text() == "a floor"
    assert cleaned(clean(folder.root, days=90)) == {}


def test_age_keeps_what_is_younger(folder: Folder) -> None:
    clean_all = cleaned(clean(folder.root, days=350))
    assert clean_all["runs"] == 1
    assert folder.there() == [1, 2, 3]


def test_a_run_noted_as_like_another_keeps_its_keys_when_that_goes(folder: Folder) -> None:
    keys = {one.case: one.key for one in folder.made[3]}
    for number in range(3):
        folder.runs.add(replace(folder.runs.all()[-1], run=f"again{number}", keys=keys))
    cleaned(clean(folder.root, days=90))
    kept = {run.run: run.keys for run in StoredRuns(folder.root).all()}
    assert kept["again2"] == keys
    assert folder.there()[-1] == 3


def test_what_no_run_names_goes_by_its_age_alone(folder: Folder) -> None:
    stray = replace(recording(99), key=f"torch-{9:012x}-{'b' * 40}")
    folder.store.put(stray)
    cleaned(clean(folder.root, days=90))
    assert folder.store.get(stray.key) is not None
    file = folder.store.journal_of(engine_id_of(stray.key)).path
    os.utime(file, (time.time() - 100 * DAY,) * 2)
    cleaned(clean(folder.root, days=90))
    assert folder.store.get(stray.key) is None


def test_an_engine_in_use_is_left_as_it_is(folder: Folder) -> None:
    from filelock import FileLock

    busy = folder.store.journal_of(engine_id_of(folder.made[0][0].key)).path
    with FileLock(busy.with_suffix(".making.lock")):
        found = [*clean(folder.root, days=90)]
    assert found[0].note == f"{busy.stem}: in use, left as it is"
    assert folder.there() == [0, 2, 3]


def test_a_dry_run_removes_nothing_and_tells_the_same(folder: Folder) -> None:
    before = {file: file.read_bytes() for file in folder.root.rglob("*") if file.is_file()}
    told = cleaned(clean(folder.root, days=90, dry=True))
    after = {file: file.read_bytes() for file in folder.root.rglob("*") if file.is_file()}
    assert {file: text for file, text in after.items() if file.suffix != ".lock"} == {
        file: text for file, text in before.items() if file.suffix != ".lock"
    }
    assert told == cleaned(clean(folder.root, days=90))


def test_rows_go_from_the_oldest_until_the_folder_is_small_enough(folder: Folder) -> None:
    files = [row_file(folder.store.rows_folder, one.key, "forward") for own in folder.made for one in own]
    for age, file in enumerate(reversed(files)):
        os.utime(file, (time.time() - age,) * 2)
    assert "rows" not in cleaned(clean(folder.root, days=9999))
    size = sum(file.stat().st_size for file in folder.root.rglob("*") if file.is_file())
    found = cleaned(clean(folder.root, days=9999, most=size - 2 * files[0].stat().st_size + 1))
    assert found == {"rows": 2}
    assert [file for file in files if file.exists()] == files[2:]


def test_the_command_tells_and_refuses(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    where = f"--recordings={folder.root}"
    assert main(["clean", where, "--dry-run"]) == 0
    assert "would remove 2 runs" in capsys.readouterr().out
    assert main(["clean", where, "--older-than", "90", "--json", "-"]) == 0
    assert '"what": "runs"' in capsys.readouterr().out
    assert main(["clean", where]) == 0
    assert capsys.readouterr().out == "nothing to remove\n"
    assert main(["clean", f"--recordings={folder.root}/no"]) == 2
    with pytest.raises(SystemExit):
        main(["clean", where, "--most", "many"])
    assert "allowed: a size such as 500M or 5G" in capsys.readouterr().err
