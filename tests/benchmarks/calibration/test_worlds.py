"""The worlds have the moments that they say, and the judge is given what recordings would give it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.calibration.rates import random_of
from benchmarks.calibration.sameness import SAME_CELLS, SameCell
from benchmarks.calibration.sample import MARGIN, sample_of
from benchmarks.calibration.worlds import LAWS, OWN, RUNS, SIGMA, SIGMA_REST, Drawn, Law, World, worlds
from harness.verdicts.case_judging import OTHER, Look, look
from harness.verdicts.noise_model import Noise
from tests.verdicts.changes import change, recording

EVERY = {law.name: law for law in (*LAWS, *OWN)}
LOUD = {
    # Root mean square over cases, in σ.
    "loudness differs between cases": math.exp(0.8**2),
    "5% of cases 10 times as loud": math.sqrt(0.95 + 0.05 * 100),
    "kernels": math.sqrt(1 + 1 / 9),
}


def _drawn(law: Law, cases: int, *, runs: int = 2, reference: bool = True) -> Drawn:
    world = World(law=law, runs=runs, reference=reference)
    return world.drawn(random_of(1, world.name, 0), cases)


def _root(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> float:
    return float(np.sqrt(np.nanmean(values**2)))


def test_every_law_is_there_with_every_floor() -> None:
    every = worlds()
    assert len({world.name for world in every}) == len(every) == len(EVERY) * len(RUNS) * 2


@pytest.mark.parametrize("law", EVERY.values(), ids=lambda law: law.name)
def test_tails_have_a_variance_of_one(law: Law) -> None:
    values = law.tail(np.random.default_rng(0), (200_000,))
    assert values.mean() == pytest.approx(0, abs=0.01)
    assert values.var() == pytest.approx(1, rel=0.1)


@pytest.mark.parametrize(
    "name", [n for n in EVERY if not n.startswith(("t, 3", "quantised", "loudness grows"))]
)
def test_sides_stray_as_far_as_is_said(name: str) -> None:
    drawn = _drawn(EVERY[name], 6000)
    reference = drawn.floors[1].reference
    loud, rel = LOUD.get(name, 1.0), 0.05 if name not in LOUD else 0.12
    assert _root(drawn.after.logits - reference.logits) == pytest.approx(loud * SIGMA, rel=rel + 0.1)
    if not EVERY[name].others and not EVERY[name].little:
        assert _root(drawn.after.rest - reference.rest) == pytest.approx(loud * SIGMA_REST, rel=rel + 0.1)
    assert set(drawn.floors[1].runs) >= {"undisturbed"}


def test_noise_within_an_image_correlates() -> None:
    drawn = _drawn(EVERY["images"], 10_000)
    moved = (drawn.after.logits - drawn.floors[0].reference.logits).reshape(-1, 5, 4)
    assert np.corrcoef(moved[:, 0].ravel(), moved[:, 3].ravel())[0, 1] == pytest.approx(0.7, abs=0.05)
    assert drawn.clusters.tolist()[:6] == [0, 0, 0, 0, 0, 1]


def test_runs_differ_in_loudness_and_by_a_common_shift() -> None:
    drawn = _drawn(EVERY["runs differ"], 4000, runs=200)
    reference = drawn.floors[0].reference.logits
    moved = np.stack([run.logits - reference for run in drawn.floors[0].runs.values()])
    assert np.log(moved[:, :, 1:].std((1, 2))).std() == pytest.approx(0.07, rel=0.2)
    centred = moved - moved.mean(-1, keepdims=True)
    assert centred[:, :, 0].mean(1).std() == pytest.approx(0.1 * SIGMA, rel=0.2)


def test_a_kernels_runs_are_alike_and_two_kernels_are_not() -> None:
    drawn = _drawn(EVERY["kernels"], 2000)
    runs = drawn.floors[0].runs
    assert list(runs) == ["undisturbed", "batch-1", "batch-2", "attention-0"]
    near = _root(runs["batch-1"].logits - runs["batch-2"].logits)
    far = _root(runs["batch-1"].logits - runs["attention-0"].logits)
    assert near == pytest.approx(SIGMA * math.sqrt(2) / 3, rel=0.1)
    assert far == pytest.approx(SIGMA * math.sqrt(2 + 2 / 9), rel=0.1)
    assert drawn.before is runs["undisturbed"]


@pytest.mark.parametrize("share", [0.1, 1.0])
def test_near_ties(share: float) -> None:
    ordered = np.sort(_drawn(EVERY[f"near-ties {share:.0%}, 4 letters"], 4000).floors[0].reference.logits, 1)
    assert np.mean(ordered[:, -1] - ordered[:, 0] < 4 * SIGMA) == pytest.approx(share, abs=0.03)


def test_what_is_quantised_stands_on_steps_of_bfloat16() -> None:
    logits = _drawn(EVERY["quantised to bfloat16"], 200).before.logits
    big = logits[(logits > 16) & (logits < 32)]
    assert len(big) > 100
    assert np.all(big % 0.125 == 0)


def test_mixed_letters_two_floors_and_another_token() -> None:
    seen = np.isfinite(_drawn(EVERY["2, 4 and 6 letters together"], 300).before.logits).sum(1)
    assert set(seen) == {2, 4, 6}
    two = _drawn(EVERY["float32 against bfloat16"], 2000)
    loud = [_root(floor.runs["undisturbed"].logits - floor.reference.logits) for floor in two.floors]
    assert loud[1] / loud[0] == pytest.approx(1000, rel=0.05)
    other = _drawn(EVERY["another token as probable, 20%"], 3000).before
    assert np.mean(other.other > other.logits.max(1)) == pytest.approx(0.1, abs=0.03)


def test_next_to_nothing_is_known_no_better_than_a_recording_knows_it() -> None:
    drawn = _drawn(EVERY["next to nothing outside the letters"], 3000)
    share, true = (1 / (1 + np.exp(-run.rest)) for run in (drawn.after, drawn.floors[0].reference))
    assert np.median(true) == pytest.approx(1e-7, rel=0.1)
    assert 1e-7 < np.abs(share - true).max() < 3e-7
    assert share.min() == pytest.approx(2e-9)


def test_loudness_grows_with_entropy() -> None:
    drawn = _drawn(EVERY["loudness grows with entropy"], 4000)
    logits = drawn.floors[0].reference.logits
    sure = np.sort(logits, 1)[:, -1] - np.sort(logits, 1)[:, -2] > 6
    moved = drawn.before.logits - logits
    assert _root(moved[~sure]) > 2 * _root(moved[sure])


@pytest.mark.parametrize("cell", SAME_CELLS[::7], ids=lambda cell: cell.name)
def test_what_is_at_the_margin_is(cell: SameCell) -> None:
    squares = []
    for number in range(60):
        drawn = cell.drawn(random_of(2, cell.name, number))
        moved = drawn.after.logits - drawn.before.logits
        moved = moved - moved.mean(1, keepdims=True)
        squares.append((moved**2).sum(1).mean() / 3)
    assert math.sqrt(np.mean(squares)) == pytest.approx(MARGIN, rel=0.1)


def _recorded(own: Look, drawn: Drawn, place: int, noise: Noise) -> Look:
    """The look at a recording with the same numbers: what is not on the letters is one token, or two."""
    rows = []
    for run in (drawn.before, drawn.after):
        logits = run.logits[place, : len(own.change.letters)].tolist()
        rest = run.rest[place] + float(np.logaddexp.reduce(logits))
        rows.append((logits, rest))
    a, b = (
        recording(row, engine=f"p-{side}", other=rest) for side, (row, rest) in zip("ab", rows, strict=True)
    )
    return look(
        change(a, b, noise, case=own.change.case, letters=own.change.letters, cluster=own.change.cluster)
    )


@pytest.mark.parametrize("name", ["another token as probable, 20%", "2, 4 and 6 letters together"])
def test_a_look_is_what_a_recording_gives(name: str) -> None:
    drawn = _drawn(EVERY[name], 80)
    sample = sample_of(drawn)
    told = 0
    for place, own in enumerate(sample.looks):
        recorded = _recorded(own, drawn, place, sample.noise)
        assert own.answers == recorded.answers
        assert (own.right, own.flip) == (recorded.right, recorded.flip)
        assert own.raw == pytest.approx(recorded.raw)
        for mine, theirs in (
            (own.baseline, recorded.baseline),
            (own.difference, recorded.difference),
            ((own.largest, own.gap), (recorded.largest, recorded.gap)),
        ):
            assert mine == pytest.approx(theirs, abs=1e-9)
        assert own.rest is not None
        assert recorded.rest is not None
        assert own.rest[1].low == pytest.approx(recorded.rest[1].low, abs=1e-6)
        if not math.isnan(own.others[0]):
            told += 1
            assert own.others == pytest.approx(recorded.others)
    assert told == 0 or OTHER in {answer for one in sample.looks for answer in one.answers}
