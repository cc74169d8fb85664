"""The judge as a whole: every verdict made to happen, and every rule made to fail."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from harness.cases.budgets import Budgets, default_margin
from harness.verdicts.judging import judge
from harness.verdicts.noise_floor import NoiseFloor
from harness.verdicts.noise_model import Noise
from harness.verdicts.verdict import (
    CaseVerdict,
    Change,
    ComparisonVerdict,
    ExitStatus,
    Flip,
    SuiteVerdict,
    Verdict,
)
from tests.verdicts.changes import Floats, change, floor_of, noise_of, recording, suite_changes

SIGMA = 0.02
CASES = 40


class _World:
    """Cases whose letters' true logits are known, with A right by a wide margin unless a test says else."""

    def __init__(self, cases: int = CASES, *, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.truth = self.rng.normal(0, 1, (cases, 4))
        self.truth[:, 0] = 6.0

    def run(self, scale: float = 1.0) -> Floats:
        moved: Floats = self.truth + scale * SIGMA * self.rng.normal(0, 1, self.truth.shape)
        return moved

    def floor(self) -> NoiseFloor:
        return floor_of(self.truth, [self.run() for _ in range(9)])


@pytest.fixture
def world() -> _World:
    return _World()


def _judged(
    changes: Sequence[Change], noise: Noise, *, budgets: Budgets | None = None, margin: float = 1e-9
) -> ComparisonVerdict:
    suites = {each.suite for each in changes}
    return judge(
        changes,
        baseline="p/a",
        candidate="p/b",
        budgets={} if budgets is None else dict.fromkeys(suites, budgets),
        margin=margin,
        noise=noise,
    )


def _suite(verdict: ComparisonVerdict) -> SuiteVerdict:
    (suite,) = verdict.suites
    return suite


def _case(verdict: ComparisonVerdict, name: str) -> CaseVerdict:
    (case,) = [case for case in verdict.cases if case.case == name]
    return case


def _found(verdict: ComparisonVerdict) -> set[str]:
    return {test.name for test in _suite(verdict).evidence if test.found}


def test_noise_is_noise(world: _World) -> None:
    noise = noise_of(world.floor())
    verdict = _judged(suite_changes(world.run(), world.run(), noise), noise)
    assert (verdict.verdict, verdict.status) == (Verdict.NOISE, ExitStatus.PASSED)
    assert _suite(verdict).counts[Verdict.NOISE] == CASES
    spread = _suite(verdict).spread
    assert spread is not None
    assert spread.low < 1 < spread.high < 2
    assert "no more than noise" in verdict.sentence


def test_noise_within_a_stated_margin_is_the_same(world: _World) -> None:
    noise = noise_of(world.floor())
    changes = suite_changes(world.run(), world.run(), noise)
    verdict = _judged(changes, noise, margin=0.5)
    assert (verdict.verdict, verdict.status) == (Verdict.SAME, ExitStatus.PASSED)
    assert _suite(verdict).counts[Verdict.SAME] == CASES
    own = _judged(changes, noise, budgets=Budgets(margin=1e-6), margin=0.5)
    assert own.verdict is Verdict.NOISE  # the suite's own margin wins


def test_bit_equal_answers_are_the_same(world: _World) -> None:
    noise = noise_of(world.floor())
    run = world.run()
    assert _judged(suite_changes(run, run, noise), noise, margin=0.1).verdict is Verdict.SAME


def test_doubled_noise_is_drift_in_twenty_cases() -> None:
    world = _World(20, seed=3)
    noise = noise_of(world.floor())
    before = world.run()
    verdict = _judged(suite_changes(before, before + 2 * (world.run() - world.run()), noise), noise)
    assert (verdict.verdict, verdict.status) == (Verdict.DRIFT, ExitStatus.FAILED)
    assert "spread" in _found(verdict)
    assert any("times the noise" in reason for reason in _suite(verdict).reasons)


def test_a_budget_for_spread_lets_it_be(world: _World) -> None:
    noise = noise_of(world.floor())
    before = world.run()
    changes = suite_changes(before, before + 2 * (world.run() - world.run()), noise)
    # The cases far out have a budget of their own.
    assert _judged(changes, noise, budgets=Budgets(spread=3.0, moved=CASES)).status is ExitStatus.PASSED


def test_one_case_far_out_is_drift_and_named(world: _World) -> None:
    noise = noise_of(world.floor())
    before, after = world.run(), world.run()
    after[7, 1] += 20 * SIGMA
    verdict = _judged(suite_changes(before, after, noise), noise)
    assert verdict.verdict is Verdict.DRIFT
    assert _case(verdict, "s.c7").verdict is Verdict.DRIFT
    assert _suite(verdict).counts[Verdict.DRIFT] == 1
    assert any("s.c7 (cases/s.yaml:3:5" in reason for reason in _suite(verdict).reasons)
    case = _case(verdict, "s.c7")
    assert case.largest is not None
    assert case.largest > case.limit > 4 * case.sigma


def test_a_budget_for_moved_cases_lets_one_be_and_not_two(world: _World) -> None:
    noise = noise_of(world.floor())
    before, after = world.run(), world.run()
    after[7, 1] += 20 * SIGMA
    one = _judged(suite_changes(before, after, noise), noise, budgets=Budgets(moved=1))
    assert (one.verdict, one.status) == (Verdict.DRIFT, ExitStatus.PASSED)
    assert "within budget" in one.sentence
    after[8, 1] += 20 * SIGMA
    two = _judged(suite_changes(before, after, noise), noise, budgets=Budgets(moved=1))
    assert two.status is ExitStatus.FAILED


def test_a_budget_for_moved_cases_does_not_hide_what_the_others_do(world: _World) -> None:
    noise = noise_of(world.floor())
    before = world.run()
    after = before + 3 * (world.run() - world.run())
    after[7, 1] += 100 * SIGMA
    verdict = _judged(suite_changes(before, after, noise), noise, budgets=Budgets(moved=CASES // 4))
    assert verdict.status is ExitStatus.FAILED


def test_a_common_shift_below_every_single_limit_is_drift(world: _World) -> None:
    noise = noise_of(world.floor())
    before, after = world.run(), world.run()
    after[:, 0] -= 1.5 * SIGMA
    verdict = _judged(suite_changes(before, after, noise), noise)
    assert verdict.verdict is Verdict.DRIFT
    assert "shift" in _found(verdict)
    assert "cases" not in _found(verdict)
    shift = _suite(verdict).shift
    assert shift is not None
    assert shift.value == pytest.approx(-1.5 * SIGMA * 0.75, rel=0.3)  # centring takes a quarter


def test_a_wide_margin_that_flips_is_an_alarm_at_one_case(world: _World) -> None:
    noise = noise_of(world.floor())
    before, after = world.run(), world.run()
    after[3, 2] = after[3, 0] + 0.1
    verdict = _judged(suite_changes(before, after, noise), noise)
    assert (verdict.verdict, verdict.status) == (Verdict.REGRESSION, ExitStatus.FAILED)
    case = _case(verdict, "s.c3")
    assert (case.verdict, case.flip, case.right) == (Verdict.REGRESSION, Flip.LOST, (True, False))
    assert "A" in case.reason
    assert "became C (right to wrong" in case.reason
    accepted = _judged(suite_changes(before, after, noise), noise, budgets=Budgets(lost=1))
    assert (accepted.verdict, accepted.status) == (Verdict.REGRESSION, ExitStatus.PASSED)


def test_a_wide_flip_to_the_right_answer_is_drift(world: _World) -> None:
    noise = noise_of(world.floor())
    before, after = world.run(), world.run()
    before[3, 2] = before[3, 0] + 3.0
    verdict = _judged(suite_changes(before, after, noise), noise)
    assert verdict.verdict is Verdict.DRIFT
    assert _case(verdict, "s.c3").flip is Flip.GAINED


def test_near_ties_may_flip() -> None:
    world = _World(seed=5)
    world.truth[:6, 1] = world.truth[:6, 0] + SIGMA * world.rng.normal(0, 0.3, 6)
    noise = noise_of(world.floor())
    verdict = _judged(suite_changes(world.run(), world.run(), noise), noise)
    assert _suite(verdict).flips > 0
    assert verdict.verdict is Verdict.NOISE
    assert _suite(verdict).expected_flips > 0.5
    flipped = [case for case in verdict.cases if case.flip is not None]
    assert all(case.verdict is Verdict.NOISE for case in flipped)
    assert all((case.flip_probability or 0.0) > 0.01 for case in flipped)


def test_more_flips_than_margins_explain_are_found() -> None:
    world = _World(seed=6)
    world.truth[:12, 1] = world.truth[:12, 0] - 3.4 * SIGMA  # each flips by noise with about 1 in 100
    noise = noise_of(world.floor())
    before, after = world.truth.copy(), world.truth.copy()
    after[:12, 1] += 3.6 * SIGMA
    verdict = _judged(suite_changes(before, after, noise), noise)
    assert "flips" in _found(verdict)
    assert verdict.verdict is Verdict.REGRESSION  # twelve of twelve right answers lost
    assert "accuracy" in _found(verdict)


def test_errors_are_the_headline_where_nothing_was_found(world: _World) -> None:
    noise = noise_of(world.floor())
    changes = suite_changes(world.run(), world.run(), noise)
    changes[4] = change(recording([6, 0, 0, 0]), None, noise, case="s.c4", errors=("p-b: crash: it ended",))
    verdict = _judged(changes, noise, margin=0.5)
    assert (verdict.verdict, verdict.status) == (Verdict.ERROR, ExitStatus.ERROR)
    assert _suite(verdict).verdict is Verdict.ERROR
    assert _case(verdict, "s.c4").verdict is Verdict.ERROR
    assert _case(verdict, "s.c4").reason == "p-b: crash: it ended"
    assert "1 case without an answer on a side (ERROR)" in verdict.sentence


def test_a_suite_of_errors_alone_is_an_error_and_so_is_the_comparison(world: _World) -> None:
    noise = noise_of(world.floor())
    gone = ("p-b: load: it could not be loaded",)
    lost = [change(None, None, noise, case=f"t.c{n}", errors=gone) for n in range(3)]
    alone = _judged(lost, noise)
    assert (alone.verdict, alone.status, alone.suites[0].verdict) == (
        Verdict.ERROR,
        ExitStatus.ERROR,
        Verdict.ERROR,
    )
    assert alone.sentence == "ERROR: p/b against p/a, 3 cases: no case has an answer on both sides"
    assert alone.suites[0].sentence == "t: ERROR: 3 cases without an answer on a side (ERROR)"
    for others, word in ((world.run(), Verdict.ERROR), (world.truth + 3 * np.eye(4)[2], Verdict.DRIFT)):
        beside = _judged([*suite_changes(world.truth, others, noise), *lost], noise, margin=0.5)
        assert beside.verdict is word


def test_a_regression_is_told_in_spite_of_errors(world: _World) -> None:
    noise = noise_of(world.floor())
    before, after = world.run(), world.run()
    after[3, 2] = after[3, 0] + 0.1
    changes = suite_changes(before, after, noise)
    changes[4] = change(None, None, noise, case="s.c4", errors=("crash",))
    verdict = _judged(changes, noise)
    assert (verdict.verdict, verdict.status) == (Verdict.REGRESSION, ExitStatus.FAILED)


def test_few_cases_are_inconclusive_and_told_how_many_are_missing() -> None:
    world = _World(2)
    noise = noise_of(_World(60).floor())
    verdict = _judged(suite_changes(world.run(), world.run(), noise), noise)
    assert (verdict.verdict, verdict.status) == (Verdict.INCONCLUSIVE, ExitStatus.INCONCLUSIVE)
    missing = _suite(verdict).missing_cases
    assert missing is not None
    assert 1 <= missing < 20
    assert "more cases would narrow it" in verdict.suites[0].sentence


def test_nothing_to_compare_is_inconclusive() -> None:
    verdict = _judged([], noise_of(None))
    assert (verdict.verdict, verdict.status) == (Verdict.INCONCLUSIVE, ExitStatus.INCONCLUSIVE)


def test_a_loss_of_accuracy_that_cannot_be_excluded_is_inconclusive(world: _World) -> None:
    noise = noise_of(world.floor())
    changes = suite_changes(world.run(), world.run(), noise)
    strict = _judged(changes, noise, budgets=Budgets(accuracy=0.01))
    assert (strict.verdict, strict.status) == (Verdict.INCONCLUSIVE, ExitStatus.INCONCLUSIVE)
    assert "a loss of accuracy" in strict.suites[0].sentence
    assert _judged(changes, noise, budgets=Budgets(accuracy=0.2)).status is ExitStatus.PASSED


def test_an_answer_that_is_no_letter_any_more_is_a_regression(world: _World) -> None:
    noise = noise_of(world.floor())
    changes = suite_changes(world.run(), world.run(), noise)
    letters = [float(x) for x in world.truth[5]]
    changes[5] = change(recording(letters), recording(letters, other=9.0), noise, case="s.c5")
    verdict = _judged(changes, noise)
    assert verdict.verdict is Verdict.REGRESSION
    case = _case(verdict, "s.c5")
    assert case.flip is Flip.LOST
    assert case.largest == pytest.approx(0.0)
    assert "became something else" in case.reason


def test_a_letter_that_is_never_reached_is_a_regression(world: _World) -> None:
    noise = noise_of(world.floor())
    changes = suite_changes(world.run(), world.run(), noise)
    gone = recording([0.0, 0.0, 0.0, 0.0], engine="p-b", reached=False)
    changes[5] = change(recording([6.0, 0, 0, 0]), gone, noise, case="s.c5")
    verdict = _judged(changes, noise)
    assert verdict.verdict is Verdict.REGRESSION
    assert "only p-a reached the letter; p-b wrote" in _case(verdict, "s.c5").reason


def test_a_case_without_numbers_makes_the_suite_inconclusive(world: _World) -> None:
    noise = noise_of(world.floor())
    changes = suite_changes(world.run(), world.run(), noise)
    nan = recording([math.nan, 0.0, 0.0, 0.0], engine="p-b")
    changes[5] = change(recording([6.0, 0, 0, 0]), nan, noise, case="s.c5")
    verdict = _judged(changes, noise, margin=0.5)
    assert verdict.verdict is Verdict.INCONCLUSIVE
    assert "NaN" in _case(verdict, "s.c5").reason
    both = recording([0.0, 0.0, 0.0, 0.0], reached=False)
    changes[5] = change(both, both, noise, case="s.c5")
    assert "neither side reached" in _case(_judged(changes, noise), "s.c5").reason


def test_cases_that_share_an_image_are_one(world: _World) -> None:
    noise = noise_of(world.floor())
    before, after = world.run(), world.run()
    clusters = [f"image {i // 10}" for i in range(CASES)]
    shared = _judged(suite_changes(before, after, noise, clusters=clusters), noise)
    assert _suite(shared).clusters == 4
    assert _suite(_judged(suite_changes(before, after, noise), noise)).clusters == CASES


def test_lost_answers_about_one_image_are_one_loss() -> None:
    world = _World(seed=8)
    floor = world.floor()
    noise = noise_of(floor)
    before, after = world.truth.copy(), world.truth.copy()
    after[:10, 1] = after[:10, 0] + 0.1
    apart = _judged(suite_changes(before, after, noise), noise)
    shared = _judged(
        suite_changes(before, after, noise, clusters=["x"] * 10 + [str(i) for i in range(30)]), noise
    )
    assert "accuracy" in _found(apart)
    assert "accuracy" not in _found(shared)
    assert shared.verdict is Verdict.REGRESSION  # each of them is still a wide flip


def test_of_several_suites_the_one_is_named_in_which_something_was_found(world: _World) -> None:
    noise = Noise(None, None, dtypes=("bfloat16", "bfloat16"), table=1.0)
    calm = suite_changes(world.truth, world.truth, noise, suite="calm")
    lost = world.truth.copy()
    lost[:, 1] = 9.0
    wild = suite_changes(world.truth, lost, noise, suite="wild")
    verdict = _judged([*calm, *wild], noise, margin=0.5)
    assert [(s.suite, s.verdict) for s in verdict.suites] == [
        ("calm", Verdict.SAME),
        ("wild", Verdict.REGRESSION),
    ]
    assert verdict.verdict is Verdict.REGRESSION
    assert {test.alpha for suite in verdict.suites for test in suite.evidence} == {0.01}
    assert "in suite wild" in verdict.sentence


def test_by_a_table_a_limit_is_a_limit(world: _World) -> None:
    noise = Noise(None, None, dtypes=("float32", "float32"), table=1e-3)
    after = world.truth.copy()
    after[:, 1] += 9e-4
    assert _judged(suite_changes(world.truth, after, noise), noise).cases[0].limit >= 1e-3
    after[4, 1] += 1e-2
    verdict = _judged(suite_changes(world.truth, after, noise), noise)
    assert _case(verdict, "s.c4").verdict is Verdict.DRIFT
    assert "no noise floor being there" in verdict.noise


def test_false_alarms_stay_within_their_rate() -> None:
    """120 clean comparisons, of which 1 in 100 may be an alarm: more than 6 has a probability below 1e-3."""
    alarms = 0
    for seed in range(120):
        world = _World(25, seed=1000 + seed)
        noise = noise_of(world.floor())
        verdict = _judged(suite_changes(world.run(), world.run(), noise), noise)
        alarms += verdict.verdict in (Verdict.DRIFT, Verdict.REGRESSION)
    assert alarms <= 6


def test_margins_are_the_widest_of_both_dtypes() -> None:
    assert default_margin("float32", "float32") < default_margin("float32", "bfloat16")
    assert default_margin("int4", "float32") == default_margin("bfloat16")
