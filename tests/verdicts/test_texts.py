"""Texts that are accepted under the judge: their leads are noise, drift or lost as log-odds of letters."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from harness.checks.log_odds import of_reading, scalars_of
from harness.engines.contract import Reading
from harness.verdicts.judging import judge
from harness.verdicts.lost_and_gained import THE_TEXT, lost_and_gained
from harness.verdicts.noise_floor import UNDISTURBED, CaseNoise, NoiseFloor, ScalarNoise
from harness.verdicts.noise_model import Noise
from harness.verdicts.verdict import Change, ComparisonVerdict, Flip, Verdict
from tests.text_answers import NAMES, text_recording
from tests.verdicts.changes import change, noise_of

CASES, SIGMA = 30, 0.02
Leads = Sequence[float]


class _World:
    """Texts of two tokens with true leads, the second of which is near, and runs around them."""

    def __init__(self, second: float = 3.0) -> None:
        self.rng = np.random.default_rng(3)
        self.truth = self.rng.uniform(4, 8, (CASES, 3))
        self.truth[:, 1] = second

    def run(self, scale: float = 1.0) -> list[Leads]:
        noise = scale * SIGMA * self.rng.normal(0, 1, self.truth.shape)
        return [tuple(map(float, leads)) for leads in self.truth + noise]

    def noise(self) -> Noise:
        """That of a floor measured from the true answers, as `harness noise` makes one."""
        runs = [self.run() for _ in range(9)]
        names = (UNDISTURBED, *(f"run-{n}" for n in range(1, len(runs))))
        cases = {}
        for place in range(CASES):
            of = {name: _reading(run[place]) for name, run in zip(names, runs, strict=True)}
            truth = _reading(self.truth[place])
            cases[f"s.c{place}"] = CaseNoise(
                asked="asked",
                reference=of_reading(truth),
                runs={name: of_reading(one) for name, one in of.items()},
                scalars={
                    name: ScalarNoise(
                        reference=value, runs={run: scalars_of(one, ())[name] for run, one in of.items()}
                    )
                    for name, value in scalars_of(truth, ()).items()
                },
            )
        made = {"dtype": "bfloat16", "device": "a test", "made": "2026-11-25", "fingerprint": {}, "full": {}}
        return noise_of(NoiseFloor(profile="p", engine="a", cases=cases, **made))  # type: ignore[arg-type]


def _reading(leads: Leads) -> Reading:
    return text_recording(*leads).answer.readings[0]


def _judged(before: Sequence[Leads], after: Sequence[Leads], noise: Noise) -> ComparisonVerdict:
    changes: list[Change] = [
        change(
            text_recording(*a, engine="p-a"),
            text_recording(*b, engine="p-b"),
            noise,
            case=f"s.c{place}",
            expect="1984",
            letters=NAMES,
        )
        for place, (a, b) in enumerate(zip(before, after, strict=True))
    ]
    return judge(changes, baseline="p/a", candidate="p/b", budgets={}, noise=noise, margin=1e-9)


def test_texts_within_noise_are_noise() -> None:
    world = _World()
    verdict = _judged(world.run(), world.run(), world.noise())
    assert verdict.verdict in (Verdict.NOISE, Verdict.INCONCLUSIVE)
    assert {case.right for case in verdict.cases} == {(True, True)}
    assert all(case.gap == pytest.approx(3.0, abs=0.2) for case in verdict.cases)


def test_a_move_of_one_token_is_drift() -> None:
    world = _World()
    after = [(a, b - 20 * SIGMA, c) for a, b, c in world.run()]
    assert _judged(world.run(), after, world.noise()).verdict is Verdict.DRIFT


def test_a_text_that_is_lost_is_a_regression() -> None:
    world = _World()
    after = world.run()
    after[4] = (after[4][0], -3.0, after[4][2])
    verdict = _judged(world.run(), after, world.noise())
    assert verdict.verdict is Verdict.REGRESSION
    (lost,) = (case for case in verdict.cases if case.flip is not None)
    assert (lost.case, lost.flip, lost.answers) == ("s.c4", Flip.LOST, NAMES)
    assert "the probability of another text went from" in lost.reason
    accuracy = lost_and_gained(verdict.cases)
    assert accuracy is not None
    assert accuracy.letters == {(THE_TEXT, NAMES[1]): 1}
    assert [*accuracy.expected] == [THE_TEXT]


def test_near_ties_of_a_token_flip_by_noise_though_the_whole_text_is_improbable() -> None:
    """A long text below half is no nearer to a flip; one token at a tie is, however probable the others."""
    world = _World(second=0.002)
    verdict = _judged(world.run(), world.run(), world.noise())
    assert any(case.flip is not None for case in verdict.cases)
    assert verdict.verdict in (Verdict.NOISE, Verdict.INCONCLUSIVE)
