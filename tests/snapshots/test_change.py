"""The verdict on a snapshot: each is made to happen, and nothing within tolerance asks to be written."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.engines.contract import Json
from harness.snapshots.answers import LOWERED
from harness.snapshots.change import SnapshotChange, snapshot_change
from harness.verdicts.verdict import Verdict

TOLERANCE = 1e-3
RIGHT = {"A": 0.9, "B": 0.05, "C": 0.04}


def held(
    letters: Mapping[str, Json] = RIGHT, *, top: str | None = "A", text: str | None = None, **more: Json
) -> dict[str, Json]:
    written = text or top or "?"
    return {
        "dtype": "float32",
        "letters": dict(letters),
        "text": written,
        "token_ids": [ord(written[0])],
        "top": top,
        **more,
    }


def change(old: Mapping[str, Json] | str | None, new: Mapping[str, Json]) -> SnapshotChange:
    stored = old if old is None or isinstance(old, str) else json.dumps(old)
    return snapshot_change(stored, new, expect="A", tolerance=TOLERANCE)


def test_same() -> None:
    found = change(held(), held())
    assert (found.verdict, found.differs, found.lowers) == (Verdict.SAME, False, False)
    assert found.reason == "equal to the last digit kept"
    assert found.share is None


def test_the_reason_for_a_lower_reference_is_no_change() -> None:
    assert change({**held(top="B"), LOWERED: "why"}, held(top="B")).verdict is Verdict.SAME


def test_noise() -> None:
    found = change(held(), held({**RIGHT, "A": 0.8995}))
    assert (found.verdict, found.differs) == (Verdict.NOISE, False)
    assert found.reason == "no number moved beyond the tolerance"


@pytest.mark.parametrize(("before", "after"), [("A", "B"), ("B", "A"), ("C", "B")])
def test_a_flip_of_letters_nearer_than_the_tolerance_is_noise_and_is_to_be_written(
    before: str, after: str
) -> None:
    def near(top: str) -> dict[str, Json]:
        return held({letter: 0.33 + 0.0005 * (letter == top) for letter in "ABC"}, top=top)

    found = change(near(before), near(after))
    assert (found.verdict, found.differs, found.lowers) == (Verdict.NOISE, True, False)
    assert "so near that no number moved beyond the tolerance" in found.reason


def test_drift_with_the_same_top_letter() -> None:
    found = change(held(), held({"A": 0.8, "B": 0.1, "C": 0.09}))
    assert (found.verdict, found.differs, found.lowers) == (Verdict.DRIFT, True, False)
    assert found.reason == "the top letter is A, right as before"
    assert found.share is not None
    assert found.share.letter == "A"
    assert found.share.by == pytest.approx(0.1)
    assert len(found.differences) == 3
    assert str(found.share) == "probability of A: by 0.1"


def test_drift_of_a_wrong_letter_that_stays_wrong_or_becomes_right() -> None:
    wrong = {"A": 0.04, "B": 0.9, "C": 0.05}
    gained = change(held(wrong, top="B"), held())
    assert gained.verdict is Verdict.DRIFT
    assert gained.reason == "the top letter was B, wrong and is A, right"
    stays = change(held(wrong, top="B"), held({"A": 0.04, "B": 0.05, "C": 0.9}, top="C"))
    assert (stays.verdict, stays.lowers) == (Verdict.DRIFT, False)


def test_drift_where_only_the_text_or_the_dtype_differs() -> None:
    other = change(held(), held(text="A."))
    assert (other.verdict, other.differs) == (Verdict.DRIFT, True)
    assert change(held(), held(dtype="bfloat16")).verdict is Verdict.DRIFT


def test_regression() -> None:
    found = change(held(), held({"A": 0.05, "B": 0.9, "C": 0.04}, top="B"))
    assert (found.verdict, found.differs, found.lowers) == (Verdict.REGRESSION, True, True)
    assert found.reason == "the top letter was A, right and is B, wrong"


def test_a_regression_of_another_dtype_is_one_however_near_the_letters() -> None:
    old = held({"A": 0.5, "B": 0.4999})
    new = held({"A": 0.4999, "B": 0.5}, top="B", dtype="float16")
    assert change(old, new).verdict is Verdict.REGRESSION


def test_a_right_answer_that_can_no_longer_be_told_is_inconclusive() -> None:
    found = change(held(), held({"A": 0.4, "B": {"at most": 0.6}, "C": 0.0}, top=None))
    assert (found.verdict, found.lowers) == (Verdict.INCONCLUSIVE, True)
    assert "undecided" in found.reason


@pytest.mark.parametrize("stored", ["<<<<<<< ours", "[]", '{"letters": []}', "\n"])
def test_a_snapshot_that_cannot_be_read_is_inconclusive(stored: str) -> None:
    found = change(stored, held())
    assert (found.verdict, found.differs, found.lowers) == (Verdict.INCONCLUSIVE, True, True)
    assert found.old is None


@pytest.mark.parametrize("old", [None, held(), held({}, top=None, text="sorry")])
def test_an_answer_that_never_reached_the_letter_is_an_error(old: Mapping[str, Json] | None) -> None:
    found = change(old, held({}, top=None, text="sorry"))
    assert found.verdict is Verdict.ERROR
    assert found.reason == "the model never reached the letter: it wrote 'sorry'"


@pytest.mark.parametrize("share", [math.nan, {"at most": math.inf}, None])
def test_a_probability_that_is_no_number_is_an_error(share: Json) -> None:
    found = change(held(), held({**RIGHT, "B": share}))
    assert found.verdict is Verdict.ERROR
    assert found.reason == "the probability of B is not a number"


def test_a_new_one_has_no_verdict() -> None:
    found = change(None, held())
    assert (found.verdict, found.differs, found.lowers) == (None, True, False)
    assert found.reason == "the top letter is A, right"


def test_log_odds_show_what_probabilities_hide() -> None:
    found = change(held({"A": 0.999, "B": 0.000900}), held({"A": 0.9989, "B": 0.0001}))
    assert found.verdict is Verdict.NOISE
    assert found.odds is not None
    assert found.odds[:2] == ("B", "A")
    assert found.odds.by == pytest.approx(math.log(1 / 9), abs=1e-3)
    assert str(found.odds) == "log-odds of B against A: -2.2"


@pytest.mark.parametrize(
    ("before", "after"),
    [(0.000001, 0.000002), (0.0, 0.0005), (0.0005, 0.0), ({"at most": 0.0005}, 0.0001)],
    ids=["rounding", "from 0", "to 0", "bound"],
)
def test_log_odds_are_not_told_of_rounding_or_of_what_is_not_known(before: Json, after: Json) -> None:
    assert change(held({"A": 0.999, "B": before}), held({"A": 0.999, "B": after})).odds is None


SHARES = st.integers(0, 10**6).map(lambda millionths: millionths / 10**6)


@given(
    shares=st.lists(SHARES, min_size=2, max_size=6),
    moves=st.lists(st.integers(-1000, 1000), min_size=6, max_size=6),
    top=st.integers(0, 5),
    expect=st.sampled_from("ABCDEF"),
)
def test_within_tolerance_nothing_is_written(
    shares: list[float], moves: list[int], top: int, expect: str
) -> None:
    names = "ABCDEF"[: len(shares)]
    letter = names[top % len(names)]
    moved = [round(share + move / 10**6, 6) for share, move in zip(shares, moves, strict=False)]
    old = held(dict(zip(names, shares, strict=True)), top=letter)
    new = held(dict(zip(names, moved, strict=True)), top=letter)
    found = snapshot_change(json.dumps(old), new, expect=expect, tolerance=TOLERANCE)
    assert found.verdict in (Verdict.SAME, Verdict.NOISE)
    assert not found.differs
    assert (found.verdict is Verdict.SAME) == (shares == moved)


@given(shares=st.lists(SHARES, min_size=2, max_size=6), by=st.integers(1001, 10**6), expect=st.booleans())
def test_beyond_tolerance_it_is_never_same_or_noise(shares: list[float], by: int, expect: bool) -> None:
    names = "ABCDEF"[: len(shares)]
    old = held(dict(zip(names, shares, strict=True)), top="A")
    new = held({**dict(zip(names, shares, strict=True)), "B": round(shares[1] + by / 10**6, 6)}, top="B")
    found = snapshot_change(json.dumps(old), new, expect="A" if expect else "B", tolerance=TOLERANCE)
    assert found.verdict is (Verdict.REGRESSION if expect else Verdict.DRIFT)
    assert found.differs
