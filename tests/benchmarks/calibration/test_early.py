"""What early looks cost and save: counted rightly, and rules that are wrong are caught by it."""

from __future__ import annotations

import pytest

from benchmarks.calibration import early
from benchmarks.calibration.early import BREAKS, Alarms, Saved, alarms, going_on, on_the_way, saved, tables
from benchmarks.calibration.rates import Cell
from benchmarks.calibration.worlds import worlds
from benchmarks.workload import ROOT
from harness.verdicts import margins
from harness.verdicts.rules import ALPHA

WORLDS = {world.name: world for world in worlds()}
HEAVY = Cell(WORLDS["t, 3 degrees, 1 run, float32"], 40)
NORMAL = Cell(WORLDS["normal, 2 runs, float32"], 300)
EFFECTS = {effect.words: effect for effect in BREAKS}


def test_looks_share_alpha_on_the_way_and_day_by_day() -> None:
    way, days = on_the_way([0, 0, 1, 1, *range(2, 30)]), going_on(200, days=4)
    assert [size for size, _ in way] == [8, 16, 32]
    assert [size for size, _ in days] == [50, 100, 150, 200]
    for schedule in (way, days):
        assert sum(share for _, share in schedule) < ALPHA


def test_a_level_that_is_not_shared_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = alarms(HEAVY, 40, seed=11)
    assert honest.any <= 2
    assert honest.peeking > honest.any
    monkeypatch.setattr(early, "share_of", lambda *_, **__: ALPHA)
    peeking = alarms(HEAVY, 40, seed=11)
    assert peeking.any == peeking.peeking == honest.peeking


def test_a_break_ends_early_and_is_not_taken_back() -> None:
    found = saved(NORMAL, EFFECTS["noise × 100"], 2, seed=1)
    assert (found.early, found.stopped, found.asked) == (2, 2, (8, 8))
    assert found.taken_back == 0


def test_a_rule_that_forgets_the_cases_not_asked_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    within = EFFECTS["20% of cases by 8 σ (within it)"]
    assert saved(NORMAL, within, 8, seed=early._SEED).taken_back == 0
    monkeypatch.setattr(margins, "_least", lambda values, _: float("inf"))
    assert saved(NORMAL, within, 8, seed=early._SEED).taken_back >= 2


def test_the_tables_and_their_place() -> None:
    clean = Alarms(name="normal, 2 runs", cases=40, samples=200, any=1, last=1, once=2, peeking=7)
    found = Saved(words="all", runs=2, samples=4, early=4, once=4, stopped=3, asked=(8, 8, 16, 300))
    lines = tables([clean], [], [found])
    assert "| normal | 40 | 1/200 (0.50%) | 2.75% | 1 | 2 | 7 |" in lines
    assert lines[-1] == "| all | 2 | 100% / 100% | 0% / 0% | 75% | 0% | 12 | 215 |"
    page = (ROOT / "docs" / "calibration.md").read_text(encoding="utf-8")
    assert page.count("by `python -m benchmarks.calibration.early --write` -->") == 1
