from __future__ import annotations

import dataclasses
import math
import random
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.engines.contract import Answer, Entry, Json, Reading
from harness.errors import EngineError, ErrorKind, RecordingError
from harness.recordings import store as recordings
from harness.recordings.fingerprint import engine_id
from harness.recordings.journal import Journal
from harness.recordings.store import Recording, RecordingStore

ENGINE: dict[str, Json] = {
    "settings": {"kind": "lmdeploy", "dtype": "float32"},
    "model": {"hash": "0" * 64, "files": {f"model-{n:05}.safetensors": "0" * 64 for n in range(8)}},
}
LOADED: dict[str, Json] = {**ENGINE, "loaded": {"device": "cpu"}}


def key_of(number: int) -> str:
    return f"{engine_id(ENGINE)}-{number:040x}"


def answer(*, vocabulary: int = 448, words: int = 44, image: int = 64, seed: int = 1) -> Answer:
    """An answer as long as a real one, with nothing in it that repeats but what repeats in real ones.

    Those are the image's placeholders and the top-k lists: two paths and the engine's own report give the
    same entries but for float32 rounding.
    """
    rng = random.Random(seed)

    def ids(count: int) -> tuple[int, ...]:
        return tuple(rng.randrange(vocabulary // 5, vocabulary) for _ in range(count))

    def rounded(values: tuple[float, ...]) -> tuple[float, ...]:
        return tuple(value + rng.gauss(0, 3e-7) for value in values)

    top_ids = ids(20)
    top = tuple(sorted((-rng.expovariate(0.2) for _ in range(20)), reverse=True))
    generated, logprobs = ids(3), tuple(-rng.expovariate(5) for _ in range(3))
    letters = tuple(float(np.float32(rng.gauss(0, 9))) for _ in range(4))
    reading = Reading(
        path="two-stage",
        argmax=generated,
        logprobs=logprobs,
        letter_logits=letters,
        log_z=rng.uniform(5, 30),
        top=tuple(map(Entry, top_ids, top)),
        other_spellings=tuple(math.exp(-rng.expovariate(0.2)) for _ in range(4)),
    )
    captured = dataclasses.replace(
        reading,
        path="captured",
        logprobs=rounded(logprobs),
        letter_logits=tuple(float(np.float32(x)) for x in rounded(letters)),
        log_z=rng.uniform(5, 30),
        top=tuple(map(Entry, top_ids, rounded(top))),
    )
    return Answer(
        prompt_ids=ids(words // 2) + (vocabulary - 1,) * image + ids(words - words // 2),
        generated_ids=generated,
        text="Answer: B",
        letter_ids=ids(4),
        answer_step=2,
        readings=(reading, captured),
        reported_top=tuple(map(Entry, top_ids, rounded(top))),
        reported_logprobs=rounded(logprobs),
        seconds={"stage-1": 0.1234, "stage-2": 0.04567, "captured": 0.2},
    )


def recording(
    number: int = 1,
    *,
    fingerprint: Mapping[str, Json] = LOADED,
    vocabulary: int = 448,
    words: int = 44,
    image: int = 64,
) -> Recording:
    return Recording(
        key=key_of(number),
        case="shapes.red-circle",
        engine="embedded-lmdeploy",
        answer=answer(vocabulary=vocabulary, words=words, image=image, seed=number),
        fingerprint=fingerprint,
    )


def stored(found: Recording | None) -> Recording:
    assert found is not None
    return found


@pytest.fixture
def store(tmp_path: Path) -> RecordingStore:
    return RecordingStore(tmp_path / "store")


def journal_path(store: RecordingStore) -> Path:
    return store.root / "recordings" / f"{engine_id(ENGINE)}.jsonl"


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
    for recording in (plain, told):
        store.put(recording)
    found = [RecordingStore(store.root).get(key_of(number)) for number in (1, 2)]
    assert [one.asked for one in found if one is not None] == [None, told.asked]


def test_nothing_is_written_by_looking(store: RecordingStore) -> None:
    assert store.get(key_of(1)) is None
    assert store.error_for(key_of(1), "run") is None
    assert store.get_metrics(key_of(1), key_of(2)) is None
    assert store.load_row(key_of(1), "captured") is None
    assert store.rows_bytes() == 0
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
    assert max(map(len, lines[2:])) <= limit
    assert len(lines) == 2 + 40  # a header, one fingerprint, the recordings


def test_fingerprints_are_stored_once_each(store: RecordingStore) -> None:
    other: dict[str, Json] = {**ENGINE, "loaded": {"device": "cuda"}}
    for number in range(4):
        store.put(recording(number, fingerprint=(LOADED, other)[number % 2]))
    assert journal_path(store).read_text().count("safetensors") == 2 * 8
    reader = RecordingStore(store.root)
    assert [stored(reader.get(key_of(n))).fingerprint for n in range(4)] == [LOADED, other] * 2


def test_a_recording_whose_fingerprint_is_damaged_is_made_again(store: RecordingStore) -> None:
    store.put(recording())
    path = journal_path(store)
    path.write_bytes(path.read_bytes().replace(b"safetensors", b"safetensorz", 1))
    again = RecordingStore(store.root)
    assert again.get(key_of(1)) is None
    assert again.damage() == (f"{path}: 1 damaged lines left out, first 2",)
    again.put(recording())
    assert stored(RecordingStore(store.root).get(key_of(1))).fingerprint == LOADED


def test_a_deleted_journal_is_begun_anew(store: RecordingStore) -> None:
    store.put(recording(1))
    journal_path(store).unlink()
    assert store.get(key_of(1)) is None
    store.put(recording(2))
    assert stored(RecordingStore(store.root).get(key_of(2))).fingerprint == LOADED


def test_another_version_is_refused(store: RecordingStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put(recording())
    monkeypatch.setattr(recordings, "_VERSION", recordings._VERSION + 1)
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


def write_row(store: RecordingStore, row: object, *, key: str = "k", path: str = "captured") -> Path:
    store.rows_folder.mkdir(parents=True, exist_ok=True)
    file = store.rows_folder / f"{key}.{path}.npy"
    np.save(file, np.asarray(row))
    return file


def test_rows_are_loaded_and_dropped(store: RecordingStore) -> None:
    row = np.linspace(-30, 30, 500, dtype=np.float32)
    files = [write_row(store, row, path=path) for path in ("captured", "two-stage")]
    other = write_row(store, row, key="other")
    loaded = store.load_row("k", "captured")
    assert loaded is not None
    assert np.array_equal(loaded, row)
    assert store.rows_bytes() == sum(file.stat().st_size for file in (*files, other))
    store.drop_rows("k", ["captured", "two-stage", "never"])
    assert list(store.rows_folder.iterdir()) == [other]
    assert store.load_row("k", "captured") is None


@pytest.mark.parametrize(
    "row",
    [np.zeros(3, np.float64), np.zeros((2, 3), np.float32), np.array(["text"]), np.array(1.0, np.float32)],
    ids=["float64", "matrix", "text", "scalar"],
)
def test_what_is_no_row_is_deleted(store: RecordingStore, row: object) -> None:
    file = write_row(store, row)
    assert store.load_row("k", "captured") is None
    assert not file.exists()


def test_bytes_after_a_row_are_damage(store: RecordingStore) -> None:
    file = write_row(store, np.zeros(3, np.float32))
    with file.open("ab") as stream:
        stream.write(bytes(4))
    assert store.load_row("k", "captured") is None
    assert not file.exists()


@dataclasses.dataclass
class Touching:
    """Leaves a file behind when it is unpickled."""

    path: Path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def test_a_pickle_is_never_opened(store: RecordingStore) -> None:
    trace = store.root / "unpickled"
    store.rows_folder.mkdir(parents=True)
    file = store.rows_folder / "k.captured.npy"
    np.save(file, np.array([Touching(trace)], dtype=object), allow_pickle=True)
    assert store.load_row("k", "captured") is None
    assert not file.exists()
    assert not trace.exists()


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_a_damaged_row_counts_as_none(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    store = RecordingStore(tmp_path_factory.getbasetemp() / "damaged-rows")
    row = np.arange(50, dtype=np.float32)
    file = write_row(store, row)
    whole = bytearray(file.read_bytes())
    header = len(whole) - row.nbytes
    if data.draw(st.booleans()):
        file.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
        expected = False
    else:
        start = data.draw(st.integers(0, header - 1))
        patch = data.draw(st.binary(min_size=1, max_size=8) | st.just(b"PK\x03\x04"))[: header - start]
        whole[start : start + len(patch)] = patch
        file.write_bytes(whole)
        expected = True  # unless the header is damaged, which numpy finds or which leaves the same array
    loaded = store.load_row("k", "captured")
    if loaded is None:
        assert not file.exists()
    else:
        assert expected
        assert np.array_equal(loaded, row)


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
from test_store import ENGINE, RecordingStore, key_of, recording
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
    command = [sys.executable, "-c", MAKER, str(store.root), str(Path(__file__).parent)]
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
        == 21
    )
    assert len(journal_path(store).read_bytes().splitlines()) == 22


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
