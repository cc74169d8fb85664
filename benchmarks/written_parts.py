"""Parts of pages that a command writes, between two marks."""

from __future__ import annotations

import argparse

from harness.errors import HarnessError

__all__ = ["positive", "with_part"]


def with_part(page: str, part: str, *, begin: str, end: str, file: str) -> str:
    """``page`` with ``part`` in place of what stands between the lines ``begin`` and ``end``.

    Raises `HarnessError` where they are not there; ``file`` is what to call the page.
    """
    before, first, rest = page.partition(begin)
    _, last, after = rest.partition(end)
    if not first or not last:
        raise HarnessError(
            f"{file}: found no place for what is written there; allowed: a line {begin!r} and, below it, a "
            f"line {end!r}. Put both back: git checkout {file}"
        )
    return f"{before}{begin}\n\n{part}\n\n{end}{after}"


def positive(text: str) -> int:
    """A whole number from 1 on, of a command line."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"found {text}; allowed: 1 or more")
    return number
