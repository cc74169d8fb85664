"""Headers of weight files: read as they are, and refused where bytes are missing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.profile_check.safetensors import HeaderError, Tensor, read_header

EMBEDDED = Path(__file__).parents[2] / "cases" / "models" / "embedded" / "model.safetensors"


def write(path: Path, header: object, data: bytes = b"") -> Path:
    raw = json.dumps(header).encode()
    path.write_bytes(len(raw).to_bytes(8, "little") + raw + data)
    return path


def test_a_real_file() -> None:
    header = read_header(EMBEDDED)
    assert sum(tensor.numbers for tensor in header.values()) == 813_248
    assert {tensor.dtype for tensor in header.values()} == {"F32"}


def test_metadata_is_no_tensor(tmp_path: Path) -> None:
    entry = {"dtype": "BF16", "shape": [2, 3], "data_offsets": [0, 12]}
    path = write(tmp_path / "m", {"__metadata__": {"format": "pt"}, "x": entry}, bytes(12))
    assert read_header(path) == {"x": Tensor("BF16", 6, 12)}


@pytest.mark.parametrize("cut", [1, 100_000, 3_262_000])
def test_a_file_cut_short(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(EMBEDDED.read_bytes()[:-cut])
    with pytest.raises(HeaderError, match=r"model\.safetensors has "):
        read_header(path)


@pytest.mark.parametrize(
    "content",
    [b"", b"short", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"],
    ids=["empty", "short", "pointer"],
)
def test_what_is_no_safetensors_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m"
    path.write_bytes(content)
    with pytest.raises(HeaderError, match="no safetensors file"):
        read_header(path)


@pytest.mark.parametrize(
    "header",
    [[], {"x": 1}, {"x": {"dtype": "F32"}}, {"x": {"dtype": "F32", "shape": [1], "data_offsets": [0]}}],
)
def test_a_header_of_something_else(tmp_path: Path, header: object) -> None:
    with pytest.raises(HeaderError, match="cannot be read"):
        read_header(write(tmp_path / "m", header))
