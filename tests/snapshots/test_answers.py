"""What a snapshot holds, and where two differ."""

from __future__ import annotations

import json
import math

import pytest

from harness.checks.intervals import Interval
from harness.engines.contract import Answer, Json, Reading
from harness.snapshots.answers import LOWERED, differences, share_interval, snapshot_data


def text(value: Json) -> str:
    return json.dumps(value)


@pytest.mark.parametrize(
    ("old", "new", "count"),
    [
        ({"p": 0.1}, {"p": 0.10001}, 0),
        ({"p": 0.1}, {"p": 0.10002}, 1),
        ({"p": math.nan}, {"p": math.nan}, 1),
        ({"p": 0.1}, {"p": math.nan}, 1),
        ({"p": 1.0}, {"p": 1}, 1),
        ({"p": 1}, {"p": True}, 1),
        ({"n": 1}, {"n": 2}, 1),
        ({"a": 0.1}, {"b": 0.1}, 2),
        ([1, 2], [1, 2, 3], 1),
        ([1], {"0": 1}, 1),
        ({"top": None}, {"top": "A"}, 1),
        ({"a": {"b": 0.1}, "c": "x"}, {"a": {"b": 0.2}, "c": "y"}, 2),
    ],
)
def test_what_counts_as_a_difference(old: Json, new: Json, count: int) -> None:
    assert len(differences(text(old), text(new), 1e-5)) == count


def test_a_zero_tolerance_asks_for_equal_decimals() -> None:
    assert differences('{"p": 0.123456}', '{"p": 0.123456}', 0.0) == []
    assert differences('{"p": 0.123456}', '{"p": 0.123457}', 0.0) != []


def test_data_hold_what_a_reviewer_reads() -> None:
    reading = Reading(path="forward", argmax=(11,), logprobs=(-0.1,), letter_logits=(0.0, 2.0), log_z=2.5)
    answer = Answer(
        prompt_ids=(1,),
        generated_ids=(11,),
        text="B",
        letter_ids=(10, 11),
        answer_step=0,
        readings=(reading,),
    )
    assert snapshot_data(answer, ("A", "B"), "float32") == {
        "dtype": "float32",
        "letters": {"A": round(math.exp(-2.5), 6), "B": round(math.exp(-0.5), 6)},
        "text": "B",
        "token_ids": [11],
        "top": "B",
    }


def test_data_of_an_answer_never_reached_have_no_letters() -> None:
    reading = Reading(path="forward", argmax=(3,), logprobs=(-0.1,))
    answer = Answer(
        prompt_ids=(1,),
        generated_ids=(3,),
        text="x",
        letter_ids=(10, 11),
        answer_step=None,
        readings=(reading,),
    )
    kept = snapshot_data(answer, ("A", "B"), "float32")
    assert kept["letters"] == {}
    assert kept["top"] is None


def test_the_reason_for_a_lower_reference_is_compared_with_nothing() -> None:
    assert differences(text({"top": "A", LOWERED: "why"}), text({"top": "A"}), 1e-5) == []
    assert differences(text({"top": "A", LOWERED: "why"}), text({"top": "A", LOWERED: "other"}), 1e-5) == []
    assert len(differences(text({"top": "A", LOWERED: "why"}), text({"top": "B"}), 1e-5)) == 1


@pytest.mark.parametrize(
    ("held", "interval"),
    [
        (0.5, Interval(0.5, 0.5)),
        ({"at most": 0.25}, Interval(0.0, 0.25)),
        (None, None),
        (1, None),
        ({"at least": 0.25}, None),
    ],
)
def test_a_held_probability_as_an_interval(held: Json, interval: Interval | None) -> None:
    assert share_interval(held) == interval
