"""An update writes one line at a time, and looks at no line twice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.schemas.accepted import LINES
from harness.snapshots.accepted import AcceptedCase, AcceptedSuite
from harness.snapshots.files import put_case, read_suite, write_suite

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


def test_case_by_case_the_file_is_what_it_is_in_one_go(tmp_path: Path) -> None:
    cases = {f"s.c{number}": case(number / 8) for number in (3, 1, 2)}
    for name, one in cases.items():
        put_case(tmp_path / "single", HEAD, name, one)
    whole = write_suite(tmp_path / "whole", replace(HEAD, cases=cases))
    assert HEAD.file(tmp_path / "single").read_bytes() == whole.read_bytes()
    assert list(read_suite(whole).cases) == ["s.c1", "s.c2", "s.c3"]


def test_lines_that_an_update_leaves_alone_are_not_checked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[str] = []
    model = LINES["case"]

    class Counting(model):  # type: ignore[misc, valid-type]
        @classmethod
        def model_validate(cls, line: dict[str, str], **_: object) -> object:
            checked.append(line["case"])
            return model.model_validate(line)

    monkeypatch.setitem(LINES, "case", Counting)
    for number in range(10):
        put_case(tmp_path, HEAD, f"s.c{number}", case(0.125 + number / 1024))
    assert sorted(checked) == [f"s.c{number}" for number in range(9)]  # the last was not read yet
