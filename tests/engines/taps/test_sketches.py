"""What is kept of a stage: enough to measure a distance, on any machine, and small."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.drift.distances import apart
from harness.engines.taps.sketches import PICTURE_SUMS, SUMS, Sketch, Trace, read_traces, signs, write_traces

_MEGABYTES_ALLOWED = 50


def sketch(rows: np.ndarray) -> Sketch:
    """Of rows [R, C]."""
    return Sketch(rows.shape, norms=np.linalg.norm(rows, axis=1), sums=rows @ signs(rows.shape[1], SUMS))


def test_a_distance_follows_from_signed_sums() -> None:
    drawn = np.random.default_rng(3)
    rows = drawn.normal(size=(40, 128))
    other = rows.copy()
    other[17] += 1e-3 * drawn.normal(size=128)
    true = np.linalg.norm(other[17] - rows[17]) / np.linalg.norm(rows[17])
    found = apart(sketch(rows), sketch(other))
    assert found.row == 17
    assert found.worst == pytest.approx(true, rel=0.5)  # 16 sums tell a norm to a quarter or so
    assert apart(sketch(rows), sketch(rows)).worst == 0


def test_signs_are_the_same_everywhere() -> None:
    # Else traces of two machines, or of two versions, would not be comparable: never change these.
    found = signs(5, 4)
    assert found.tolist() == [[1, 1, 1, 1], [1, -1, -1, 1], [1, 1, -1, 1], [1, 1, -1, -1], [1, 1, 1, -1]]
    assert set(np.unique(signs(1000, SUMS))) == {-1.0, 1.0}


def test_traces_come_back_as_they_were(tmp_path: Path) -> None:
    stages = {
        "ids": Sketch((3,), exact=np.array([5, 6, 7])),
        "norm": Sketch(
            (3, 8), norms=np.ones(3), sums=np.ones((3, SUMS)), answer=np.arange(8.0), finite=False
        ),
    }
    write_traces(
        tmp_path / "t.npz", {"A": Trace(stages=stages, told={"letters": [1.5]}, error="cut")}, {"x": 1}
    )
    traces, about = read_traces(tmp_path / "t.npz")
    found = traces["A"]
    assert about == {"x": 1}
    assert (found.told, found.error) == ({"letters": [1.5]}, "cut")
    assert found.stages["ids"].exact is not None
    assert found.stages["ids"].exact.tolist() == [5, 6, 7]
    assert found.stages["norm"].answer.tolist() == list(range(8))
    assert not found.stages["norm"].finite


@pytest.mark.parametrize("text", [b"", b"no zip", b"PK\x03\x04 cut short"])
def test_what_is_no_trace_is_refused_with_its_name(tmp_path: Path, text: bytes) -> None:
    file = tmp_path / "t.npz"
    file.write_bytes(text)
    with pytest.raises(ValueError, match=r"t\.npz holds no traces"):
        read_traces(file)


def test_a_truncated_trace_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "t.npz"
    write_traces(file, {"A": Trace(stages={"ids": Sketch((3,), exact=np.array([5, 6, 7]))})}, {})
    whole = file.read_bytes()
    for length in range(0, len(whole) - 1, 97):
        file.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="holds no traces"):
            read_traces(file)


def test_a_case_of_an_8b_model_takes_less_than_50_megabytes() -> None:
    """InternVL2-8B: 32 layers of 4096, 24 vision blocks of 1024; 3,400 tokens, 13 tiles of 1,025 patches."""
    single = np.dtype(np.float32).itemsize
    tokens, patches, layers, blocks = 3400, 13 * 1025, 32, 24
    language = (2 * layers + 4) * (tokens * (SUMS + 1) + 4096) * single
    vision = (2 * blocks + 4) * patches * (PICTURE_SUMS + 1) * single
    logits = 2 * 92553 * single
    assert (language + vision + logits) / 1e6 < _MEGABYTES_ALLOWED
