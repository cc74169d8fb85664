"""How loud one floor's noise is: σ of a case, its freedom and the tail, against laws that are known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from harness.verdicts.scale import Floats, Scale, scale_of

SIGMA = 0.05


def _moves(rng: np.random.Generator, runs: int, cases: int, *, tail: float = math.inf) -> Floats:
    """Centred moves [K, n, 4] of noise with the standard deviation `SIGMA` of one letter."""
    shape = (runs, cases, 4)
    if tail == math.inf:
        raw = rng.normal(size=shape)
    else:
        raw = rng.standard_t(tail, shape) / math.sqrt(tail / (tail - 2))
    moved: Floats = SIGMA * (raw - raw.mean(-1, keepdims=True))
    return moved


def _scale(moves: Floats, *, shared: bool = False, least: float = 1e-14) -> Scale:
    count = moves.shape[1]
    return scale_of(
        tuple(f"run-{k}" for k in range(len(moves))),
        moves,
        centred=True,
        least=np.full(count, least),
        shared=np.full(count, shared),
    )


@pytest.mark.parametrize("runs", [1, 3, 9])
def test_sigma_is_that_of_the_noise(runs: int) -> None:
    scale = _scale(_moves(np.random.default_rng(1), runs, 400))
    assert float(scale.variance.mean()) == pytest.approx(SIGMA**2, rel=0.1)
    assert math.sqrt(scale.typical) == pytest.approx(SIGMA, rel=0.1)


def test_alike_cases_know_their_sigma_together_and_unlike_ones_do_not() -> None:
    rng = np.random.default_rng(2)
    alike = _moves(rng, 1, 400)
    unlike = alike * np.exp(0.8 * rng.normal(size=(1, 400, 1)))
    assert _scale(alike).prior == 60  # the most that it may be
    assert _scale(unlike).prior < 4
    few = _scale(alike[:, :5])
    assert 10 < few.prior < 60  # about as much as four runs of three degrees of freedom


def test_what_is_measured_from_a_run_is_the_distance_of_two() -> None:
    rng = np.random.default_rng(3)
    runs = _moves(rng, 10, 400)
    apart = _scale(runs[1:] - runs[:1], shared=True)
    assert float(apart.variance.mean()) == pytest.approx(SIGMA**2, rel=0.1)
    # Nine runs that share one count as three.
    alone = _scale(runs[1:])
    assert float(apart.known[0] - apart.prior) == pytest.approx((alone.known[0] - alone.prior) / 3)


def test_no_sigma_is_less_than_the_least_and_what_was_added_is_known() -> None:
    scale = _scale(np.zeros((2, 6, 4)), least=1e-6)
    assert scale.variance == pytest.approx(1e-6)
    assert scale.lifted == pytest.approx(1e-6)
    assert np.isfinite(scale.kurtosis)


def test_a_run_is_no_part_of_the_sigma_that_it_is_looked_at_with() -> None:
    moves = _moves(np.random.default_rng(4), 3, 60)
    moves[1, 7] *= 20
    scale = _scale(moves)
    assert scale.without[1, 7] < scale.variance[7] / 10
    assert scale.without[0, 7] > scale.without[1, 7]


def test_heavy_tails_are_seen_and_few_values_are_not_trusted() -> None:
    rng = np.random.default_rng(5)
    light, heavy = (_scale(_moves(rng, 9, 300, tail=tail)).kurtosis for tail in (math.inf, 4.5))
    assert light < 0.1
    assert heavy > 0.8
    assert _scale(_moves(rng, 1, 3)).kurtosis > 1.5


def test_letters_that_were_not_seen_take_no_degree_of_freedom() -> None:
    moves = _moves(np.random.default_rng(6), 2, 5)
    moves[0, 0] = np.nan
    moves[:, 1, 3] = np.nan
    scale = _scale(moves)
    assert scale.free[:, 0].tolist() == [0, 3]
    assert scale.free[:, 1].tolist() == [2, 2]
    assert np.isfinite(scale.variance).all()
