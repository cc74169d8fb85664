"""An update writes the lines that it is about, and leaves the others as they are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import GateError
from harness.snapshots.accepted import Acceptance, AcceptedCase, AcceptedSuite, Moved
from harness.snapshots.files import put_cases, read_suite, write_suite

HEAD = AcceptedSuite(profile="p", engine="e", suite="s", model="m", fingerprint={"version": 2})


def case(share: float) -> AcceptedCase:
    return AcceptedCase(
        top="A",
        text="A",
        letters={"A": share},
        logprobs=None,
        token_ids=[1],
        dtype="float32",
        asked=None,
        rendered=None,
    )


def test_whatever_is_put_first_the_file_is_what_it_is_in_one_go(tmp_path: Path) -> None:
    cases = {f"s.c{number}": case(number / 8) for number in (3, 1, 2)}
    for name, one in cases.items():
        put_cases(tmp_path / "single", HEAD, {name: one})
    put_cases(tmp_path / "together", HEAD, cases)
    whole = write_suite(tmp_path / "whole", replace(HEAD, cases=cases))
    for folder in ("single", "together"):
        assert HEAD.file(tmp_path / folder).read_bytes() == whole.read_bytes()
    assert list(read_suite(whole).cases) == ["s.c1", "s.c2", "s.c3"]


def test_lines_that_an_update_leaves_alone_stay_to_the_byte(tmp_path: Path) -> None:
    decision = Acceptance(decision="2026-01-01", author="a", reason="r", verdict="", sentence="", lost=[])
    moved = replace(decision, moved={"s.c1": Moved(why="w", old={"A": 0.5}, new={"A": 0.25})})
    cases = {f"s.c{number}": case(number / 8) for number in (1, 3)}
    file = write_suite(tmp_path, replace(HEAD, cases=cases, decisions=(decision, moved)))
    before = file.read_text().splitlines()
    put_cases(tmp_path, HEAD, {"s.c2": case(0.25), "s.c3": case(0.5)})
    after = file.read_text().splitlines()
    assert len(before) == 2 + 2 + 1 + 2  # head and fingerprint, decisions, what one of them moved, cases
    assert (after[:6], len(after)) == (before[:6], 8)
    assert list(read_suite(file).cases.values()) == [case(0.125), case(0.25), case(0.5)]


@pytest.mark.parametrize("damage", [b"", b"<<<<<<< HEAD", b"\xff\xfe\x00"])
def test_a_damaged_file_is_never_written(tmp_path: Path, damage: bytes) -> None:
    file = write_suite(tmp_path, replace(HEAD, cases={"s.c1": case(0.5)}))
    file.write_bytes(damage)
    with pytest.raises(GateError, match="Restore the file from version control"):
        put_cases(tmp_path, HEAD, {"s.c2": case(0.5)})
    assert file.read_bytes() == damage
