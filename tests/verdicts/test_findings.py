"""Verdicts that were wrong once: each with the verdict that is right."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from harness.cases.budgets import Budgets
from harness.engines.contract import Answer, Reading
from harness.recordings.store import Recording
from harness.verdicts.judging import judge
from harness.verdicts.noise_floor import NoiseFloor
from harness.verdicts.noise_model import Noise
from harness.verdicts.verdict import Change, ComparisonVerdict, ExitStatus, Verdict
from tests.verdicts.changes import Floats, change, floor_of, noise_of, recording, suite_changes

SIGMA, REST_SIGMA = 0.024, 0.05


class _World:
    """Cases of four letters with A right by a wide margin, and a share of 1% outside the letters."""

    def __init__(self, cases: int = 60, *, seed: int = 0, runs: int = 3, has_rest: bool = True) -> None:
        self.rng = np.random.default_rng(seed)
        self.truth = self.rng.normal(0, 1, (cases, 4))
        self.truth[:, 0] = 6.0
        self.rest = np.full(cases, math.log(0.01 / 0.99))
        moved = [self.run() for _ in range(runs)]
        rest = (self.rest, [self.rests() for _ in range(runs)]) if has_rest else None
        self.floor: NoiseFloor = floor_of(self.truth, moved, rest=rest)
        self.noise = noise_of(self.floor)

    def run(self) -> Floats:
        moved: Floats = self.truth + SIGMA * self.rng.normal(0, 1, self.truth.shape)
        return moved

    def rests(self) -> Floats:
        moved: Floats = self.rest + REST_SIGMA * self.rng.normal(0, 1, len(self.rest))
        return moved

    def changes(
        self,
        before: Floats,
        after: Floats,
        *,
        rest: tuple[Floats, Floats] | None = None,
        suite: Callable[[int], str] = lambda _: "s",
        tags: Callable[[int], tuple[str, ...]] = lambda _: (),
    ) -> list[Change]:
        """What the judge is given; ``rest`` are the log-odds of what is outside the letters on each side."""
        rests = (self.rests(), self.rests()) if rest is None else rest
        sides = [
            [
                recording([float(x) for x in row], engine=name, other=_other(row, float(own)))
                for row, own in zip(rows, own_rests, strict=True)
            ]
            for name, rows, own_rests in (("p-a", before, rests[0]), ("p-b", after, rests[1]))
        ]
        return [
            replace(change(a, b, self.noise, case=f"s.c{i}"), suite=suite(i), tags=tags(i))
            for i, (a, b) in enumerate(zip(*sides, strict=True))
        ]


def _other(logits: Floats, rest: float) -> float:
    """The logit of one more token that has the whole rest of the probability."""
    return rest + float(np.logaddexp.reduce(logits))


def _judged(
    changes: list[Change],
    noise: Noise,
    *,
    margin: float = 0.1,
    budgets: Budgets | None = None,
    whole: Budgets | None = None,
    strict: bool = False,
) -> ComparisonVerdict:
    suites = {each.suite for each in changes}
    return judge(
        changes,
        baseline="p/a",
        candidate="p/b",
        budgets={} if budgets is None else dict.fromkeys(suites, budgets),
        whole=whole,
        margin=margin,
        noise=noise,
        strict=strict,
    )


def _found(verdict: ComparisonVerdict) -> set[str]:
    assert verdict.whole is not None
    return {test.name for test in verdict.whole.evidence if test.found}


@pytest.mark.parametrize("share", [0.05, 0.4, 0.9])
@pytest.mark.parametrize("has_rest", [True, False], ids=["measured", "table"])
def test_probability_that_leaves_the_letters_is_found(share: float, has_rest: bool) -> None:
    world = _World(has_rest=has_rest)
    run, left = world.run(), world.rest - world.rest + math.log(share / (1 - share))
    verdict = _judged(world.changes(run, run, rest=(world.rest, left)), world.noise)
    assert verdict.verdict in (Verdict.DRIFT, Verdict.REGRESSION)
    assert verdict.status is ExitStatus.FAILED
    assert {"cases", "mass"} <= _found(verdict)
    assert "the probability outside the letters" in verdict.cases[0].reason
    calm = _judged(world.changes(run, run, rest=(world.rest, world.rest)), world.noise)
    assert calm.verdict is Verdict.SAME


def test_letters_that_keep_their_odds_and_lose_a_quarter_of_their_probability_are_no_same() -> None:
    # Every right letter from 0.999 to 0.731 by one token more: the letters' log-odds do not move at all.
    world = _World(88)
    before, after = np.full(88, math.log(0.001)), np.full(88, math.log(0.268 / 0.732))
    verdict = _judged(world.changes(world.truth, world.truth, rest=(before, after)), world.noise)
    assert (verdict.verdict, verdict.status) == (Verdict.DRIFT, ExitStatus.FAILED)
    assert verdict.whole is not None
    assert verdict.whole.shown.rest is not None
    assert verdict.whole.shown.rest.value == pytest.approx(0.268, abs=0.002)


def _partial(logits: Floats, engine: str, *, hidden: int | None, ceiling: float) -> Recording:
    """An answer of which a server lists the letters but ``hidden``, whose log-probability is ``ceiling``."""
    plain = [float(x) - float(np.logaddexp.reduce(logits)) for x in logits]
    seen = [x if place != hidden else -math.inf for place, x in enumerate(plain)]
    ceilings = [x if place != hidden else ceiling for place, x in enumerate(plain)]
    reading = Reading(
        path="chat",
        argmax=(),
        logprobs=(),
        letter_logits=tuple(seen),
        log_z=0.0,
        letter_ceilings=tuple(ceilings),
    )
    answer = Answer(
        prompt_ids=(), generated_ids=(), text="A", letter_ids=(), answer_step=0, readings=(reading,)
    )
    return Recording(key=f"{engine}-0-0", case="s.c", engine=engine, answer=answer, fingerprint={})


def test_a_letter_that_falls_out_of_a_servers_list_moved_by_its_ceiling() -> None:
    world = _World(40, has_rest=False)
    world.truth[:, 3] = 1.0  # e^-5 below the top
    low = [
        change(
            _partial(row, "p-a", hidden=None, ceiling=0.0),
            _partial(row, "p-b", hidden=3, ceiling=-14.0),
            world.noise,
            case=f"s.c{i}",
        )
        for i, row in enumerate(world.truth)
    ]
    verdict = _judged(low, world.noise)
    assert (verdict.verdict, verdict.status) == (Verdict.DRIFT, ExitStatus.FAILED)
    assert "a letter that only one side saw moved by at least" in verdict.cases[0].reason
    hidden = [
        change(
            _partial(row, "p-a", hidden=3, ceiling=-14.0),
            _partial(row, "p-b", hidden=3, ceiling=-13.0),
            world.noise,
            case=f"s.c{i}",
        )
        for i, row in enumerate(world.truth)
    ]
    assert _judged(hidden, world.noise).verdict is Verdict.SAME  # what neither shows is no millionth


def test_a_letter_that_may_have_a_tenth_of_the_probability_is_not_shown_to_be_the_same() -> None:
    world = _World(40, has_rest=False)
    open_ = [
        change(
            _partial(row, "p-a", hidden=3, ceiling=math.log(0.1)),
            _partial(row, "p-b", hidden=3, ceiling=math.log(0.1)),
            world.noise,
            case=f"s.c{i}",
        )
        for i, row in enumerate(world.truth)
    ]
    verdict = _judged(open_, world.noise)
    assert verdict.verdict is Verdict.NOISE
    assert any("a letter that a side did not see" in reason for reason in verdict.suites[0].reasons)


def test_what_is_worse_does_not_pass_an_accuracy_budget_that_less_did_not() -> None:
    world = _World()
    before, after = world.run(), world.run()
    budgets = Budgets(accuracy=0.01, moved=2)
    calm = _judged(world.changes(before, after), world.noise, budgets=budgets)
    after[7, 1] += 30 * SIGMA
    moved = _judged(world.changes(before, after), world.noise, budgets=budgets)
    assert calm.status is moved.status is ExitStatus.INCONCLUSIVE
    assert "a loss of accuracy of up to" in moved.sentence
    assert (
        _judged(world.changes(before, after), world.noise, budgets=Budgets(moved=2)).verdict is Verdict.DRIFT
    )


def test_a_budget_for_one_case_excuses_that_case_and_not_what_the_others_leave_open() -> None:
    world = _World(4, seed=1)
    before, after = world.run(), world.run()
    after += 1.2 * (world.run() - world.truth)
    few = world.changes(before, after)
    open_ = _judged(few, world.noise, margin=1e-3)
    assert open_.status is ExitStatus.INCONCLUSIVE
    after[2, 1] += 100 * SIGMA
    excused = _judged(world.changes(before, after), world.noise, margin=1e-3, budgets=Budgets(moved=1))
    assert excused.status is ExitStatus.INCONCLUSIVE
    assert "2 times must be excluded" in excused.sentence


def test_the_bound_of_lost_accuracy_counts_cases_and_what_they_share() -> None:
    # Ten images of ten cases, all near-ties of which those of two images flip: a fifth of the cases is lost.
    world = _World(100, has_rest=False)
    world.truth[:, 1] = world.truth[:, 0] - 0.2 * SIGMA
    before, after = world.truth.copy(), world.truth.copy()
    after[:20, 1] += 0.4 * SIGMA
    changes = suite_changes(before, after, world.noise, clusters=[str(i // 10) for i in range(100)])
    verdict = _judged(changes, world.noise, budgets=Budgets(accuracy=0.10))
    assert verdict.status is not ExitStatus.PASSED
    assert verdict.whole is not None
    assert verdict.whole.accuracy == (1.0, 0.8)


def test_a_small_suite_next_to_bit_equal_is_no_question_of_its_size() -> None:
    world = _World(7)
    run = world.run()
    after = run + 0.003 * (world.run() - world.truth)
    rest = (world.rest, world.rest)
    for after_ in (run, after):
        verdict = _judged(world.changes(run, after_, rest=rest), world.noise, margin=0.02)
        assert verdict.verdict is Verdict.SAME


def test_one_suite_and_forty_of_five_cases_have_one_verdict() -> None:
    world = _World(200, runs=2)
    before, after = world.run(), world.run()
    rest = (world.rests(), world.rests())
    for moved, expected in ((0.0, Verdict.NOISE), (1.0, Verdict.DRIFT)):
        after_ = after.copy()
        after_[:, 0] -= moved * SIGMA
        words = [
            _judged(world.changes(before, after_, rest=rest, suite=suite), world.noise, margin=0.02)
            for suite in (lambda _: "s", lambda i: f"s{i // 5}")
        ]
        assert [each.verdict for each in words] == [expected] * 2
        assert words[0].status is words[1].status
        failing = [suite for suite in words[1].suites if not suite.passes]
        assert bool(failing) == (expected is Verdict.DRIFT)


def test_where_something_was_found_is_pointed_at() -> None:
    world = _World(120)
    before, after = world.run(), world.run()
    after[:40, 0] -= 3 * SIGMA
    changes = world.changes(
        before, after, suite=lambda i: "first" if i < 40 else "second", tags=lambda i: ("ocr",) * (i % 3 == 0)
    )
    verdict = _judged(changes, world.noise, margin=0.01)
    assert {(place.kind, place.name) for place in verdict.where} == {("suite", "first")}
    assert [suite.passes for suite in verdict.suites] == [False, True]
    assert "in suite first" in verdict.sentence


def test_a_spread_that_grew_is_no_shift() -> None:
    shifts = 0
    for seed in range(20):
        world = _World(40, seed=seed, runs=9)
        before = world.run()
        after = before + 10 * (world.run() - world.truth)
        verdict = _judged(world.changes(before, after), world.noise)
        assert "spread" in _found(verdict)
        shifts += "shift" in _found(verdict)
    assert shifts <= 1


def test_what_moved_beyond_noise_and_is_shown_within_the_margin_passes_and_says_so() -> None:
    world = _World(200)
    before, after = world.run(), world.run()
    after[:, 0] -= 0.03
    changes = world.changes(before, after)
    verdict = _judged(changes, world.noise, margin=0.1)
    assert (verdict.verdict, verdict.status) == (Verdict.DRIFT, ExitStatus.PASSED)
    assert verdict.within_margin
    assert verdict.sentence.startswith("DRIFT within the margin: p/b against p/a")
    for other in (
        _judged(changes, world.noise, margin=0.1, strict=True),
        _judged(changes, world.noise, margin=0.1, whole=Budgets(strict=True)),
        _judged(changes, world.noise, margin=0.02),
        _judged(changes, world.noise, margin=0.1, whole=Budgets(margin=0.02)),
    ):
        assert (other.verdict, other.status) == (Verdict.DRIFT, ExitStatus.FAILED)


def test_a_wide_margin_that_flipped_is_no_matter_of_margins() -> None:
    world = _World(60)
    before, after = world.run(), world.run()
    before[3, 1] = before[3, 0] - 0.2
    after[3, 1] = after[3, 0] + 0.2
    verdict = _judged(world.changes(before, after), world.noise, margin=10.0)
    assert (verdict.verdict, verdict.status) == (Verdict.REGRESSION, ExitStatus.FAILED)
    assert verdict.whole is not None
    assert verdict.whole.shown.within


def test_budgets_of_a_suite_allow_what_was_found_there_and_those_of_the_whole_anywhere() -> None:
    world = _World(60)
    before, after = world.run(), world.run()
    after[7, 1] += 30 * SIGMA
    after[40, 1] += 30 * SIGMA
    changes = world.changes(before, after, suite=lambda i: "a" if i < 30 else "b")

    def status(suites: dict[str, Budgets], whole: Budgets | None = None) -> ExitStatus:
        return judge(
            changes,
            baseline="p/a",
            candidate="p/b",
            budgets=suites,
            whole=whole,
            margin=1e-3,
            noise=world.noise,
        ).status

    one = Budgets(moved=1)
    assert status({"a": one}) is ExitStatus.FAILED
    assert status({"a": one, "b": one}) is ExitStatus.PASSED
    assert status({}, one) is ExitStatus.FAILED
    assert status({}, Budgets(moved=2)) is ExitStatus.PASSED


def test_accepted_answers_whose_top_token_is_no_letter_are_the_same_when_nothing_changed() -> None:
    world = _World(1, has_rest=False)
    live = recording([1.0, 0.0, -1.0, -2.0], other=9.0, engine="p-b")
    logprobs = [x - 9.0 for x in (1.0, 0.0, -1.0, -2.0)]
    accepted = replace(
        live,
        answer=replace(
            live.answer,
            letter_ids=(),
            generated_ids=(),
            readings=(
                Reading(path="accepted", argmax=(), logprobs=(), letter_logits=tuple(logprobs), log_z=1e-3),
            ),
        ),
    )
    verdict = _judged([change(accepted, live, world.noise, case="s.c0")], world.noise)
    assert verdict.cases[0].flip is None
    assert verdict.status is ExitStatus.PASSED
    # Where what was accepted leaves no room for another token, one on top now is told.
    wide = recording([9.0, 0.0, -1.0, -2.0], other=0.0)
    kept = replace(wide, answer=replace(wide.answer, letter_ids=(), generated_ids=()))
    gone = _judged([change(kept, live, world.noise, case="s.c0")], world.noise)
    assert gone.cases[0].answers == ("A", "something else")
    assert gone.status is ExitStatus.FAILED
