"""The message of a failed check, for each kind of check."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from harness.checks.agreement import check_agreement, compare
from harness.checks.expected_letter import ExpectedLetter
from harness.checks.full_vocabulary import compare_rows
from harness.checks.result import Finding, Metric
from harness.checks.stages import check_stages
from harness.checks.tolerances import DEFAULTS
from harness.checks.top_k import check_top_k
from harness.engines.contract import Answer, Entry, Json, Reading, Row
from harness.recordings.store import Recording
from harness.reports.failure import WIDTH, render_failure

LETTERS = ("A", "B", "C")
FLOAT32 = DEFAULTS["float32"]
PLUGIN = "CPU device plug-in (AMD EPYC)"
AGAIN = (
    "pytest 'harness/suite/test_engines_agree.py::test_engines_agree[shapes.red-circle-embedded-lmdeploy]'"
)
ROW: Row = np.array([1.0, 3.0, 0.5, 0.0, -1.0], dtype=np.float32)


def recording(row: Row, *paths: str, engine: str = "embedded-torch", device: str = "cpu") -> Recording:
    log_z = math.log(float(np.exp(row.astype(float)).sum()))
    logprobs = row.astype(float) - log_z
    order = np.argsort(-row)
    top = tuple(Entry(int(i), float(logprobs[i])) for i in order)
    best = int(order[0])
    readings = tuple(
        Reading(
            path=path,
            argmax=(best,),
            logprobs=(float(logprobs[best]),),
            letter_logits=tuple(row[:3].tolist()),
            log_z=log_z,
            top=top,
            other_spellings=(0.0, 0.0, 0.0),
        )
        for path in paths
    )
    answer = Answer(
        prompt_ids=(1, 2),
        generated_ids=(best,),
        text=chr(ord("A") + best),
        letter_ids=(0, 1, 2),
        answer_step=0,
        readings=readings,
        reported_top=top,
        reported_logprobs=(float(logprobs[best]),),
    )
    fingerprint: dict[str, Json] = {"loaded": {"device": device, "dtype": "float32"}}
    return Recording(key="k", case="shapes.red-circle", engine=engine, answer=answer, fingerprint=fingerprint)


def lines_of(message: str) -> list[str]:
    lines = message.splitlines()
    assert all(
        len(line) <= WIDTH for line in lines if not line.startswith(("run again: ", "where it begins: "))
    ), message
    return lines


def test_a_disagreement_shows_both_engines_the_limits_the_devices_and_the_command() -> None:
    other = ROW.copy()
    other[0] = 2.0
    a, b = recording(ROW, "forward"), recording(other, "two-stage", engine="embedded-lmdeploy", device=PLUGIN)
    result = check_agreement(compare(a, b, LETTERS, full=compare_rows(ROW, other)), FLOAT32)
    lines = lines_of(render_failure(result, location="cases/shapes.yaml:12", recordings=[a, b], again=AGAIN))
    assert lines[0] == "cases/shapes.yaml:12: engines agree: 5 findings"
    titles = next(
        i for i, line in enumerate(lines) if line.split() == ["embedded-torch", "embedded-lmdeploy"]
    )
    assert [line.split()[0] for line in lines[titles + 1 : titles + 4]] == ["A", "B", "C"]
    assert all(line.count("█") >= 1 for line in lines[titles + 2 : titles + 3])
    table = next(i for i, line in enumerate(lines) if line.split() == ["metric", "value", "limit"])
    assert [line.split()[0] for line in lines[table + 1 : table + 6]] == [
        "total_variation",
        "probability",
        "log_odds",
        "kl",
        "js",
    ]
    assert all(line.endswith("over") for line in lines[table + 1 : table + 6])
    assert "  embedded-lmdeploy: CPU device plug-in (AMD EPYC), float32" in lines
    assert lines[-1] == f"run again: {AGAIN}"


def test_a_value_that_is_hardly_over_its_limit_does_not_look_equal_to_it() -> None:
    a = recording(ROW, "forward")
    result = check_agreement(compare(a, a, LETTERS, full=compare_rows(ROW, ROW)), FLOAT32)
    result = replace(result, metrics=(Metric("probability", 0.02501, 0.025),))
    lines = lines_of(render_failure(result, location="s.yaml:1", recordings=[a], again=AGAIN))
    assert ["probability", "0.02501", "0.025", "over"] in [line.split() for line in lines]


def test_a_wrong_letter_marks_the_expected_one() -> None:
    made = recording(ROW, "forward")
    result = ExpectedLetter(
        case="shapes.red-circle",
        subject="embedded-torch",
        letters=LETTERS,
        findings=(Finding("top letter", 0.8, 0.1, "found B (0.8), expected A (0.1)"),),
        expected="A",
        top="B",
        probabilities=(0.1, 0.8, 0.1),
        notes=("a word of advice",),
    )
    lines = lines_of(render_failure(result, location="c.yaml:1", recordings=[made], again="pytest x"))
    assert "  - top letter: found B (0.8), expected A (0.1)" in lines
    assert "    note: a word of advice" in lines
    assert any(line.startswith("  A < ") for line in lines)
    assert "  < expected" in lines


def test_all_accounts_of_one_engine_stand_side_by_side() -> None:
    made = recording(ROW, "two-stage", "captured")
    made = replace(made, answer=replace(made.answer, reported_top=made.answer.reported_top[:1]))
    for result in (
        check_top_k(made, LETTERS, FLOAT32, asked=5),
        check_stages(replace(made, answer=replace(made.answer, reported_logprobs=(-9.0,))), LETTERS, FLOAT32),
    ):
        assert not result
        lines = lines_of(render_failure(result, location="c.yaml:1", recordings=[made], again="pytest x"))
        titles = next(
            i for i, line in enumerate(lines) if "path 'two-stage'" in line and "as reported" in line
        )
        assert "path 'captured'" in lines[titles]
        # A is outside the reported list of one entry.
        assert lines[titles + 1].split()[3] == "-"


def test_an_answer_never_reached_shows_what_was_written() -> None:
    made = recording(ROW, "forward")
    bare = Reading(path="forward", argmax=(1,), logprobs=(-0.1,))
    lost = replace(made, answer=replace(made.answer, readings=(bare,), answer_step=None, text="no idea"))
    result = check_agreement(compare(made, lost, LETTERS), FLOAT32)
    message = render_failure(result, location="c.yaml:1", recordings=[made, lost], again="pytest x")
    assert "wrote 'no idea'" in message
    lines_of(message)


@pytest.mark.parametrize("count", [2, 26])
def test_long_findings_are_wrapped_and_every_letter_has_its_line(count: int) -> None:
    letters = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ"[:count])
    row = np.linspace(0, 1, count + 2).astype(np.float32)
    made = recording(row, "forward")
    answer = made.answer
    reading = replace(answer.readings[0], letter_logits=tuple(row[:count].tolist()))
    made = replace(made, answer=replace(answer, readings=(reading,), text="?" * 500, reported_top=()))
    result = ExpectedLetter(
        case="s." + "long" * 10,
        subject="p-" + "e" * 30,
        letters=letters,
        findings=(Finding("top letter", None, None, "many words " * 40),),
        expected="A",
        top=None,
        probabilities=(),
    )
    lines = lines_of(render_failure(result, location="c.yaml:1", recordings=[made], again="p" * 300))
    assert (
        sum(line[:4].strip("< ") in letters for line in lines if line[:2] == "  " and line[2:3].isupper())
        == count
    )
