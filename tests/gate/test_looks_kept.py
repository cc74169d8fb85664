"""Looks are spent once, whoever looks, and are never forgotten without a word."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import GateError, RecordingError
from harness.gate.looks_kept import LooksKept
from harness.verdicts.evidence import share_of

RULE = {"margin": "0.1"}
FIRST, SECOND = (share_of(k, last=False) for k in (0, 1))


def kept(root: Path, *, pair: str = "pair", anew: bool = False, rule: dict[str, str] = RULE) -> LooksKept:
    return LooksKept(root, pair, rule, anew=anew)


def test_the_same_data_have_the_share_that_they_had_and_others_the_next_one(tmp_path: Path) -> None:
    looks = kept(tmp_path)
    assert looks.share("data 1", ["a", "b"], last=False) == FIRST
    assert looks.share("data 1", ["a", "b"], last=False) == FIRST
    again = kept(tmp_path)
    assert again.cases == ["a", "b"]
    assert again.share("data 1", ["a", "b"], last=True) == FIRST  # whatever it is now
    assert again.share("data 2", ["a", "b", "c"], last=False) == SECOND
    assert again.share("data 3", ["a", "b", "c", "d"], last=True) == share_of(0, last=True)
    assert kept(tmp_path).cases == ["a", "b", "c", "d"]


def test_another_call_meanwhile_does_not_spend_the_same_share(tmp_path: Path) -> None:
    here, there = kept(tmp_path), kept(tmp_path)
    assert here.share("data 1", ["a"], last=False) == FIRST
    assert there.share("data 2", ["a"], last=False) == SECOND


def test_other_sides_have_looks_of_their_own(tmp_path: Path) -> None:
    assert kept(tmp_path).share("data", ["a"], last=False) == FIRST
    other = kept(tmp_path, pair="other")
    assert other.cases == []
    assert other.share("data 2", ["a"], last=False) == FIRST


def test_another_rule_is_refused_by_name_and_a_new_suite_is_none(tmp_path: Path) -> None:
    kept(tmp_path).share("data", ["a"], last=False)
    assert kept(tmp_path, rule={**RULE, "budgets of new": "none"}).cases == ["a"]
    with pytest.raises(
        GateError, match=r"another rule\n  margin: 0\.1 then, 0\.2 now\nallowed: .*--looks-anew"
    ):
        kept(tmp_path, rule={"margin": "0.2"})
    anew = kept(tmp_path, rule={"margin": "0.2"}, anew=True)
    assert (anew.forgotten, anew.cases) == (1, [])
    assert anew.share("data 2", ["a"], last=False) == FIRST
    assert anew.share("data 3", ["a", "b"], last=False) == SECOND
    after = kept(tmp_path, rule={"margin": "0.2"})
    assert (after.forgotten, after.cases) == (0, ["a", "b"])


def test_another_format_is_told(tmp_path: Path) -> None:
    (tmp_path / "looks.jsonl").write_bytes(b'4c9184f3 {"format":"another","version":9}\n')
    with pytest.raises((GateError, RecordingError), match=r"looks\.jsonl"):
        kept(tmp_path)
