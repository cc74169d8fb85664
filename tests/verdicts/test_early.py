"""Looks before all cases are asked: their number, their shares, and what one decides."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from harness.verdicts.evidence import look_sizes, share_of
from harness.verdicts.judging import judge
from harness.verdicts.rules import ALPHA
from harness.verdicts.verdict import ComparisonVerdict
from tests.verdicts.changes import Floats, floor_of, noise_of, suite_changes

Share = Callable[[int, bool], float]


@pytest.mark.parametrize(
    ("groups", "batch", "sizes"),
    [
        ([1] * 40, 1, (8, 16, 32, 40)),
        ([1] * 40, 16, (16, 32, 40)),
        ([5] * 20, 1, (10, 20, 40, 80, 100)),  # images stay whole
        ([5] * 20, 8, (10, 25, 60, 100)),
        ([1] * 5, 1, (5,)),
        ([], 1, ()),
    ],
)
def test_looks_double_and_the_last_one_is_at_all_cases(
    groups: list[int], batch: int, sizes: tuple[int, ...]
) -> None:
    assert look_sizes(groups, batch=batch) == sizes


def test_all_looks_that_there_can_ever_be_have_no_more_than_alpha() -> None:
    way, last = (sum(share_of(k, last=kind) for k in range(1000)) for kind in (False, True))
    assert way + last == pytest.approx(ALPHA)
    assert share_of(0, last=True) > 0.4 * ALPHA  # most of what one look would have


def _alarms(share: Share) -> float:
    """How often a sum of normal numbers is called other than 0 at any look: up to 1,000 of them, and more."""
    sizes = [*look_sizes([1] * 1000, batch=1), 2000, 4000]
    levels = [share(k, False) for k in range(len(sizes) - 3)] + [share(k, True) for k in range(3)]
    draws = np.random.default_rng(5).normal(size=(20_000, len(sizes)))
    steps = np.sqrt(np.diff([0, *sizes]))
    z = (draws * steps).cumsum(1) / np.sqrt(sizes)
    return float((2 * stats.norm.sf(np.abs(z)) <= levels).any(1).mean())


def test_peeking_with_all_of_alpha_alarms_too_often_and_sharing_it_does_not() -> None:
    assert _alarms(lambda k, last: share_of(k, last=last)) < ALPHA
    assert _alarms(lambda *_: ALPHA) > 3 * ALPHA


def _judged(moved: Floats, *, strict: bool = False) -> ComparisonVerdict:
    """What is said where the right letter of each case moved up by so much, beyond a noise of 0.02."""
    rng = np.random.default_rng(0)
    truth = np.tile([6.0, 2.0, 1.0, 0.0], (len(moved), 1))
    noisy = [truth + rng.normal(0, 0.02, truth.shape) for _ in range(5)]
    noise = noise_of(floor_of(truth, noisy[:3]))
    after = noisy[4] + np.outer(moved * 4 / 3, [1, 0, 0, 0])  # centring takes a part of it
    changes = suite_changes(noisy[3], after, noise)
    return judge(changes, baseline="a", candidate="b", budgets={}, margin=0.1, noise=noise, strict=strict)


def test_a_few_loud_cases_decide_nothing_of_those_not_asked() -> None:
    """Their root mean square is beyond the margin, yet chance may have put them among the first."""
    moved = np.zeros(16)
    moved[:3] = 0.45
    few, all_of_them = _judged(moved), _judged(np.full(16, 0.45))
    assert few.whole is not None
    assert few.whole.log_odds is not None
    assert few.whole.log_odds.low > 0.1
    assert int(few.status) == int(all_of_them.status) == 1
    assert not few.settled
    assert all_of_them.settled
    assert _judged(moved, strict=True).settled


def test_what_can_be_taken_back_by_no_case_is_decided() -> None:
    one = np.zeros(16)
    one[0] = 0.8  # over five margins
    assert _judged(one).settled
    assert not _judged(np.zeros(16)).settled
    assert math.isclose(_judged(one).whole.shown.largest, 8, rel_tol=0.1)  # type: ignore[union-attr]
