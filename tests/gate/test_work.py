"""What is done for each case of a gate is done once: a hundred thousand cases notice."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from harness.engines.contract import Json
from harness.gate import outputs, reporting
from harness.gate.comparison import Comparison
from harness.gate.reporting import breakdown_of
from harness.recordings import store
from harness.recordings.fingerprint import digest
from harness.recordings.journal import Journal
from harness.reports.breakdown import Breakdown
from tests.gate_folder import Folder

CASES = 6


def test_answers_are_read_twice_and_an_engine_is_told_once(
    gate_folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, hashed, told = Counter[str](), list[object](), list[object]()
    read_entry = Journal._read

    def reading(journal: Journal, key: str) -> dict[str, Any] | None:
        read[key] += 1
        return read_entry(journal, key)

    monkeypatch.setattr(Journal, "_read", reading)

    def hashing(data: Json) -> str:
        hashed.append(data)
        return digest(data)

    def telling(comparison: Comparison) -> Breakdown:
        told.append(comparison)
        return breakdown_of(comparison)

    monkeypatch.setattr(store, "digest", hashing)
    for module in (outputs, reporting):
        monkeypatch.setattr(module, "breakdown_of", telling)
    gate_folder.clean(CASES)
    gate_folder.gate()
    assert len(hashed) == 4  # of each engine the fingerprint, and the sample that others are compressed by
    read.clear()
    told.clear()
    gate_folder.gate()
    (keys,) = {tuple(run.keys.values()) for run in gate_folder.runs.of("p", "torch")}
    assert len(keys) == CASES
    assert {read[key] for key in keys} == {2}  # whether it is there, and what it says
    assert len(told) == 1
