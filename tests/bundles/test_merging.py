"""Folders of recordings in one: the run of shards is that of one process, and nothing is overwritten."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.bundles.merging import MergeError, merge
from harness.cli import main
from harness.engines.contract import Answer
from harness.recordings.fingerprint import engine_id
from harness.recordings.store import RecordingStore
from harness.scoring.stored_runs import StoredRuns
from tests.gate_folder import Folder
from tests.recordings.recording_data import ENGINE, key_of, recording


def held(folder: Path) -> dict[str, object]:
    """All recordings and metrics by their keys, whoever made them."""
    store, found = RecordingStore(folder), dict[str, object]()
    for file in (folder / "recordings").glob("*.jsonl"):
        keys = store.journal_of(file.stem).keys()
        found |= {key: store.get(key) for key in keys if ":" not in key}
    pairs = store.metrics_journal.keys()
    return found | {pair: store.get_metrics(*pair.split()) for pair in pairs}


def side(folder: Path) -> Iterator[tuple[str, int]]:
    for engine in ("torch", "lmdeploy"):
        yield engine, len({case for run in StoredRuns(folder).of("p", engine) for case in run.keys})


def test_shards_merged_are_the_run_of_one_process(
    gate_folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    gate_folder.write_profiles(p={"batch_size": 2})
    gate_folder.write_suite(*(f"say A {n} lmdeploy: wobble" for n in range(9)))
    suite = ["p", "--recordings"]
    main(["gate", *suite, "whole"])
    for number in (1, 2, 3):
        main(["gate", *suite, f"part{number}", f"--shard={number}/3"])
    parts = ["part1", "part2", "part3"]
    capsys.readouterr()
    assert main(["merge", *parts, "--into", "merged"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "part1: 8 recordings taken, 0 there already, 0 with another answer; 2 runs, 12 rows"
    main(["gate", *suite, "merged"])
    printed = capsys.readouterr()
    assert "p-torch: 0 recorded, 9 unchanged" in printed.err
    main(["gate", *suite, "whole"])
    assert printed.out.replace("merged", "whole") == capsys.readouterr().out
    assert held(Path("merged")) == held(Path("whole"))
    assert len(held(Path("whole"))) == 9 * 3
    assert main(["merge", *parts, "--into", "merged"]) == 0
    assert "part2: 0 recordings taken, 6 there already, 0 with another answer" in capsys.readouterr().out


def test_a_bundle_is_a_folder(bundled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["merge", "run.zip", "--into", "merged"]) == 0
    assert "run.zip: 6 recordings taken, 0 there already" in capsys.readouterr().out
    assert dict(side(Path("merged"))) == {"torch": 3, "lmdeploy": 3}


def moved(answer: Answer, by: float) -> Answer:
    """The same, but for the last letter's logit in its first path."""
    reading, *others = answer.readings
    logits = (*reading.letter_logits[:-1], reading.letter_logits[-1] + by)
    return replace(answer, readings=(replace(reading, letter_logits=logits), *others))


def told_top(answer: Answer, by: float) -> Answer:
    first, *others = answer.reported_top
    return replace(answer, reported_top=(first._replace(logprob=first.logprob - by), *others))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda one: moved(one, 0.1),
            r"of two-stage's letter \d+ (\S+) kept, (\S+) in other, 0.1 apart, limit ",
        ),
        (
            lambda one: told_top(one, 0.5),
            r"of reported_top's token \d+ (\S+) kept, (\S+) in other, 0.5 apart",
        ),
        (
            lambda one: replace(moved(one, 0.1), text="B"),
            r"text .+ kept, B in other; .+ of two-stage's letter \d+ (\S+) kept, (\S+) in other",
        ),
    ],
    ids=["captured rows", "reported", "another text"],
)
def test_another_answer_is_told_with_numbers_and_not_taken(
    tmp_path: Path, change: Callable[[Answer], Answer], said: str
) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    mine, theirs = recording(1), recording(1)
    theirs = replace(theirs, answer=change(theirs.answer))
    RecordingStore(one).put(mine)
    before = RecordingStore(one).get(key_of(1))
    RecordingStore(other).put(theirs)
    RecordingStore(other).put(recording(2))
    (done,) = merge({"other": other}, one)
    assert (done.taken, done.equal, done.close, len(done.conflicts)) == (1, 0, 0, 1)
    told = re.search(said, done.conflicts[0])
    assert told is not None
    assert told[1] != told[2]
    assert RecordingStore(one).get(key_of(1)) == before


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda last: last.replace(b'":', b'";', 1), "1 damaged lines left out, first {number}"),
        (lambda last: last[:-9], "its last line is not finished"),
    ],
    ids=["damaged", "unfinished"],
)
def test_what_a_folder_lost_is_no_success(
    change: Callable[[bytes], bytes],
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for number in (1, 2):
        RecordingStore(Path("one")).put(recording(number))
    (journal,) = Path("one/recordings").glob("*.jsonl")
    *lines, last = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join([*lines, change(last)]))
    assert main(["merge", "one", "--into", "both"]) == 1
    assert "1 recordings taken" in (said := capsys.readouterr().out)
    assert f"{journal}: {told.format(number=len(lines) + 1)}" in said


def test_answers_that_differ_by_rounding_are_counted_and_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for number in (1, 2, 3):
        mine = recording(number)
        RecordingStore(Path("one")).put(mine)
        other = replace(mine, answer=told_top(moved(mine.answer, number * 1e-6), 1e-6))
        RecordingStore(Path("other")).put(other)
    before = held(Path("one"))
    assert main(["merge", "other", "--into", "one"]) == 0
    said = capsys.readouterr().out
    assert "other: 0 recordings taken, 0 there already, 0 with another answer" in said
    assert re.search(
        r"^  3 keys have two answers that differ by up to \S+e-06 in a log-probability, within the limit of "
        r"\S+; that of one is kept$",
        said,
        re.MULTILINE,
    )
    assert held(Path("one")) == before


def test_how_long_it_took_is_no_other_answer(tmp_path: Path) -> None:
    mine = recording(1)
    slower = replace(mine, answer=replace(mine.answer, seconds={"forward": 99.0}))
    RecordingStore(tmp_path / "one").put(mine)
    RecordingStore(tmp_path / "other").put(slower)
    (done,) = merge({"other": tmp_path / "other"}, tmp_path / "one")
    assert (done.equal, done.conflicts) == (1, [])


def test_two_kinds_of_machine_are_refused_unless_allowed(tmp_path: Path) -> None:
    for name, processor in (("one", "EPYC 1"), ("other", "EPYC 2")):
        fingerprint: dict[str, Any] = {**ENGINE, "installed": {"processor": processor, "cores": 2}}
        key = f"{engine_id(fingerprint)}-{'0' * 40}"
        made = replace(recording(1), key=key, fingerprint=fingerprint)
        RecordingStore(tmp_path / name).put(made)
    folders = {"one": tmp_path / "one", "other": tmp_path / "other"}
    with pytest.raises(MergeError, match=r"EPYC 1, 2 cores in one\n.*EPYC 2, 2 cores in other\n"):
        merge(folders, tmp_path / "both")
    assert not (tmp_path / "both").exists()
    done = merge(folders, tmp_path / "both", several_kinds=True)
    assert [one.taken for one in done] == [1, 1]
    assert "another kind of machine" in done[0].notes[0]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("cases", "found cases; allowed: folders of recordings (with cases/recordings in them)"),
        ("nowhere", "found nowhere; allowed: folders of recordings"),
        ("cases/s.yaml", "allowed: a bundle as harness bundle writes it"),
    ],
)
def test_what_is_neither_folder_nor_bundle_is_refused(
    gate_folder: Folder, capsys: pytest.CaptureFixture[str], source: str, said: str
) -> None:
    gate_folder.write_suite("say A")
    assert main(["merge", source, "--into", "merged"]) == 2
    assert said in capsys.readouterr().err
    assert not Path("merged").exists()
