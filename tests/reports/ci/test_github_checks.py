"""What GitHub shows of a run without a verdict."""

from __future__ import annotations

import math
from pathlib import Path

from harness.reports.ci.github_checks import checks_annotations, checks_summary
from harness.reports.summary import CheckSummary, Figures, Status
from harness.reports.worst_cases import MOST

HERE = Path("/w/repository")


def check(
    number: int = 1,
    status: Status = Status.PASSED,
    *,
    name: str = "letter",
    engine: str = "lmdeploy",
    worst: float | None = None,
    refused: str = "",
) -> CheckSummary:
    return CheckSummary(
        suite="s",
        case=f"s.c{number}",
        place=f"cases/s.yaml:{number}:3",
        profile="p",
        engine=engine,
        check=name,
        expected="A",
        status=status,
        figures=Figures(worst=worst),
        device="CPU device plug-in (EPYC), float32",
        refused=refused,
    )


def test_totals_of_a_run_that_passed() -> None:
    text = checks_summary([check(), check(engine="torch"), check(2, Status.KNOWN)])
    assert text.startswith("## All checks of 3 answers passed or fail as is known\n")
    assert "| p | 2 | 2 | 3 | 2 | 0 | 1 | 0 |" in text
    assert "CPU device plug\\-in" in text
    assert "did not pass" not in text


def test_cases_that_did_not_pass_are_listed_once_with_their_checks() -> None:
    text = checks_summary(
        [
            check(1),
            check(2, Status.FAILED),
            check(2, Status.FAILED, name="agree", worst=0.1),
            check(3, Status.ERROR),
        ]
    )
    assert text.startswith("## 2 of 3 answers did not pass\n")
    assert "| p | 3 | 1 | 4 | 1 | 2 | 0 | 1 |" in text
    assert "| cases/s.yaml:2:3 | s.c2 | p/lmdeploy | failed: letter, agree |" in text
    assert "| cases/s.yaml:3:3 | s.c3 | p/lmdeploy | no answer from the engine \\(letter\\) |" in text


def test_an_engine_that_could_not_be_loaded_is_one_line() -> None:
    summaries = [check(number, Status.ERROR, refused="p-lmdeploy") for number in range(1, 21)]
    summaries.append(check(30, Status.FAILED, engine="torch"))
    text = checks_summary(summaries)
    assert text.startswith("## 21 of 21 answers did not pass\n")
    assert text.count("| p/lmdeploy |") == 1
    assert "the engine could not be loaded; no answer to 20 cases" in text
    told = checks_summary(summaries, reasons={"p-lmdeploy": "no GPU here"})
    assert "no GPU here; no answer to 20 cases" in told
    assert "s.c30" in text  # which twenty lines of the same would have pushed out
    assert len(checks_annotations(summaries, workspace=None, folder=HERE)) == 2


def test_errors_come_first_and_then_the_farthest() -> None:
    summaries = [
        check(1, Status.FAILED, worst=0.1),
        check(2, Status.FAILED, worst=0.2),
        check(3, Status.FAILED, worst=math.nan),
        check(4, Status.ERROR, worst=0.0),
    ]
    lines = checks_annotations(summaries, workspace=HERE, folder=HERE)
    assert [line.split("line=")[1][0] for line in lines] == ["4", "3", "2", "1"]
    assert lines[0] == (
        "::error file=cases/s.yaml,line=4,col=3,title=s.c4 (p/lmdeploy)"
        "::cases/s.yaml:4:3: no answer from the engine (letter)"
    )


def test_at_most_ten_are_told_and_the_others_counted() -> None:
    summaries = [check(n, Status.FAILED) for n in range(MOST + 3)]
    assert len(checks_annotations(summaries, workspace=HERE, folder=HERE)) == MOST
    text = checks_summary(summaries)
    assert text.count("failed: letter") == MOST
    assert "\nand 3 more\n" in text
