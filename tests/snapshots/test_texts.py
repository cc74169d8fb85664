"""What is accepted of a text: kept with its tokens, compared, and set beside an answer again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.checks.agreement import compare
from harness.checks.log_odds import of_reading, rest_of
from harness.schemas.accepted import LINES
from harness.snapshots.accepted import AcceptedCase, AcceptedSuite, accepted_case
from harness.snapshots.answers import differences
from harness.snapshots.change import snapshot_change
from harness.snapshots.files import put_cases, read_suite
from harness.snapshots.told import Action, SnapshotUpdate, update_lines
from harness.verdicts.case_judging import look
from harness.verdicts.verdict import Verdict
from tests.text_answers import NAMES, text_recording
from tests.verdicts.changes import change, noise_of

RIGHT, WRONG = (5.0, 2.0, 6.0), (5.0, -2.0, 6.0)
HEAD = AcceptedSuite(profile="p", engine="torch", suite="s")


def accepted(*leads: float) -> AcceptedCase:
    return accepted_case(text_recording(*leads).answer, NAMES, "float32", None)


@pytest.mark.parametrize("leads", [RIGHT, WRONG, (5.0, 0.0, 6.0), (20.0, 20.0, 20.0)])
def test_a_line_gives_back_the_coordinates_of_the_answer(tmp_path: Path, leads: tuple[float, ...]) -> None:
    case = accepted(*leads)
    LINES["case"].model_validate({"case": "s.year", **case.to_json(), "sum": ""})
    put_cases(tmp_path, HEAD, {"s.year": case})
    kept = read_suite(HEAD.file(tmp_path)).cases["s.year"].recording("s.year", "p-torch", {})
    now = text_recording(*leads)
    before, after = kept.answer.readings[0], now.answer.readings[0]
    assert of_reading(before) == pytest.approx(of_reading(after), abs=2e-6)
    rests = [rest_of(before, ()), rest_of(after, ())]
    assert rests[0] is not None
    assert rests[0] == pytest.approx(rests[1], abs=0.05)
    seen = look(change(kept, now, noise_of(None), letters=NAMES, expect="1984"))
    assert (seen.flip, seen.undecided) == (None, "")


def test_a_lost_text_is_a_regression_and_its_tokens_are_compared_with_nothing() -> None:
    before, after = (json.dumps(accepted(*leads).to_json()) for leads in (RIGHT, WRONG))
    assert differences(before, before, 1e-5) == []
    found = snapshot_change(before, json.loads(after), expect="1984", tolerance=1e-5)
    assert found.verdict is Verdict.REGRESSION
    assert found.reason == "the answer was 1984, right and is anything else, wrong"
    moved = json.loads(before)
    moved["tokens"] = []
    assert differences(before, json.dumps(moved), 1e-5) == []


def test_letters_that_are_all_of_the_probability_can_be_set_beside_an_answer() -> None:
    """To six decimals their log-probability is 0, above which nothing may be."""
    case = AcceptedCase(
        top="A",
        text="A",
        letters={"A": 1.0, "B": 0.0},
        logprobs={"A": -0.0, "B": -17.5},
        token_ids=[1],
        dtype="float32",
        asked=None,
        rendered=None,
    )
    kept = case.recording("s.c", "p-torch", {})
    assert compare(kept, kept, ("A", "B")).total_variation == pytest.approx(0.0)


def test_another_accepted_text_is_told_first_and_a_long_one_is_cut() -> None:
    before = accepted(*RIGHT).to_json()
    text = "1984 and so on, " * 40
    after = json.loads(json.dumps(before).replace('"1984"', json.dumps(text)))
    found = differences(json.dumps(before), json.dumps(after), 1e-5)
    assert found[0].startswith('expect_text: "1984" -> "1984 and so on, ')
    assert differences(json.dumps(before), json.dumps(before), 1e-5) == []
    update = SnapshotUpdate(
        case="s.year",
        place="s.yaml:1:1",
        subject="p-torch",
        profile="p",
        file="f",
        verdict="",
        action=Action.NEW,
        reason=snapshot_change(None, after, expect=text, tolerance=1e-5).reason,
        old={},
        new=after["letters"],
    )
    assert max(len(line) for line in update_lines([update])) < 120
    assert len("".join(update_lines([update]))) < 300
