"""The verdict on another model: by right answers lost and gained, whatever log-odds do."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import pytest

from harness.cases.budgets import Budgets
from harness.reports.verdict_text import render_verdict
from harness.verdicts.judging import judge, shares
from harness.verdicts.lost_and_gained import lost_and_gained
from harness.verdicts.upgrade_judging import judge_upgrade
from harness.verdicts.verdict import Change, ComparisonVerdict, ExitStatus, Flip, Verdict
from tests.verdicts.changes import change, noise_of, recording

RIGHT, WRONG, OTHER = [3.0, 0.0, 0.0, 0.0], [0.0, 3.0, 0.0, 0.0], [0.0, 0.0, 3.0, 0.0]
LOST, GAINED, BOTH, NEITHER = (RIGHT, WRONG), (WRONG, RIGHT), (RIGHT, RIGHT), (WRONG, WRONG)
Pair = tuple[Sequence[float], Sequence[float]]
NOISE = noise_of(None)


def changes(pairs: Sequence[Pair], *, suite: str = "s", tags: Sequence[str] = ()) -> list[Change]:
    found = []
    for number, (old, new) in enumerate(pairs):
        a, b = recording(old, engine="p-a"), recording(new, engine="p-b")
        found.append(replace(change(a, b, NOISE, case=f"{suite}.c{number}"), tags=tuple(tags)))
    return found


def judged(
    given: Sequence[Change], *, models: tuple[str, str] = ("m", "next"), **budgets: float
) -> ComparisonVerdict:
    known = {suite: Budgets(accuracy=share) for suite, share in budgets.items()}
    return judge_upgrade(given, baseline="p/a", candidate="p/b", models=models, budgets=known)


def test_ten_points_gained_pass_where_the_judge_of_noise_calls_regression() -> None:
    given = changes([LOST] * 3 + [GAINED] * 24 + [BOTH] * 157 + [NEITHER] * 16)
    found = judged(given)
    assert (found.verdict, found.status) == (Verdict.DRIFT, ExitStatus.PASSED)
    assert found.sentence.startswith(
        "DRIFT: p/b against p/a, 200 cases: another model (m → next), judged by "
    )
    assert (
        "80.0% → 90.5%, +10.5 points [+5.4, +15.4] (95%), 24 gained and 3 lost; no worse than 2 points shown"
        in (found.sentence)
    )
    assert "200 cases can decide a margin of 6.63 points" in found.sentence
    by_noise = judge(given, baseline="a", candidate="b", budgets={}, margin=0.1, noise=NOISE)
    assert by_noise.status is ExitStatus.FAILED


def test_ten_points_lost_are_a_regression() -> None:
    found = judged(changes([LOST] * 24 + [GAINED] * 3 + [BOTH] * 157 + [NEITHER] * 16))
    assert (found.verdict, found.status) == (Verdict.REGRESSION, ExitStatus.FAILED)
    assert (
        "right answers were lost beyond chance (exact McNemar p = 2.5e-05); beyond budget" in found.sentence
    )
    assert not found.suites[0].within_budget
    assert shares([found, found])[0] < 0.01  # its p-value is Holm's among several candidates


def test_a_loss_far_beyond_the_margin_is_found_by_its_size_too() -> None:
    # Every one of five images lost half of its 20 cases: five coins prove nothing at 1%.
    given = [replace(one, cluster=f"{n // 20}") for n, one in enumerate(changes(([LOST, BOTH] * 10) * 5))]
    found = judged(given)
    assert found.whole is not None
    assert found.whole.evidence[0].p > 0.01
    assert found.status is ExitStatus.FAILED
    assert "a loss of more than 2 points is shown; beyond budget" in found.sentence


def test_a_small_suite_is_inconclusive_with_numbers() -> None:
    found = judged(changes([LOST] * 2 + [GAINED] * 2 + [BOTH] * 36))
    assert (found.verdict, found.status) == (Verdict.INCONCLUSIVE, ExitStatus.INCONCLUSIVE)
    assert "a loss of 9.97 points (95%) cannot be excluded, 2 points must be: about " in found.sentence
    assert "40 cases can decide a margin of 14" in found.sentence
    missing = found.suites[0].missing_cases
    assert missing is not None
    assert f"about {missing:,} more cases are needed" in found.sentence


def test_a_loss_beyond_chance_within_the_margin_is_a_regression_that_passes() -> None:
    found = judged(changes([LOST] * 18 + [GAINED] * 2 + [BOTH] * 1480))
    assert (found.verdict, found.status) == (Verdict.REGRESSION, ExitStatus.PASSED)
    assert "no worse than 2 points shown; right answers were lost beyond chance" in found.sentence


def test_the_same_answers_are_not_called_the_same() -> None:
    found = judged(changes([BOTH] * 300))
    assert (found.verdict, found.status) == (Verdict.DRIFT, ExitStatus.PASSED)
    assert {case.verdict for case in found.cases} == {Verdict.NOISE}


def test_log_odds_count_for_nothing() -> None:
    moved = [(RIGHT, [9.0, -4.0, 5.0, 1.0])] * 300
    assert judged(changes(moved)).status is ExitStatus.PASSED


def test_a_suites_own_margin_wins_and_the_others_are_judged_together() -> None:
    small = [change for s in ("t", "u", "v") for change in changes([BOTH] * 60, suite=s)]
    own = changes([LOST] * 2 + [BOTH] * 58)
    together = judged([*small, *own], s=0.2)
    assert together.status is ExitStatus.PASSED  # 180 cases show 2 points, and 60 show 20
    assert "of 180 cases together: no worse than 2 points shown" in together.suites[0].sentence
    assert "s: no worse than 20 points shown" in together.sentence
    strict = judged([*small, *own], s=0.01)
    assert strict.status is ExitStatus.INCONCLUSIVE
    assert [suite.verdict for suite in strict.suites] == [Verdict.DRIFT] * 3 + [Verdict.INCONCLUSIVE]
    assert judged(changes([BOTH] * 60, suite="t")).status is ExitStatus.INCONCLUSIVE


def test_a_case_without_an_answer_is_an_error_unless_right_answers_are_lost() -> None:
    missing = replace(change(recording(RIGHT), None, NOISE, case="s.none"), errors=("p/b: died",))
    found = judged([*changes([BOTH] * 300), missing])
    assert (found.verdict, found.status) == (Verdict.ERROR, ExitStatus.ERROR)
    assert "1 without an answer (ERROR)" in found.sentence
    assert found.cases[-1].reason == "p/b: died"
    lost = judged([*changes([LOST] * 30 + [BOTH] * 300), missing])
    assert lost.status is ExitStatus.FAILED
    assert judged([missing]).status is ExitStatus.ERROR
    assert judged([]).status is ExitStatus.INCONCLUSIVE


def test_an_answer_that_is_not_known_is_not_passed_over() -> None:
    unknown = change(recording(RIGHT), recording([float("nan")] * 4), NOISE, case="s.nan")
    found = judged([*changes([BOTH] * 300), unknown])
    assert found.status is ExitStatus.INCONCLUSIVE
    assert "1 case of which a side's answer is not known" in found.sentence


def test_an_answer_that_is_never_reached_is_lost() -> None:
    broken = change(recording(RIGHT), recording(RIGHT, reached=False), NOISE, case="s.none")
    found = judged([*changes([BOTH] * 300), broken])
    accuracy = lost_and_gained(found.cases)
    assert accuracy is not None
    assert accuracy.lost == ("s.none",)
    assert accuracy.letters == {("A", "nothing"): 1}


def test_lost_and_gained_by_name_tag_and_letter() -> None:
    given = [
        *changes([LOST, GAINED, (WRONG, OTHER)], tags=["dark", "small"]),
        *changes([LOST] * 2 + [BOTH] * 12, suite="t", tags=["dark"]),
    ]
    found = judged(given)
    accuracy = lost_and_gained(found.cases)
    assert accuracy is not None
    assert accuracy.lost == ("s.c0", "t.c0", "t.c1")
    assert accuracy.gained == ("s.c1",)
    assert {tag: (one.cases, one.lost) for tag, one in accuracy.tags.items()} == {
        "dark": (17, 3),
        "small": (3, 1),
    }
    assert list(accuracy.letters.items()) == [(("A", "B"), 3), (("B", "A"), 1), (("B", "C"), 1)]
    assert [case.flip for case in found.cases[:3]] == [Flip.LOST, Flip.GAINED, Flip.NEUTRAL]
    text = render_verdict(found)
    assert "lost (3): s.c0, t.c0, t.c1\n" in text
    assert re.search(r"small +3 +33.3% → 33.3% +\+0.0 \[", text)
    assert "answers: A → B 3, B → A 1, B → C 1\n" in text
    assert "noise: no measure between two models" in text


@pytest.mark.parametrize(("models", "words"), [(("m", "m"), "other weights of m"), (("m", "n"), "(m → n)")])
def test_the_first_line_names_the_models(models: tuple[str, str], words: str) -> None:
    assert words in judged(changes([BOTH]), models=models).sentence
