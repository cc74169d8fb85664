"""Full rows read fast, and whatever is not as we write it by the reader that knows it."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from harness.workers import handed_over, rows
from harness.workers.rows import row_file, save_rows

ROW = np.arange(33, dtype=np.float32) / np.float32(7)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    save_rows(tmp_path, "key", {"forward": ROW})
    return row_file(tmp_path, "key", "forward")


def test_a_whole_row_is_read_without_the_slow_reader(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "read_row", lambda _: pytest.fail("the slow reader was asked"))
    for _ in range(2):
        found = handed_over.read_row(file)
        assert found is not None
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, ROW)


@pytest.mark.parametrize("place", [0, 8, 9, 20, 60, 130, 200, -3, -12])
def test_what_the_slow_reader_calls_damaged_is_damaged(file: Path, place: int) -> None:
    data = bytearray(file.read_bytes())
    data[place] ^= 0x10
    file.write_bytes(data)
    assert handed_over.read_row(file) is None
    assert rows.read_row(file) is None


@pytest.mark.parametrize("length", [0, 9, 10, 40, 128, 150])
def test_a_row_cut_off_is_damaged(file: Path, length: int) -> None:
    file.write_bytes(file.read_bytes()[:length])
    assert handed_over.read_row(file) is None


def test_a_row_of_an_earlier_version_without_a_sum_is_read(file: Path) -> None:
    buffer = io.BytesIO()
    np.save(buffer, ROW)
    file.write_bytes(buffer.getvalue())
    found = handed_over.read_row(file)
    assert found is not None
    np.testing.assert_array_equal(found, ROW)


def test_another_array_is_no_row(file: Path) -> None:
    for array in (ROW.astype(np.float64), ROW.reshape(3, 11)):
        save = io.BytesIO()
        np.save(save, array)
        body = save.getvalue()
        file.write_bytes(body + rows._sum(body))  # a sum that holds
        assert handed_over.read_row(file) is None
