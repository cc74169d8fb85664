"""Full rows of logits: kept, dropped, and never taken when damaged."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.engines.contract import Row
from harness.recordings.store import RecordingStore
from harness.workers.rows import row_file, save_rows


def save_row(store: RecordingStore, row: Row, *, key: str = "k", path: str = "captured") -> Path:
    """As a worker does."""
    store.rows_folder.mkdir(parents=True, exist_ok=True)
    save_rows(store.rows_folder, key, {path: row})
    return row_file(store.rows_folder, key, path)


def write_row(store: RecordingStore, row: object, *, key: str = "k", path: str = "captured") -> Path:
    store.rows_folder.mkdir(parents=True, exist_ok=True)
    file = store.rows_folder / f"{key}.{path}.npy"
    np.save(file, np.asarray(row))
    return file


def test_rows_are_loaded_and_dropped(store: RecordingStore) -> None:
    row = np.linspace(-30, 30, 500, dtype=np.float32)
    for path in ("captured", "two-stage"):
        write_row(store, row, path=path)
    other = write_row(store, row, key="other")
    loaded = store.load_row("k", "captured")
    assert loaded is not None
    assert np.array_equal(loaded, row)
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


def test_no_flipped_bit_goes_unnoticed(store: RecordingStore) -> None:
    file = save_row(store, np.linspace(-3, 3, 20, dtype=np.float32))
    whole = file.read_bytes()
    for place in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[place // 8] ^= 1 << place % 8
        file.write_bytes(flipped)
        assert store.load_row("k", "captured") is None, f"bit {place % 8} of byte {place // 8}"
        assert not file.exists()
    file.write_bytes(whole)
    assert store.load_row("k", "captured") is not None


def test_rows_are_numpy_s_to_others_and_those_of_earlier_versions_are_read(store: RecordingStore) -> None:
    row = np.linspace(-3, 3, 20, dtype=np.float32)
    assert np.array_equal(np.load(save_row(store, row)), row)
    write_row(store, row, path="earlier")
    earlier = store.load_row("k", "earlier")
    assert earlier is not None
    assert np.array_equal(earlier, row)


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
