"""What is told of an update of the snapshots."""

from __future__ import annotations

from typing import Any

import pytest

from harness.snapshots.told import MOST_LISTED, Action, SnapshotUpdate, distributions, update_lines

OLD = {"A": 0.9, "B": 0.05}
NEW = {"A": 0.8, "B": {"at most": 0.000031}}


def update(case: str = "s.a", action: Action = Action.WRITTEN, **changes: Any) -> SnapshotUpdate:
    values: dict[str, Any] = {
        "place": "cases/s.yaml:3:5",
        "subject": "p-torch",
        "profile": "p",
        "file": f"snapshots/{case}.json",
        "verdict": "DRIFT",
        "reason": "the top letter is A, right as before",
        "old": OLD,
        "new": NEW,
        "details": ("probability of A: by 0.1; allowed: 1e-05",),
    }
    return SnapshotUpdate(case=case, action=action, **{**values, **changes})


def test_counts_by_profile_then_each_change_with_its_distributions_and_file() -> None:
    updates = [
        update("s.b", Action.NEW, verdict="", old={}, details=(), reason="the top letter is A, right"),
        update("s.a"),
        update("s.c", Action.REFUSED, verdict="REGRESSION", because=""),
        update("s.d", Action.KEPT, verdict="NOISE"),
        update("s.e", Action.KEPT, verdict="SAME"),
        update("s.f", Action.KEPT, verdict="SAME"),
        update("s.a", profile="q", subject="q-torch", because="as the vendor says", verdict="REGRESSION"),
    ]
    assert update_lines(updates) == [
        "p: 1 refused, 1 written, 1 new, 3 kept (1 NOISE, 2 SAME)",
        "q: 1 written",
        "",
        "REFUSED REGRESSION  s.c, p-torch; cases/s.yaml:3:5",
        "    A 0.900000 → 0.800000, B 0.050000 → ≤ 0.000031",
        "    the top letter is A, right as before",
        "    probability of A: by 0.1; allowed: 1e-05",
        "    snapshots/s.c.json",
        "",
        "WRITTEN DRIFT  s.a, p-torch; cases/s.yaml:3:5",
        "    A 0.900000 → 0.800000, B 0.050000 → ≤ 0.000031",
        "    the top letter is A, right as before",
        "    probability of A: by 0.1; allowed: 1e-05",
        "    snapshots/s.a.json",
        "",
        "WRITTEN REGRESSION  s.a, q-torch; cases/s.yaml:3:5",
        "    A 0.900000 → 0.800000, B 0.050000 → ≤ 0.000031",
        "    the top letter is A, right as before",
        "    probability of A: by 0.1; allowed: 1e-05",
        "    lowered because: as the vendor says",
        "    snapshots/s.a.json",
        "",
        "NEW  s.b, p-torch; cases/s.yaml:3:5",
        "    A 0.800000, B ≤ 0.000031",
        "    the top letter is A, right",
        "    snapshots/s.b.json",
    ]


def test_letters_that_came_or_went_are_told() -> None:
    lines = update_lines([update(new={"A": 0.8, "C": 0.1})])
    assert "    A 0.900000 → 0.800000, B 0.050000 → nothing, C nothing → 0.100000" in lines


def test_a_letters_two_probabilities_stay_on_one_line() -> None:
    letters = dict.fromkeys("ABCDEFGH", 0.1)
    lines = update_lines([update(old=letters, new=letters)])[3:6]
    assert [line.count(" 0.100000 → 0.100000") for line in lines] == [4, 4, 0]


def test_where_nothing_could_be_answered_there_is_no_distribution() -> None:
    lines = update_lines([update(action=Action.REFUSED, verdict="ERROR", old={}, new={}, file="")])
    assert lines[2:] == [
        "REFUSED ERROR  s.a, p-torch; cases/s.yaml:3:5",
        "    the top letter is A, right as before",
        "    probability of A: by 0.1; allowed: 1e-05",
    ]


def test_what_is_beyond_the_list_is_counted() -> None:
    lines = update_lines(update(f"s.c{n:04}") for n in range(MOST_LISTED + 3))
    assert lines[0] == f"p: {MOST_LISTED + 3} written"
    assert sum(line.startswith("WRITTEN") for line in lines) == MOST_LISTED
    assert lines[-1] == "and 3 more written"


def test_nothing_to_tell() -> None:
    assert update_lines([]) == []


@pytest.mark.parametrize("action", Action)
def test_it_travels_as_plain_json(action: Action) -> None:
    sent = update(action=action)
    assert SnapshotUpdate.from_json(sent.to_json()) == sent


def test_bars_side_by_side() -> None:
    assert [line.split() for line in distributions(update(), expected="A")] == [
        ["accepted", "now"],
        ["A", "<", "0.9", "████████████▋", "0.8", "███████████▎"],
        ["B", "0.05", "▊", "≤", "3.1e-05"],
        ["<", "expected"],
    ]
