"""A reader with a bug, which a fuzzer that works finds within seconds."""

from __future__ import annotations

import json
from pathlib import Path

from tests.fuzz.ground import target


def _read(data: bytes) -> int:
    found = json.loads(data)
    if not isinstance(found, dict):
        raise ValueError("no object")
    return len(found["a"]) if "a" in found else 0  # of a number there is no length


@target("planted", "tests.fuzz.planted", seeds=lambda: [b'{"a": "xyz"}'])
def planted(data: bytes, folder: Path) -> None:
    """Says that it raises nothing but ValueError."""
    try:
        _read(data)
    except ValueError:
        return
