"""`harness gate` over several machines: a share made on each, and one machine compared with another."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.cli import main
from harness.recordings.fingerprint import digest, engine_id
from harness.recordings.store import RecordingStore
from harness.scoring.stored_runs import StoredRuns
from tests.gate_folder import Folder


def as_of_another_machine(folder: Path, target: Path, **other: Any) -> None:
    """The recordings of ``folder`` as a machine of another processor would have made them."""
    theirs, ours = RecordingStore(folder), RecordingStore(target)
    for run in StoredRuns(folder).all():
        keys: dict[str, str] = {}
        engine = ""
        for case, key in run.keys.items():
            recording = theirs.get(key)
            assert recording is not None
            installed: Any = recording.fingerprint["installed"]
            fingerprint = {
                **recording.fingerprint,
                "installed": {**installed, "processor": "Other 1", **other},
            }
            loaded = fingerprint.pop("loaded")
            engine = engine_id(fingerprint)
            keys[case] = f"{engine}-{digest(key)[:40]}"
            ours.put(replace(recording, key=keys[case], fingerprint={**fingerprint, "loaded": loaded}))
        StoredRuns(target).add(replace(run, keys=keys, fingerprint=engine))


@pytest.fixture
def here(gate_folder: Folder) -> Folder:
    gate_folder.clean()
    assert gate_folder.gate("p/torch", "p/lmdeploy", "--recordings", "here") == 0
    return gate_folder


@pytest.mark.parametrize("dots", [False, True])
def test_the_machine_is_the_only_change(
    here: Folder, capsys: pytest.CaptureFixture[str], *, dots: bool
) -> None:
    as_of_another_machine(here.path / "here", here.path / "there")
    capsys.readouterr()
    name = here.path.name
    sides = [f"p/lmdeploy@../{name}/here..p/lmdeploy@../{name}/there"]
    if not dots:
        sides = ["--baseline", "p/lmdeploy@here", "--candidate", "p/lmdeploy@there"]
    assert main(["gate", *sides]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("SAME: p/lmdeploy@")
    assert "what changed:\n  nothing but the machine: " in printed.out
    assert "→ Other 1, " in printed.out
    assert "loading" not in printed.err, "no engine was asked"
    assert not (here.path / ".harness" / "recordings").exists()


def test_what_changed_beside_the_machine_is_told(here: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    as_of_another_machine(here.path / "here", here.path / "there", python="3.99.0")
    assert main(["gate", "p/torch@here..p/torch@there"]) == 0
    printed = capsys.readouterr().out
    assert "nothing but the machine" not in printed
    assert "python: " in printed
    assert "machine processor: " in printed


def test_a_bundle_of_another_machine(here: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bundle", "--recordings", "here", "--out", "here.zip"]) == 0
    capsys.readouterr()
    assert main(["gate", "p/lmdeploy@here.zip..p/lmdeploy@here"]) == 0
    assert capsys.readouterr().out.startswith("SAME: p/lmdeploy@here against p/lmdeploy@here.zip, 24 cases")


def test_a_folder_without_such_a_run(here: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gate", "p/torch@cases..p/torch@here"]) == 2
    assert "found 'p/torch@cases', no such stored run; allowed: a run in cases" in capsys.readouterr().err


def test_shards_are_made_and_judged_afterwards(
    gate_folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    gate_folder.clean(20)
    for number, count in ((1, 16), (2, 4)):  # a batch is 16 cases
        assert gate_folder.gate("p/torch", "p/lmdeploy", f"--shard={number}/2") == 0
        told = capsys.readouterr().out
        assert told.startswith(f"shard {number}/2: {2 * count} of {2 * count} answers are recorded\n")
    assert gate_folder.gate() == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("SAME: p/lmdeploy against p/torch, 20 cases")
    assert "p-torch: 0 recorded, 20 unchanged" in printed.err
    side = {len(run.keys) for run in gate_folder.runs.all()}
    assert side == {16, 4, 20}


def test_a_shard_without_all_its_answers_is_2(
    gate_folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    gate_folder.write_suite("say A", "lmdeploy: die")
    assert gate_folder.gate("p/torch", "p/lmdeploy", "--shard=1/2") == 2
    printed = capsys.readouterr()
    assert "shard 1/2: 3 of 4 answers are recorded" in printed.out
    assert "signal 9" in printed.err


def test_what_is_no_shard_is_refused(gate_folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    gate_folder.clean(1)
    with pytest.raises(SystemExit) as ended:
        main(["gate", "p", "--shard", "3/2"])
    assert ended.value.code == 2
    assert "argument --shard: found '3/2'; allowed: K/N, the K-th of N shards" in capsys.readouterr().err
    assert main(["gate", "p", "--shard", "1/2", "--from", "no.zip"]) == 2
    assert "--shard: found --from beside it" in capsys.readouterr().err
