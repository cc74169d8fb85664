"""What a suite can find: against the judge itself, and how it depends on the suite."""

from __future__ import annotations

import math

import numpy as np
import pytest

from harness.planning.report import report, to_json
from harness.planning.suite_plan import POWERS, Goal, SuitePlan, plan_suite
from harness.verdicts.case_judging import Look, look
from harness.verdicts.noise_model import Noise
from tests.verdicts.changes import change, floor_of, noise_of, recording, suite_changes

SIGMA = 0.02
CASES = 40


def _looks(
    cases: int = CASES, *, near: int = 0, wrong: int = 0, shared: int = 1, runs: int = 9
) -> tuple[list[Look], Noise]:
    """A right by 6 in all cases but ``near`` near-ties and ``wrong``; ``shared`` cases to an image."""
    rng = np.random.default_rng(1)
    truth = rng.normal(0, 0.5, (cases, 4))
    truth[:, 0] = 6.0
    truth[:near, 1] = 6.0 - 2 * SIGMA
    truth[cases - wrong :, 2] = 12.0
    noise = noise_of(floor_of(truth, [truth + SIGMA * rng.normal(0, 1, truth.shape) for _ in range(runs)]))
    clusters = [f"image {i // shared}" for i in range(cases)]
    return [look(each) for each in suite_changes(truth, truth, noise, clusters=clusters)], noise


def _plan(looks: list[Look], noise: Noise, *, goals: tuple[Goal, ...] = ()) -> SuitePlan:
    return plan_suite("s", looks, noise, goals=goals)


def _smallest(plan: SuitePlan, effect: str, power: float = 0.8) -> float:
    (found,) = [each for each in plan.detectable if each.effect == effect]
    size = found.smallest[power]
    assert size is not None
    return size


def test_more_cases_find_less() -> None:
    few, many = _plan(*_looks(40)), _plan(*_looks(160))
    for effect in ("spread", "shift", "flips", "accuracy", "single"):
        assert _smallest(many, effect) < _smallest(few, effect), effect
    assert 1.0 < _smallest(many, "spread") < 1.5


def test_more_power_takes_more() -> None:
    looks, noise = _looks()
    alone = _plan(looks, noise)
    assert alone.alpha == pytest.approx(0.01 / 6)
    for effect in ("spread", "shift", "mass", "flips", "accuracy"):
        assert _smallest(alone, effect, POWERS[1]) > _smallest(alone, effect, POWERS[0]), effect


def test_what_no_number_of_cases_finds_is_told() -> None:
    few, many = _plan(*_looks(40, runs=1)), _plan(*_looks(160, runs=1))
    assert few.found_from == pytest.approx(1.42, abs=0.02)
    assert many.found_from == pytest.approx(few.found_from)
    assert _smallest(many, "spread") > 1.42
    assert _plan(*_looks(40)).found_from == pytest.approx(1.15, abs=0.03)
    assert "a spread under 1.42 times the noise is not found" in report(few)


def test_cases_that_share_an_image_count_once() -> None:
    plan = _plan(*_looks(80, shared=2))
    assert (plan.cases, plan.clusters) == (80, 40)
    assert _smallest(plan, "accuracy") == pytest.approx(_smallest(_plan(*_looks(40)), "accuracy"), rel=0.02)


def test_near_ties_flip_by_noise_and_are_no_alarm_by_themselves() -> None:
    calm, tied = _plan(*_looks()), _plan(*_looks(near=10))
    assert calm.expected_flips < 1e-6
    # Two letters 2 σ apart, noise σ √2 on each side: Φ(-2 / 2) each.
    assert tied.expected_flips == pytest.approx(10 * 0.16, rel=0.35)
    assert (calm.alone, tied.alone) == (CASES, CASES - 10)
    assert _smallest(tied, "flips") > _smallest(calm, "flips")
    assert _smallest(tied, "single") > _smallest(calm, "single")


def test_only_right_answers_can_be_lost() -> None:
    plan = _plan(*_looks(wrong=10))
    assert plan.right == CASES - 10
    assert _smallest(plan, "accuracy") <= 30 / 40


def test_a_suite_without_a_right_answer_finds_no_loss() -> None:
    plan = _plan(*_looks(8, wrong=8))
    none = {each.effect: each.smallest[0.8] for each in plan.detectable}
    assert none["accuracy"] is None
    assert none["single"] is None
    assert "none" in report(plan)


def test_a_goal_says_how_many_cases_are_missing() -> None:
    looks, noise = _looks(80, shared=2)
    spread, loss, reached = _plan(
        looks, noise, goals=(Goal("spread", 1.2), Goal("accuracy", 0.02), Goal("flips", 0.5))
    ).goals
    clusters = spread.clusters[0.8]
    assert clusters is not None
    assert spread.cases[0.8] == 2 * clusters
    assert spread.missing[0.8] == 2 * clusters - 80
    assert spread.power < 0.8
    assert loss.missing[0.95] is not None
    assert loss.missing[0.8] is not None
    assert loss.missing[0.95] > loss.missing[0.8] > 100
    assert reached.missing == {0.8: 0, 0.95: 0}
    assert reached.power > 0.95


def test_the_missing_cases_reach_the_goal() -> None:
    looks, noise = _looks(20)
    (goal,) = _plan(looks, noise, goals=(Goal("spread", 1.3),)).goals
    cases = goal.cases[0.8]
    assert cases is not None
    again, more = _looks(cases)
    assert _smallest(_plan(again, more), "spread") == pytest.approx(1.3, abs=0.06)


def test_a_case_that_cannot_be_judged_is_left_out() -> None:
    looks, noise = _looks()
    nan = recording([math.nan, 0.0, 0.0, 0.0])
    looks[3] = look(change(nan, nan, noise, case="s.c3"))
    plan = _plan(looks, noise)
    assert plan.left_out == ("s.c3",)
    assert plan.cases == CASES - 1
    assert "left out, as they cannot be judged: s.c3" in report(plan)
    with pytest.raises(ValueError, match="no case that can be judged"):
        _plan([looks[3]], noise)


def test_the_report_has_the_figures_and_the_rules() -> None:
    plan = _plan(*_looks(), goals=(Goal("accuracy", 0.05),))
    text = report(plan)
    assert text.startswith("s: 40 cases, 40 independent groups")
    assert "noise floor of p/a, bfloat16" in text
    assert f"× {_smallest(plan, 'spread'):.3g}" in text
    assert "goal accuracy=0.05: found now with power" in text
    assert "cases are missing; it takes" in text
    assert "each test at α = 0.0017 (0.01 / 6 tests)" in text
    assert "harness noise" not in text
    data = to_json(plan)
    assert data["detectable"][0]["smallest"]["0.8"] == _smallest(plan, "spread")
    assert set(data["goals"][0]["missing"]) == {"0.8", "0.95"}


def test_a_table_is_told_from_a_floor() -> None:
    table = Noise(None, None, dtypes=("float32", "float32"), table=1e-4)
    looks = [look(each) for each in suite_changes(np.eye(4) * 6, np.eye(4) * 6, table)]
    assert "`harness noise PROFILE` measures" in report(_plan(looks, table))
