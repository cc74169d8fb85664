"""Changing what is accepted of a case, as only a test may."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from harness.snapshots.accepted import AcceptedCase, suite_of
from harness.snapshots.files import put_cases, read_suite


def move_letters(snapshots: Path, engine: str, case: str, **by: float) -> AcceptedCase:
    """Move probabilities in a line of ``engine`` (``PROFILE/ENGINE``); returns what then stands there."""
    suite = read_suite(snapshots / engine / f"{suite_of(case)}.jsonl")
    own = suite.cases[case]
    letters = dict(own.letters)
    for letter, move in by.items():
        share = letters[letter]
        assert isinstance(share, float)
        letters[letter] = round(share + move, 6)
    moved = replace(own, letters=letters)
    put_cases(snapshots, suite, {case: moved})
    return moved
