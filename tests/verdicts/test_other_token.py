"""Another token that is about as probable as the best letter flips answers as a letter does."""

from __future__ import annotations

import numpy as np

from harness.verdicts.case_judging import OTHER, look
from harness.verdicts.moves import Moves, moves_of
from tests.verdicts.changes import change, floor_of, noise_of, recording

SIGMA, CASES = 0.024, 150


def _moves(*, gap: float) -> Moves:
    """Cases whose best other token is ``gap`` σ under the best letter, on average."""
    rng = np.random.default_rng(3)
    truth = rng.normal(0, 3, (CASES, 4))
    truth[:, 0] += 8
    others = truth.max(1) - gap * SIGMA

    def run() -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        return np.column_stack([truth, others]) + rng.normal(0, SIGMA, (CASES, 5))

    noise = noise_of(floor_of(truth, [run()[:, :4] for _ in range(9)]))
    sides = zip(run(), run(), strict=True)
    looks = [
        look(
            change(
                recording(old[:4].tolist(), engine="p-a", other=float(old[4])),
                recording(new[:4].tolist(), engine="p-b", other=float(new[4])),
                noise,
                case=f"s.c{place}",
            )
        )
        for place, (old, new) in enumerate(sides)
    ]
    return moves_of(looks, noise)


def test_what_noise_flips_to_another_token_is_expected() -> None:
    moves = _moves(gap=0.0)
    flips = int(moves.flipped.sum())
    assert flips > 20
    assert flips <= moves.chance.sum() + 3 * np.sqrt(flips)
    # Those that did not flip had as good a chance to.
    told = [not np.isnan(look.others).any() for look in moves.looks]
    assert moves.chance[told & (moves.flipped == 0)].mean() > 0.2
    # From another token no flip starts: the letters beside it are far apart.
    assert not all(told)
    assert moves.chance[np.invert(told)].max() < 0.01


def test_another_token_far_below_takes_nothing_from_the_reference() -> None:
    moves = _moves(gap=40.0)
    assert not any(OTHER in look.answers for look in moves.looks)
    assert not np.isnan(moves.ranked[2][:, 0]).any()
    assert moves.chance.max() < 0.01
