"""What a fuzzer is given: a target, its first inputs, and what must hold of every input whatever.

A target's ``check`` raises nothing where the code under it does as it promises: it gives a value, or the
project's own error with a place. Everything else that it raises is a finding.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["HOSTILE", "TARGETS", "Target", "deep", "need", "target"]

Check = Callable[[bytes, Path], None]

HOSTILE: Final = "\x1b]0;owned\x07\x1b[31m <script>alert(1)</script> =1+1 \r\n::error::x%0A \u202e\ud800 🙂"
"""Text that is something else to a terminal, a page, a table or a service."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """``check(data, folder)`` may write into ``folder``, which is its own; ``covers`` are modules by name."""

    name: str
    covers: tuple[str, ...]
    seeds: Callable[[], Iterable[bytes]]
    check: Check


TARGETS: Final[dict[str, Target]] = {}


def target(name: str, *covers: str, seeds: Callable[[], Iterable[bytes]]) -> Callable[[Check], Check]:
    """Register the check of a target."""

    def keep(check: Check) -> Check:
        TARGETS[name] = Target(name=name, covers=covers, seeds=seeds, check=check)
        return check

    return keep


def need(true: object, what: str) -> None:
    """An assertion that stays where Python is asked to leave them out."""
    if not true:
        raise AssertionError(what)


def deep(start: bytes = b"[", levels: int = 20_000) -> bytes:
    """Nested deeper than any reader's stack."""
    return start * levels


def placed(text: str, file: str) -> None:
    """An error's text names the file, and holds nothing that a terminal would act on."""
    need(file in text, f"no place in {text[:300]!r}")
    need(not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", text), f"control characters in {text[:200]!r}")
