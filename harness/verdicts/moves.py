"""What a comparison's cases show, as arrays: how far each moved, and how probable noise makes that."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.checks.log_odds import REST, mean_square, share_of
from harness.verdicts.case_judging import OTHER, Look
from harness.verdicts.flips import NEAR, NEVER, flip_chances
from harness.verdicts.noise_model import LETTERS, CaseKey, KindNoise, Noise
from harness.verdicts.scale import Floats
from harness.verdicts.verdict import Flip

__all__ = ["Moves", "limits_at", "moves_of"]

Index = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Moves:
    """n cases; NaN is what is not known of one.

    ``judged`` [n] have log-odds on both sides, ``broken`` a side alone that reached the letter. ``cluster``
    [n] numbers those that share an image. ``square`` [n] is the mean square of the letters' moves over
    ``free`` degrees of freedom, ``unit`` the standard deviation of a centred letter's noise in units of σ,
    ``far`` the largest move (the least that it can be), ``expected`` that of the expected letter. ``rest``
    is the least move of the scalar of this name, ``rest_low`` and ``rest_high`` the share of the
    probability outside the letters that can have moved least and most. ``p_letters`` and ``p`` are the
    probabilities that noise moves the letters, and anything, as far. ``flipped``, ``lost`` and ``gained`` are
    0 or 1, ``by_rest`` whether the flip is to or from another token. ``chance`` is the probability of a flip
    by noise. ``noise`` and ``rest_noise`` are arrays over the same cases.
    """

    looks: Sequence[Look]
    judged: npt.NDArray[np.bool_]
    broken: npt.NDArray[np.bool_]
    cluster: Index
    square: Floats
    free: Floats
    unit: Floats
    far: Floats
    expected: Floats
    place: Index
    rest: Floats
    rest_low: Floats
    rest_high: Floats
    rest_slope: Floats
    p_letters: Floats
    p: Floats
    flipped: Floats
    lost: Floats
    gained: Floats
    by_rest: npt.NDArray[np.bool_]
    chance: Floats
    noise: KindNoise
    rest_noise: KindNoise
    ranked: tuple[Floats, Floats, Floats]

    @property
    def counted(self) -> Index:
        """The places of cases that say something."""
        return np.flatnonzero(self.judged | self.broken)

    def chances(self, index: Index, loudness: float) -> Floats:
        """Of those cases, the probability of a flip where noise is ``loudness`` times as loud as it seems."""
        before, after, reference = (values[index] for values in self.ranked)
        variances = self.noise.variances[:, index] * loudness**2
        return flip_chances(before, after, reference, variances, self.noise.freedom_of_side[index])


def moves_of(looks: Sequence[Look], noise: Noise) -> Moves:
    """The arrays of ``looks``."""
    keys = [_key(look) for look in looks]
    kinds = noise.over(keys)
    letters, rests = kinds[LETTERS], kinds[REST]
    judged = np.array([look.judged for look in looks], dtype=bool)
    clusters = {name: place for place, name in enumerate(dict.fromkeys(k.change.cluster for k in looks))}
    free = np.array([_seen(look) - 1 if look.judged else 1 for look in looks], dtype=float)
    unit = np.sqrt(free / (free + 1))
    far = np.array([max(look.largest or 0.0, look.unseen) if look.judged else math.nan for look in looks])
    rest_low, rest_high = _rest_moves(looks)
    least = np.where(rest_low > 0, rest_low, np.where(rest_high < 0, rest_high, 0.0))
    rest = np.where(np.isnan(rest_low), np.nan, least)
    shares = np.array([_shares(look) for look in looks]).reshape(len(looks), 4)
    p_letters = _p(far / (np.sqrt(letters.variance) * unit), letters.freedom, count=free + 1)
    p_rest = _p(np.abs(rest) / np.sqrt(rests.variance), rests.freedom, count=np.ones(len(looks)))
    if letters.table:
        p_letters = np.where(far <= letters.table, 1.0, p_letters)
    if rests.table:
        p_rest = np.where(np.abs(rest) <= rests.table, 1.0, p_rest)
    both = np.minimum(1.0, 2 * np.minimum(p_letters, p_rest))
    p = np.where(np.isnan(rest), p_letters, both)
    broken = np.array([look.broken for look in looks], dtype=bool)
    p = np.where(broken, 0.0, np.where(judged, p, 1.0))
    ranked = _ranked(looks, noise, np.sqrt(letters.variance))
    chance = np.zeros(len(looks))
    known = np.flatnonzero(judged)
    if known.size:
        values = [array[known] for array in ranked]
        chance[known] = flip_chances(
            values[0], values[1], values[2], letters.variances[:, known], letters.freedom_of_side[known]
        )
    by_rest = np.array([OTHER in look.answers for look in looks], dtype=bool)
    # What became another token moved no letter, and where there was next to nothing outside the letters, how
    # far that moved is known too badly: it is as improbable as the flip.
    p = np.where(by_rest & judged, np.minimum(p, chance), p)
    return Moves(
        looks=looks,
        judged=judged,
        broken=broken,
        cluster=np.array([clusters[look.change.cluster] for look in looks], dtype=np.int64),
        square=np.array([mean_square(look.difference) if look.judged else math.nan for look in looks]),
        free=free,
        unit=unit,
        far=far,
        expected=np.array([look.expected_move if look.judged else math.nan for look in looks]),
        place=np.array([k.change.letters.index(k.change.expect) for k in looks], dtype=np.int64),
        rest=rest,
        rest_low=shares[:, 0],
        rest_high=shares[:, 1],
        rest_slope=np.maximum(shares[:, 2], shares[:, 3]),
        p_letters=np.where(judged, p_letters, 1.0),
        p=p,
        flipped=np.array([look.flip is not None for look in looks], dtype=float),
        lost=np.array([look.flip is Flip.LOST for look in looks], dtype=float),
        gained=np.array([look.flip is Flip.GAINED for look in looks], dtype=float),
        by_rest=by_rest,
        chance=chance,
        noise=letters,
        rest_noise=rests,
        ranked=ranked,
    )


def limits_at(moves: Moves, p: float) -> tuple[Floats, Floats]:
    """How far [n] letters, and `REST`, may move before a case's probability is ``p``."""
    told = ~np.isnan(moves.rest)
    share = np.where(told, p / 2, p)
    count = np.where(moves.free > 1, moves.free + 1, 1.0)
    sigma = np.sqrt(moves.noise.variance) * moves.unit
    letters = _beyond(share / (2 * count), moves.noise.freedom) * sigma
    rests = _beyond(share / 2, moves.rest_noise.freedom) * np.sqrt(moves.rest_noise.variance)
    return np.maximum(letters, moves.noise.table), np.maximum(rests, moves.rest_noise.table)


def _key(look: Look) -> CaseKey:
    rests = [] if look.rest is None else [one.high for one in look.rest]
    rest = min(rests, key=lambda value: -abs(value), default=0.0)
    return CaseKey(look.change.case, look.change.asked, look.raw, rest)


def _seen(look: Look) -> int:
    return sum(not math.isnan(value) for value in look.difference)


def _rest_moves(looks: Sequence[Look]) -> tuple[Floats, Floats]:
    """The least and the most of the signed move of `REST` [n]."""
    low, high = [], []
    for look in looks:
        if look.rest is None or not look.judged:
            low.append(math.nan)
            high.append(math.nan)
        else:
            before, after = look.rest
            low.append(after.low - before.high)
            high.append(after.high - before.low)
    return np.array(low), np.array(high)


def _shares(look: Look) -> tuple[float, float, float, float]:
    """The least and most that the probability outside the letters moved, and p (1 - p) on each side."""
    if look.rest is None or not look.judged:
        return (math.nan,) * 4
    (a, b), (c, d) = (tuple(share_of(end) for end in one) for one in look.rest)
    least = max(0.0, a - d, c - b)
    return least, max(abs(d - a), abs(b - c)), b * (1 - b), d * (1 - d)


def _p(values: Floats, freedom: Floats, *, count: Floats) -> Floats:
    """Of ``values`` in σ the two-sided p; Bonferroni over ``count`` letters, of which two are one."""
    from scipy import special

    finite = np.isfinite(freedom)
    tail = np.where(finite, special.stdtr(np.where(finite, freedom, 1.0), -values), special.ndtr(-values))
    found: Floats = np.minimum(1.0, 2 * np.where(count > 2, count, 1.0) * tail)
    return found


def _beyond(shares: Floats, freedom: Floats) -> Floats:
    """What Student's t is above with these probabilities."""
    from scipy import special

    finite = np.isfinite(freedom)
    found: Floats = -np.where(
        finite, special.stdtrit(np.where(finite, freedom, 1.0), shares), special.ndtri(shares)
    )
    return found


def _ranked(looks: Sequence[Look], noise: Noise, sigma: Floats) -> tuple[Floats, Floats, Floats]:
    """What may be on top: both sides' letters and other token, and the reference's letters, [n, C] each.

    An other token that is far under the letters, for their ``sigma`` [n], is left out; near them it is no
    less than they are, whether it came to the top or not, and the reference does not tell of it.
    """
    width = 1 + max((len(look.change.letters) for look in looks), default=1)
    before, after, reference = (np.full((len(looks), width), NEVER) for _ in range(3))
    reference[:, 0] = np.nan
    for place, look in enumerate(looks):
        if not look.judged:
            continue
        letters = len(look.change.letters)
        a, b = np.array(look.baseline), np.array(look.candidate)
        seen = ~np.isnan(a) & ~np.isnan(b)
        before[place, :letters] = np.where(seen, a, NEVER)
        after[place, :letters] = np.where(seen, b, NEVER)
        told = _near(look, NEAR * float(sigma[place]))
        if told:
            before[place, -1], after[place, -1] = look.others
        known = noise.reference(look.change.case, look.change.asked)
        if known is not None and not told and bool(seen.all()) and len(known) == letters:
            reference[place, :letters] = known
    return before, after, reference


def _near(look: Look, far: float) -> bool:
    """Whether another token is less than ``far`` under the best letter on a side."""
    sides = zip(look.others, (look.baseline, look.candidate), strict=True)
    return any(other > max(v for v in letters if not math.isnan(v)) - far for other, letters in sides)
