"""Headers of safetensors files, read with the standard library: names, dtypes and sizes, and no weights.

The format: eight bytes, the header's length as a little-endian integer; the header, a JSON object of tensors;
then the data, to which each tensor's ``data_offsets`` refer. Source: the format's description in the
safetensors repository.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["HeaderError", "Tensor", "read_header"]

_LENGTH_BYTES = 8
_LONGEST_HEADER = 100_000_000  # the reference implementation's own limit


class HeaderError(ValueError):
    """A file that is no safetensors file, or not all of one; the message says which."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor: ``dtype`` as the format names it (``BF16``), ``numbers`` in it, ``size`` in bytes."""

    dtype: str
    numbers: int
    size: int


def read_header(path: Path) -> Mapping[str, Tensor]:
    """The tensors of a file by name, after making sure that all of their bytes are there.

    Raises `HeaderError` where they are not.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
        if size < _LENGTH_BYTES or length > _LONGEST_HEADER:
            raise HeaderError(f"{path.name} is no safetensors file ({size:,} bytes)")
        raw = file.read(length)
    try:
        entries = json.loads(raw)
        tensors = {name: _tensor(entry) for name, entry in entries.items() if name != "__metadata__"}
        ends = [entry["data_offsets"][1] for name, entry in entries.items() if name != "__metadata__"]
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise HeaderError(f"{path.name} has a header that cannot be read, or not all of one") from error
    whole = _LENGTH_BYTES + length + max(ends, default=0)
    if size != whole:
        raise HeaderError(f"{path.name} has {size:,} bytes of {whole:,}")
    return tensors


def _tensor(entry: Mapping[str, Any]) -> Tensor:
    start, end = entry["data_offsets"]
    return Tensor(str(entry["dtype"]), math.prod(entry["shape"]), end - start)
