"""Noise that was called a drift once: near-ties all over, and another kernel where only one was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from harness.verdicts.judging import judge
from harness.verdicts.noise_floor import UNDISTURBED
from harness.verdicts.noise_model import Noise
from harness.verdicts.verdict import Change, ComparisonVerdict, ExitStatus, Verdict
from tests.verdicts.changes import Floats, change, floor_of, noise_of, recording, suite_changes

SIGMA = 0.024


def _judged(changes: Sequence[Change], noise: Noise, *, margin: float = 0.1) -> ComparisonVerdict:
    return judge(changes, baseline="p/a", candidate="p/b", budgets={}, margin=margin, noise=noise)


@pytest.mark.parametrize("letters", [2, 4])
def test_near_ties_all_over_are_noise(letters: int) -> None:
    called = 0
    for seed in range(10):
        rng = np.random.default_rng(seed)
        truth = rng.normal(0, 0.5 * SIGMA, (60, letters))

        def run(rng: np.random.Generator = rng, truth: Floats = truth) -> Floats:
            moved: Floats = truth + SIGMA * rng.normal(size=truth.shape)
            return moved

        noise = noise_of(floor_of(truth, [run() for _ in range(9)]))
        rows = [(run(), run())]
        changes = [
            change(
                recording([float(x) for x in a]),
                recording([float(x) for x in b], engine="p-b"),
                noise,
                case=f"s.c{i}",
                letters="ABCD"[:letters],
            )
            for before, after in rows
            for i, (a, b) in enumerate(zip(before, after, strict=True))
        ]
        called += _judged(changes, noise, margin=1e-3).status is ExitStatus.FAILED
    assert called == 0


def test_a_kernel_as_loud_as_another_is_no_drift_where_only_one_was_measured() -> None:
    rng = np.random.default_rng(3)
    truth = rng.normal(0, 3, (60, 4))

    def kernel() -> Floats:
        return truth + SIGMA * rng.normal(size=truth.shape)

    def jitter(pattern: Floats) -> Floats:
        return pattern + SIGMA / 10 * rng.normal(size=truth.shape)

    old, new = kernel(), kernel()
    floor = floor_of(jitter(old), [jitter(old) for _ in range(4)])
    own = replace(
        floor,
        cases={
            name: replace(case, runs={run: v for run, v in case.runs.items() if run != UNDISTURBED})
            for name, case in floor.cases.items()
        },
    )
    noise = Noise(own, own, dtypes=("bfloat16", "bfloat16"), table=0.4)
    verdict = _judged(suite_changes(jitter(old), jitter(new), noise), noise)
    assert verdict.verdict in (Verdict.SAME, Verdict.NOISE)
    assert "noise within one kernel only" in verdict.noise
    # Taken for a distance from the truth, it is what it was called before.
    told = Noise(floor, floor, dtypes=("bfloat16", "bfloat16"), table=0.4)
    assert _judged(suite_changes(jitter(old), jitter(new), told), told).verdict is Verdict.DRIFT
