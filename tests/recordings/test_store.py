"""The store of recordings: what comes back, what is damaged, who makes what."""

from __future__ import annotations

import dataclasses
import math
import subprocess
import sys
import threading
import tracemalloc
from pathlib import Path

import pytest

from harness.engines.contract import Json
from harness.errors import EngineError, ErrorKind, RecordingError
from harness.recordings import store as recordings
from harness.recordings.fingerprint import engine_id
from harness.recordings.journal import Journal
from harness.recordings.store import Recording, RecordingStore
from tests.recordings.recording_data import ENGINE, LOADED, answer, journal_path, key_of, recording, stored


def test_a_recording_comes_back_in_another_process_too(store: RecordingStore) -> None:
    store.put(recording())
    for reader in (store, RecordingStore(store.root)):
        found = stored(reader.get(key_of(1)))
        assert dataclasses.replace(found, answer=recording().answer) == recording()
        assert found.answer.prompt_ids == recording().answer.prompt_ids
        assert found.answer.readings[0].letter_logits == recording().answer.readings[0].letter_logits
        top, original = found.answer.readings[1].top, recording().answer.readings[1].top
        assert [entry.id for entry in top] == [entry.id for entry in original]
        assert [entry.logprob for entry in top] == pytest.approx([e.logprob for e in original], rel=5.1e-9)
    assert store.get(key_of(2)) is None


def test_what_was_asked_is_kept_and_may_be_unknown(store: RecordingStore) -> None:
    plain = Recording(key=key_of(1), case="s.a", engine="p-torch", answer=answer(), fingerprint=LOADED)
    told = dataclasses.replace(
        plain, key=key_of(2), asked={"version": 2, "letters": ["A", "B"], "images": []}
    )
    for one in (plain, told):
        store.put(one)
    found = [RecordingStore(store.root).get(key_of(number)) for number in (1, 2)]
    assert [each.asked for each in found if each is not None] == [None, told.asked]


def test_nothing_is_written_by_looking(store: RecordingStore) -> None:
    assert store.get(key_of(1)) is None
    assert store.error_for(key_of(1), "run") is None
    assert store.get_metrics(key_of(1), key_of(2)) is None
    assert store.load_row(key_of(1), "captured") is None
    assert not store.root.exists()


def test_the_folder_keeps_itself_out_of_version_control(store: RecordingStore) -> None:
    store.put(recording())
    assert (store.root / ".gitignore").read_text().splitlines()[-1] == "*"


def test_a_later_recording_replaces_an_earlier_one(store: RecordingStore) -> None:
    store.put(recording())
    store.put(dataclasses.replace(recording(), case="shapes.renamed"))
    assert stored(store.get(key_of(1))).case == "shapes.renamed"


def test_recordings_of_one_run_can_be_told_apart(store: RecordingStore) -> None:
    store.put(recording(), run_id="first")
    assert store.get(key_of(1), run_id="first") is not None
    assert store.get(key_of(1), run_id="second") is None
    store.put(recording(), run_id="second")
    assert store.get(key_of(1), run_id="second") is not None


@pytest.mark.parametrize(
    ("vocabulary", "words", "image", "limit"),
    [(448, 44, 64, 1300), (151_674, 44, 256, 1450), (151_674, 200, 256, 2048)],
)
def test_a_case_stays_small(
    store: RecordingStore, vocabulary: int, words: int, image: int, limit: int
) -> None:
    for number in range(40):
        made = recording(number, vocabulary=vocabulary, words=words, image=image)
        store.put(made, run_id="0123456789abcdef0123456789abcdef")
    lines = journal_path(store).read_bytes().splitlines()
    assert max(map(len, lines[3:])) <= limit
    assert len(lines) == 3 + 40  # a header, one fingerprint, one sample, the recordings


def test_fingerprints_are_stored_once_each(store: RecordingStore) -> None:
    other: dict[str, Json] = {**ENGINE, "loaded": {"device": "cuda"}}
    for number in range(4):
        store.put(recording(number, fingerprint=(LOADED, other)[number % 2]))
    assert journal_path(store).read_text().count('"key":"fingerprint:') == 2
    reader = RecordingStore(store.root)
    assert [stored(reader.get(key_of(n))).fingerprint for n in range(4)] == [LOADED, other] * 2


@pytest.mark.parametrize(("line", "what"), [(2, b"fingerprint:"), (3, b"sample:")])
def test_a_recording_whose_fingerprint_or_sample_is_damaged_is_made_again(
    store: RecordingStore, line: int, what: bytes
) -> None:
    store.put(recording())
    path = journal_path(store)
    path.write_bytes(path.read_bytes().replace(what, what[::-1], 1))
    again = RecordingStore(store.root)
    assert again.get(key_of(1)) is None
    assert again.damage() == (f"{path}: 1 damaged lines left out, first {line}",)
    again.put(recording())
    assert stored(RecordingStore(store.root).get(key_of(1))).fingerprint == LOADED


def test_a_deleted_journal_is_begun_anew(store: RecordingStore) -> None:
    store.put(recording(1))
    journal_path(store).unlink()
    assert store.get(key_of(1)) is None
    store.put(recording(2))
    assert stored(RecordingStore(store.root).get(key_of(2))).fingerprint == LOADED


@pytest.mark.parametrize(("name", "step"), [("_VERSION", 1), ("_ENTRY_VERSION", -1)])
def test_another_version_is_refused(
    store: RecordingStore, monkeypatch: pytest.MonkeyPatch, name: str, step: int
) -> None:
    store.put(recording())
    monkeypatch.setattr(recordings, name, getattr(recordings, name) + step)
    with pytest.raises(RecordingError, match=rf"{journal_path(store)} is of another.*\n(.*\n)+  mv "):
        RecordingStore(store.root).get(key_of(1))


def test_an_error_is_remembered_for_its_run_only(store: RecordingStore) -> None:
    error = EngineError(ErrorKind.TIMEOUT, "silent for 60 s", log="logs/a.log", log_tail="one\ntwo")
    store.put_error(key_of(1), "run-1", error)
    reader = RecordingStore(store.root)
    found = reader.error_for(key_of(1), "run-1")
    assert found is not None
    assert (found.kind, str(found)) == (ErrorKind.TIMEOUT, str(error))
    assert reader.error_for(key_of(1), "run-2") is None
    assert reader.error_for(key_of(2), "run-1") is None
    assert reader.get(key_of(1)) is None


def test_errors_of_two_runs_at_once_stay_apart(store: RecordingStore) -> None:
    for run in ("run-1", "run-2"):
        store.put_error(key_of(1), run, EngineError(ErrorKind.CRASH, run))
    assert str(store.error_for(key_of(1), "run-1")) == "crash: run-1"
    assert str(store.error_for(key_of(1), "run-2")) == "crash: run-2"


def test_metrics_come_back_exactly_and_know_their_order(store: RecordingStore) -> None:
    metrics = {"kl": math.inf, "js": 0.1 + 0.2, "tv": 0.0}
    store.put_metrics("a", "b", metrics)
    assert RecordingStore(store.root).get_metrics("a", "b") == metrics
    assert store.get_metrics("b", "a") is None


def test_a_full_disk_says_what_to_do(store: RecordingStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put(recording(1))

    def full(descriptor: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("harness.recordings.journal.os.write", full)
    with pytest.raises(RecordingError, match=r"cannot write .*jsonl: No space left on device\n.*\n  df -h"):
        store.put(recording(2))
    monkeypatch.undo()
    store.put(recording(2))
    assert [store.get(key_of(n)) is not None for n in (1, 2)] == [True, True]


def test_a_file_in_the_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("")
    store = RecordingStore(tmp_path / "store")
    with pytest.raises(RecordingError, match=r"cannot write .*store/\.gitignore: "):
        store.put(recording())
    with pytest.raises(RecordingError, match=r"cannot write .*store/\.gitignore: "), store.making(ENGINE):
        pass


def test_waiting_is_told_once(store: RecordingStore) -> None:
    told: list[str] = []
    entered = threading.Event()
    waited = threading.Event()

    def wait() -> None:
        told.append("waiting")
        waited.set()

    def second() -> None:
        with RecordingStore(store.root).making(ENGINE, on_wait=wait):
            told.append("in")
            entered.set()

    with store.making(ENGINE, on_wait=lambda: told.append("no wait for a free one")):
        other = threading.Thread(target=second)
        other.start()
        assert waited.wait(timeout=60)
        assert not entered.is_set()
    other.join()
    assert told == ["waiting", "in"]


def test_other_engines_are_made_meanwhile(store: RecordingStore) -> None:
    other: dict[str, Json] = {**ENGINE, "patch": "0"}
    second = RecordingStore(store.root)
    with store.making(ENGINE), second.making(other, on_wait=lambda: pytest.fail("waited")):
        assert engine_id(other) != engine_id(ENGINE)


def test_reading_needs_no_making(store: RecordingStore) -> None:
    with store.making(ENGINE):
        store.put(recording())
        assert RecordingStore(store.root).get(key_of(1)) is not None


MAKER = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from harness.recordings.store import RecordingStore
from tests.recordings.recording_data import ENGINE, key_of, recording
store = RecordingStore(Path(sys.argv[1]))
for first in range(0, 20, 5):
    with store.making(ENGINE):
        for number in range(first, first + 5):
            if store.get(key_of(number)) is None:
                time.sleep(0.01)
                store.put(recording(number))
                print(number)
"""


def test_two_processes_make_each_recording_once(store: RecordingStore) -> None:
    command = [sys.executable, "-c", MAKER, str(store.root), str(Path(__file__).parents[2])]
    processes = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)
    ]
    outputs = [process.communicate() for process in processes]
    assert [errors for _, errors in outputs] == ["", ""]
    made = [int(number) for output, _ in outputs for number in output.split()]
    assert sorted(made) == list(range(20))
    assert (
        len(
            Journal(
                journal_path(store), format_name="vlm-harness recordings", version=recordings._VERSION
            ).keys()
        )
        == 22
    )
    assert len(journal_path(store).read_bytes().splitlines()) == 23


def test_a_journal_is_not_held_in_memory(store: RecordingStore) -> None:
    for number in range(400):
        store.put(recording(number, vocabulary=151_674, words=200))
    reader = RecordingStore(store.root)
    tracemalloc.start()
    try:
        found = reader.get(key_of(399))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found is not None
    assert held < journal_path(store).stat().st_size / 3
