"""A verdict in a terminal or a log."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import numpy as np
import pytest

from harness.reports.verdict_figures import HEADINGS, figures
from harness.reports.verdict_text import STYLES, render_verdict, shows_color
from harness.reports.worst_cases import MOST
from harness.verdicts.judging import judge
from harness.verdicts.verdict import Verdict
from tests.reports.made_verdicts import made_case, made_comparison, made_suite
from tests.verdicts.changes import floor_of, noise_of, suite_changes

TRUTH = np.tile([6.0, 1.0, 0.0, -1.0], (8, 1)) + np.arange(8)[:, None] * [0.0, 0.1, -0.2, 0.05]
STEP = 0.01 * np.resize([1.0, -1.0, 0.5, -0.7, 0.2], TRUTH.shape)
ANSI = re.compile(r"\x1b\[[0-9;]*m")


def test_the_verdict_comes_first_and_its_numbers_follow() -> None:
    lines = render_verdict(made_comparison([made_case(number=7)])).splitlines()
    assert lines[0] == "REGRESSION: the candidate loses right answers beyond noise"
    assert lines[1:4] == [
        "  baseline versions/lmdeploy_0_14",
        "  candidate versions/lmdeploy_0_18",
        "  noise: measured floor of versions/lmdeploy_0_14",
    ]
    assert re.split(r"  +", lines[5]) == ["suite", "verdict", *HEADINGS]
    assert re.split(r"  +", lines[7]) == [
        "shapes",
        "REGRESSION beyond budget",
        "1",
        "2.12 [1.5, 2.75]",
        "-0.25 [-0.5, 0.125]",
        "98.0% → 93.1%",
        "3 (0.21)",
    ]
    assert lines[9:12] == [
        "shapes: three right answers were lost",
        "  - McNemar: 3 lost, 0 gained, p = 0.125",
        "  - spread 2.1 > 1",
    ]
    assert lines[13:] == [
        "worst cases:",
        "  cases/shapes.yaml:7:5  REGRESSION  shapes.case-7",
        "      |Δ log-odds| 0.5 > 0.01",
    ]


def test_the_word_is_not_said_twice() -> None:
    text = render_verdict(made_comparison([], Verdict.SAME, sentence="SAME: nothing moved"))
    assert text.startswith("SAME: nothing moved\n")
    assert "worst cases" not in text


def test_what_a_suite_says_in_its_sentence_is_not_said_twice() -> None:
    suite = replace(made_suite([]), sentence="shapes: DRIFT: spread 2.1 > 1")
    lines = render_verdict(made_comparison([], suites=[suite])).splitlines()
    assert lines[9:] == ["shapes: DRIFT: spread 2.1 > 1", "  - McNemar: 3 lost, 0 gained, p = 0.125"]


def test_sides_that_the_sentence_names_are_not_named_again() -> None:
    sentence = "versions/lmdeploy_0_18 against versions/lmdeploy_0_14: nothing moved"
    lines = render_verdict(made_comparison([], Verdict.SAME, sentence=sentence)).splitlines()
    assert lines[1] == "  noise: measured floor of versions/lmdeploy_0_14"


@pytest.mark.parametrize(("expected", "shown"), [(0.0, "3 (0)"), (1e-30, "3 (< 0.001)"), (12.34, "3 (12)")])
def test_flips_that_noise_hardly_gives_are_no_riddle(expected: float, shown: str) -> None:
    suite = replace(made_suite([]), expected_flips=expected)
    assert figures(suite)[-1] == shown


def test_what_the_judge_says_is_shown_whole() -> None:
    """No verdict made by hand here: what the judge's own words are like may change."""
    noise = noise_of(floor_of(TRUTH, [TRUTH + STEP * (-1) ** n for n in range(9)]))
    after = TRUTH + STEP
    after[3, 2] = after[3, 0] + 0.1
    verdict = judge(
        suite_changes(TRUTH, after, noise),
        baseline="p/a",
        candidate="p/b",
        budgets={},
        margin=1e-9,
        noise=noise,
    )
    text = render_verdict(verdict)
    assert text.startswith("REGRESSION: p/b against p/a, 8 cases: ")
    assert text.count("REGRESSION beyond budget") == 1
    (worst,) = (case for case in verdict.cases if case.verdict is Verdict.REGRESSION)
    assert f"  {worst.place}  REGRESSION  s.c3\n      {worst.reason}\n" in text
    assert all(reason in text for suite in verdict.suites for reason in suite.reasons)
    assert text.count("s: REGRESSION: ") == 1


def test_what_is_not_known_is_a_dash() -> None:
    suite = made_suite([], Verdict.ERROR, known=False)
    row = render_verdict(made_comparison([], Verdict.ERROR, suites=[suite])).splitlines()[7]
    assert row.split() == ["shapes", "ERROR", "0", "-", "-", "-", "3", "(0.21)"]


@pytest.mark.parametrize("within", [True, False])
def test_drift_is_told_with_its_budget(within: bool) -> None:
    suite = made_suite([], Verdict.DRIFT, within_budget=within)
    text = render_verdict(made_comparison([], Verdict.DRIFT, suites=[suite]))
    assert f"DRIFT {'within' if within else 'beyond'} budget" in text


def test_only_the_worst_cases_are_shown_and_the_others_counted() -> None:
    cases = [made_case(Verdict.DRIFT, number=number) for number in range(MOST + 5)]
    text = render_verdict(made_comparison(cases, Verdict.DRIFT))
    assert text.count("cases/shapes.yaml:") == MOST
    assert text.endswith("  and 5 more: 5 DRIFT\n")


def test_colour_is_never_the_only_sign() -> None:
    comparison = made_comparison([made_case(verdict, number=n) for n, verdict in enumerate(Verdict)])
    plain, coloured = render_verdict(comparison), render_verdict(comparison, color=True)
    assert "\x1b" not in plain
    assert "\x1b[1;31mREGRESSION\x1b[0m" in coloured
    assert ANSI.sub("", coloured) == plain
    assert set(STYLES) == set(Verdict)


def test_lines_fit_and_places_stay_whole() -> None:
    place = "cases/a-rather-long-name-of-a-suite-in-a-folder/with-a-long-name.yaml:1000:5"
    reason = "the reason goes on for a while " * 10
    text = render_verdict(made_comparison([made_case(place=place, reason=reason)]), width=60)
    table = slice(5, 8)
    lines = text.splitlines()
    del lines[table]
    assert all(len(line) <= 60 for line in lines if place not in line)
    assert place in text


def test_text_of_an_engine_is_no_markup_and_moves_no_cursor() -> None:
    case = made_case(Verdict.ERROR, reason="[bold]CUDA[/bold] error\x1b[2J\nat line 3")
    text = render_verdict(made_comparison([case], Verdict.ERROR), color=False)
    assert "[bold]CUDA[/bold] error [2J at line 3" in text
    assert "\x1b" not in text


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "environ", "shown"),
    [
        (_Terminal(), {"TERM": "xterm-256color"}, True),
        (_Terminal(), {"TERM": "dumb"}, False),
        (_Terminal(), {"TERM": "xterm-256color", "NO_COLOR": "1"}, False),
        (io.StringIO(), {"TERM": "xterm-256color"}, False),
    ],
    ids=["terminal", "dumb", "not wanted", "file"],
)
def test_colour_is_for_a_terminal_that_has_it(
    stream: io.StringIO, environ: dict[str, str], shown: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("FORCE_COLOR", "NO_COLOR", "COLORTERM", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert shows_color(stream) is shown
