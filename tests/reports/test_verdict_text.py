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
from harness.verdicts.judging import ALL, judge
from harness.verdicts.verdict import Evidence, ExitStatus, Place, Verdict
from tests.reports.made_verdicts import made_case, made_comparison, made_suite
from tests.verdicts.changes import floor_of, noise_of, suite_changes

TRUTH = np.tile([6.0, 1.0, 0.0, -1.0], (8, 1)) + np.arange(8)[:, None] * [0.0, 0.1, -0.2, 0.05]
STEP = 0.01 * np.resize([1.0, -1.0, 0.5, -0.7, 0.2], TRUTH.shape)
FOUND = Evidence(
    name="spread", statistic=2.0, p=1e-9, adjusted=1e-8, alpha=0.01, found=True, text="2 times the noise"
)
ANSI = re.compile(r"\x1b\[[0-9;]*m")


def test_the_verdict_comes_first_and_its_numbers_follow() -> None:
    lines = render_verdict(made_comparison([made_case(number=7)])).splitlines()
    assert lines[0] == "REGRESSION: the candidate loses right answers beyond noise"
    assert lines[1:5] == [
        "  baseline versions/lmdeploy_0_14",
        "  candidate versions/lmdeploy_0_18",
        "  found beyond noise: 1 single case; does it matter: yes, right answers were lost (exit status 1)",
        "  noise: measured floor of versions/lmdeploy_0_14",
    ]
    assert re.split(r"  +", lines[6]) == ["suite", "verdict", *HEADINGS]
    assert re.split(r"  +", lines[8]) == [
        "shapes",
        "REGRESSION",
        "1",
        "2.12 [1.5, 2.75]",
        "-0.25 [-0.5, 0.125]",
        "98.0% → 93.1%",
        "3 (0.21)",
    ]
    assert lines[10:13] == [
        "all cases: three right answers were lost",
        "  - McNemar: 3 lost, 0 gained, p = 0.125",
        "  - spread 2.1 > 1",
    ]
    assert lines[14].startswith("accuracy: 100.0% → 0.0%, -100.0 points [")
    assert lines[15:18] == ["lost (1): shapes.case-7", "answers: A → B 1", ""]
    assert lines[18:] == [
        "worst cases:",
        "  cases/shapes.yaml:7:5  REGRESSION  shapes.case-7",
        "      |Δ log-odds| 0.5 > 0.01",
    ]


def test_the_word_is_not_said_twice() -> None:
    text = render_verdict(made_comparison([], Verdict.SAME, sentence="SAME: nothing moved"))
    assert text.startswith("SAME: nothing moved\n")
    assert "worst cases" not in text


def test_what_a_suite_says_in_its_sentence_is_not_said_twice() -> None:
    whole = replace(made_suite([], name=ALL), sentence="all cases: DRIFT: spread 2.1 > 1")
    lines = render_verdict(made_comparison([], whole=whole)).splitlines()
    assert lines[10:] == ["all cases: DRIFT: spread 2.1 > 1", "  - McNemar: 3 lost, 0 gained, p = 0.125"]


def test_all_cases_come_first_and_then_where_something_was_found() -> None:
    suites = [
        replace(made_suite([], verdict, name=f"s{n}"), reasons=("it is", "so"))
        for n, verdict in enumerate((Verdict.SAME, Verdict.DRIFT))
    ]
    where = [Place(kind=kind, name=name, evidence=FOUND) for kind, name in (("suite", "s1"), ("letter", "B"))]
    text = render_verdict(made_comparison([], Verdict.DRIFT, suites=suites, where=where))
    lines = text.splitlines()
    assert [line.split()[0] for line in lines if line.endswith("3 (0.21)")] == ["all", "s0", "s1"]
    assert "  where: suite s1 (spread); letter B (spread)" in lines
    assert "s1: three right answers were lost" in lines
    assert "s0: three right answers were lost" not in lines


@pytest.mark.parametrize(
    ("verdict", "within", "told"),
    [
        (Verdict.REGRESSION, "", "yes, right answers were lost (exit status 1)"),
        (Verdict.DRIFT, "", "yes, it is not shown to be within the margin (exit status 1)"),
        (Verdict.DRIFT, "margin", "no, it is shown to be within the margin (exit status 0)"),
        (Verdict.DRIFT, "budget", "no, budgets allow it (exit status 0)"),
        (Verdict.SAME, "", ""),
        (Verdict.NOISE, "", ""),
    ],
)
def test_whether_it_matters_is_told_beside_what_was_found(verdict: Verdict, within: str, told: str) -> None:
    suite = made_suite([], verdict, within_margin=within == "margin", within_budget=within == "budget")
    suite = replace(suite, evidence=(FOUND,) if told else ())
    text = render_verdict(made_comparison([], verdict, suites=[suite]))
    assert (f"found beyond noise: spread; does it matter: {told}\n" in text) is bool(told)
    assert ("does it matter" in text) is bool(told)


def test_every_move_counts_where_that_is_asked_for() -> None:
    suite = replace(made_suite([], Verdict.DRIFT, within_margin=True), passes=False)
    text = render_verdict(made_comparison([], Verdict.DRIFT, suites=[suite]), color=True)
    assert "yes, with --strict every move does (exit status 1)" in text
    assert "within the margin" not in text
    assert text.startswith("\x1b[33mDRIFT\x1b[0m: ")


def test_of_sides_that_were_asked_something_else_it_is_not_known_whether_it_matters() -> None:
    suite = replace(made_suite([], Verdict.DRIFT, within_margin=True), passes=False)
    verdict = made_comparison([], Verdict.DRIFT, suites=[suite], status=ExitStatus.INCONCLUSIVE)
    told = "does it matter: not known, for what was found before the numbers (exit status 3)"
    assert told in render_verdict(verdict)


def test_a_drift_within_the_margin_has_a_colour_of_its_own() -> None:
    suite = made_suite([], Verdict.DRIFT, within_margin=True)
    sentence = "DRIFT within the margin: b against a: they moved"
    text = render_verdict(made_comparison([], Verdict.DRIFT, suites=[suite], sentence=sentence), color=True)
    assert text.startswith("\x1b[36mDRIFT within the margin\x1b[0m: b against a: they moved\n")
    assert text.count("\x1b[36m") == 2
    assert "\x1b[33m" not in text


def test_a_suite_in_the_headline_is_not_told_twice() -> None:
    """As in a failing test of pytest's gate, which is about one suite."""
    suite = replace(
        made_suite([], Verdict.DRIFT), reasons=("spread 3 > 1", "so"), sentence="shapes: DRIFT: spread 3 > 1"
    )
    verdict = made_comparison(
        [], Verdict.DRIFT, suites=[suite], whole=made_suite([], Verdict.DRIFT, name=ALL)
    )
    text = render_verdict(replace(verdict, sentence=suite.sentence))
    assert text.startswith("shapes: DRIFT: spread 3 > 1\n")
    assert text.count("spread 3 > 1") == 1
    assert "  - so\n" in text


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
    assert "does it matter: yes, right answers were lost (exit status 1)" in text
    (worst,) = (case for case in verdict.cases if case.verdict is Verdict.REGRESSION)
    assert f"  {worst.place}  REGRESSION  s.c3\n      {worst.reason}\n" in text
    assert verdict.whole is not None
    assert all(reason in text for reason in verdict.whole.reasons)
    assert text.count(": REGRESSION: ") == 1
    assert "lost (1): s.c3\nanswers: A → C 1\n" in text


def test_what_is_not_known_is_a_dash() -> None:
    suite = made_suite([], Verdict.ERROR, known=False)
    row = render_verdict(made_comparison([], Verdict.ERROR, suites=[suite])).splitlines()[7]
    assert row.split() == ["shapes", "ERROR", "0", "-", "-", "-", "3", "(0.21)"]


@pytest.mark.parametrize("within", [True, False])
def test_drift_is_told_with_its_budget(within: bool) -> None:
    suite = made_suite([], Verdict.DRIFT, within_budget=within)
    text = render_verdict(made_comparison([], Verdict.DRIFT, suites=[suite]))
    assert ("DRIFT within budget" in text) is within


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
    table = slice(6, 10)
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
