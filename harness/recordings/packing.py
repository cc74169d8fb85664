"""Recordings' entries as compressed JSON, written into a journal's line as text.

Cases of one suite have most of their text in common: the prompt's frame, the template, names of fields. So an
entry is compressed by a sample, the plain JSON of one recording of its suite that the journal keeps beside it
once (`harness.recordings.store`).
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np

from harness.engines.contract import Json
from harness.errors import RecordingError
from harness.recordings.journal import compact_json

__all__ = ["pack", "unpack", "unpack_early"]

_RAW: Final = -15  # without zlib's own sum: the journal's line has one
_BEST: Final = 9
_MOST: Final = 1 << 26  # bytes, as plain text; an answer takes some thousand

_ALPHABET: Final = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~"
_NO_DIGIT: Final = 255
_DIGITS: Final = np.full(256, _NO_DIGIT, np.uint8)
_CHARACTERS: Final = np.frombuffer(_ALPHABET, np.uint8)
_DIGITS[_CHARACTERS] = range(85)
_WEIGHTS: Final = np.array([85**4, 85**3, 85**2, 85, 1], np.int64)


def pack(data: Mapping[str, Json], sample: bytes = b"") -> str:
    """``data`` as text without quotes or backslashes. Raises as `compact_json`."""
    squeezed = zlib.compressobj(_BEST, zlib.DEFLATED, _RAW, _BEST, zdict=sample)
    return _b85encode(squeezed.compress(compact_json(data)) + squeezed.flush())


def unpack(text: str, sample: bytes = b"") -> dict[str, Any]:
    """Inverse of `pack` with the same ``sample``. Raises `RecordingError` for other text."""
    return _opened(_b85decode, text, zlib.decompressobj(_RAW, zdict=sample))


def unpack_early(text: str) -> dict[str, Any]:
    """An answer as entries up to version 3 have it: compressed by itself. Raises as `unpack`."""
    return _opened(base64.b64decode, text, zlib.decompressobj())


def _b85encode(data: bytes) -> str:
    """As `base64.b85encode`, which takes ten times as long."""
    missing = -len(data) % 4
    words = np.frombuffer(data + bytes(missing), ">u4").astype(np.int64)
    text: bytes = _CHARACTERS[words[:, None] // _WEIGHTS % 85].tobytes()
    return text[: len(text) - missing].decode("ascii")


def _b85decode(text: str) -> bytes:
    """As `base64.b85decode`, which takes ten times as long; raises ValueError as it does."""
    digits = _DIGITS[np.frombuffer(text.encode("ascii") + b"~" * (-len(text) % 5), np.uint8)]
    words = digits.reshape(-1, 5) @ _WEIGHTS
    if (digits == _NO_DIGIT).any() or (words >> 32).any():
        raise ValueError("it is no base85")
    return words.astype(">u4").tobytes()[: len(text) * 4 // 5]


def _opened(decode: Callable[[str], bytes], text: str, opened: Any) -> dict[str, Any]:  # noqa: ANN401 - zlib's own
    try:
        plain = opened.decompress(decode(text), _MOST)
        if not opened.eof:
            raise ValueError(f"it is cut off, or of more than {_MOST:,} bytes")
        found: dict[str, Any] = json.loads(plain.decode("utf-8", "surrogatepass"))
    except (RecursionError, TypeError, ValueError, zlib.error) as error:
        raise RecordingError(
            f"this is no packed entry: {error}\nfound: {text!r:.100}\nallowed: what "
            "harness.recordings.packing.pack writes"
        ) from error
    return found
