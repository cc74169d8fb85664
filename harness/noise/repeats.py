"""The same question twice in the same setting: is what differs the dtype's own step, or more?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from harness.cases.profiles import Profile
from harness.checks.log_odds import RESOLUTION, difference, largest
from harness.noise.runs import Runs
from harness.noise.store import Sample
from harness.noise.variants import REPEAT
from harness.verdicts.noise_floor import UNDISTURBED, NoiseFloor, Repeats
from harness.verdicts.noise_model import dtype_step

__all__ = ["allowed_between", "not_deterministic", "repeats_of", "repeats_words"]

_SUMS: Final = 36
"""Steps of float32 by which sums in another order move a logit.

Sums of n products in two orders differ by about √n units of rounding, which are half a step (Higham and Mary,
2019, doi:10.1137/18M1226312), n being the width of a model over the lanes of a vector unit, each of which
adds by itself. For 16,384 over 16 the root mean square is 9 steps (tests/noise/test_repeats.py), and
four times that is what one of many cases may show.
"""


class _Repeat(NamedTuple):
    case: str
    of: str  # a scalar's name, '' for the letters
    difference: float
    allowed: float


def allowed_between(dtype: str, size: float, *, letters: int) -> float:
    """How far a centred log-odd of ``letters`` may move between two answers to the same question, in nats.

    Each logit, of up to ``size``, may be rounded to its other neighbour: one goes up by a step while all
    others go down, and centring leaves 2 (L - 1) / L steps of that. Whatever the dtype is, sums are made in
    float32, and may be made in another order.
    """
    return 2 * (letters - 1) / letters * dtype_step(dtype, size) + _SUMS * dtype_step("float32", size)


def repeats_of(runs: Runs, asked: Mapping[str, str], *, dtype: str) -> Repeats | None:
    """The answers of the run `REPEAT` beside the undisturbed ones, path by path; None without any.

    ``asked`` has what each case asks, by its name; ``dtype`` is what the engine computed in.
    """
    known: dict[str, list[_Repeat]] = {}
    for case, question in asked.items():
        for before in runs.samples(UNDISTURBED, question) or ():
            for after in runs.samples(REPEAT, question) or ():
                if before.path == after.path and not math.isnan(before.size):
                    known.setdefault(case, []).extend(_compared(case, before, after, dtype))
    every = [one for own in known.values() for one in own]
    if not every:
        return None
    # What a small share allows is no step of a dtype, so it is told only where it is too much.
    told = [one for one in every if one.difference > one.allowed] or [one for one in every if not one.of]
    worst = max(told or every, key=lambda one: one.difference / one.allowed)
    return Repeats(
        cases=len(known),
        differ=sum(any(one.difference for one in own) for own in known.values()),
        beyond=sum(any(one.difference > one.allowed for one in own) for own in known.values()),
        difference=worst.difference,
        allowed=worst.allowed,
        case=worst.case,
    )


def _compared(case: str, before: Sample, after: Sample, dtype: str) -> Iterator[_Repeat]:
    size, letters = max(before.size, after.size), len(before.log_odds)
    if (far := largest(difference(before.log_odds, after.log_odds))) is not None:
        yield _Repeat(case, "", far, allowed_between(dtype, size, letters=letters))
    for name in before.scalars.keys() & after.scalars.keys():
        a, b = before.scalars[name], after.scalars[name]
        # Letters may go one way and all else the other; and a small share is not well known.
        share = 1 / (1 + math.exp(min(max(abs(a), abs(b)), 700.0)))
        most = 2 * dtype_step(dtype, size) + _SUMS * dtype_step("float32", size) + RESOLUTION / share
        yield _Repeat(case, name, abs(b - a), most)


def repeats_words(repeats: Repeats | None) -> str:
    """One line on ``repeats`` that are noise, and how large they are."""
    if repeats is None:
        return "no question was asked twice, so whether it is deterministic is not known"
    told = f"the same question twice, in {repeats.cases} cases: "
    if not repeats.differ:
        return f"{told}equal to the last digit"
    return (
        f"{told}{repeats.differ} differ, by up to {repeats.difference:.2g} ({repeats.case}; the dtype's own "
        f"step at its logits' size: {repeats.allowed:.2g})"
    )


def not_deterministic(floor: NoiseFloor, profile: Profile) -> str:
    """Why a floor is not used; '' where its engine is deterministic, as far as is known, or need not be."""
    repeats = floor.repeats
    allowed = any(e.name == floor.engine and e.nondeterminism == "allow" for e in profile.engines)
    if repeats is None or not repeats.beyond or allowed:
        return ""
    return (
        f"not deterministic: the same question twice differs by {repeats.difference:.2g} ({repeats.case}; "
        f"allowed: {repeats.allowed:.2g}, the dtype's own step at its logits' size), and by too "
        f"much in {repeats.beyond} of {repeats.cases} cases; so its noise floor is not used; "
        "`nondeterminism: allow` of the engine takes it for noise"
    )
