"""A comparison as the judge sees it, made of bare numbers: what replays and simulations have in common.

Recordings are left out: a case's `Look` is made as `harness.verdicts.case_judging.look` makes it of one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.calibration.worlds import Drawn, Measured
from harness.checks.agreement import Agreement
from harness.checks.intervals import Interval
from harness.checks.log_odds import REST
from harness.checks.side import Side
from harness.engines.contract import Answer, Reading
from harness.verdicts.case_judging import OTHER, Look
from harness.verdicts.judging import judge_looks
from harness.verdicts.noise_floor import CaseNoise, NoiseFloor, ScalarNoise
from harness.verdicts.noise_model import Noise
from harness.verdicts.verdict import Change, ComparisonVerdict, Flip

__all__ = ["LETTERS", "MARGIN", "SUITE", "Sample", "floor_of", "sample_of"]

Floats = npt.NDArray[np.float64]

LETTERS, SUITE = "ABCDEFGH", "replay"
MARGIN = 0.1
_ASKED, _TABLE = "asked", 0.4


@dataclass(frozen=True, kw_only=True)
class Sample:
    """The ``looks`` at all cases of a comparison, and the ``noise`` between its sides."""

    looks: tuple[Look, ...]
    noise: Noise

    def judged(self, *, margin: float = MARGIN) -> ComparisonVerdict:
        """The judge's verdict."""
        return judge_looks(
            self.looks, baseline="a", candidate="b", budgets={}, margin=margin, noise=self.noise
        )


def sample_of(drawn: Drawn, *, expect: npt.NDArray[np.int64] | None = None) -> Sample:
    """What the judge is given of ``drawn``; ``expect`` [n] are the expected letters' places, 0 for None."""
    floors = [floor_of(measured) for measured in drawn.floors]
    if drawn.floors[0] is drawn.floors[1]:
        floors[1] = floors[0]
    noise = Noise(floors[0], floors[1], dtypes=(floors[0].dtype, floors[1].dtype), table=_TABLE)
    places = np.zeros(len(drawn.clusters), dtype=np.int64) if expect is None else expect
    return Sample(looks=_looks(drawn, places), noise=noise)


def floor_of(measured: Measured) -> NoiseFloor:
    """The floor of cases called as those of a `sample_of`; without scalars where the rest is not known."""
    reference, runs = _rows(_centred(measured.reference.logits)), measured.runs
    rows = {name: _rows(_centred(run.logits)) for name, run in runs.items()}
    rests = {name: run.rest.tolist() for name, run in runs.items()}
    names, cases = tuple(runs), {}
    for place, rest in enumerate(measured.reference.rest.tolist()):
        scalar = ScalarNoise(reference=rest, runs={name: rests[name][place] for name in names})
        cases[_name(place)] = CaseNoise(
            asked=_ASKED,
            reference=reference[place],
            runs={name: rows[name][place] for name in names},
            scalars={} if math.isnan(rest) else {REST: scalar},
        )
    return NoiseFloor(
        profile="calibration",
        engine="simulated",
        dtype=measured.dtype,
        device="CPU",
        made="",
        fingerprint={},
        cases=cases,
        full={},
    )


def _looks(drawn: Drawn, expect: npt.NDArray[np.int64]) -> tuple[Look, ...]:
    a, b = drawn.before, drawn.after
    before, after, moved = _centred(a.logits), _centred(b.logits), _centred(b.logits - a.logits)
    letters = np.isfinite(a.logits).sum(1)
    tops = [np.nanargmax(run.logits, 1) for run in (a, b)]
    by_other = [run.other > np.nanmax(run.logits, 1) for run in (a, b)]
    told = ~by_other[0] & np.isfinite(a.other)
    two = np.sort(np.where(np.isnan(a.logits), -np.inf, a.logits), 1)
    columns = zip(
        _rows(before),
        _rows(after),
        _rows(moved),
        np.nanmax(np.abs(moved), 1).tolist(),
        *(top.tolist() for top in tops),
        # Where the baseline's top token is none of the letters, the top letters count.
        (by_other[1] & ~by_other[0]).tolist(),
        *(np.where(told, run.other - np.nanmean(run.logits, 1), np.nan).tolist() for run in (a, b)),
        a.rest.tolist(),
        b.rest.tolist(),
        np.fmax(np.nanmax(np.abs(a.logits), 1), np.nanmax(np.abs(b.logits), 1)).tolist(),
        (two[:, -1] - two[:, -2]).tolist(),
        letters.tolist(),
        expect.tolist(),
        drawn.clusters.tolist(),
        strict=True,
    )
    return tuple(_look(place, *column) for place, column in enumerate(columns))


def _look(
    place: int,
    before: tuple[float, ...],
    after: tuple[float, ...],
    moved: tuple[float, ...],
    largest: float,
    top: int,
    new_top: int,
    left: bool,
    other: float,
    new_other: float,
    rest: float,
    new_rest: float,
    raw: float,
    gap: float,
    letters: int,
    expect: int,
    cluster: int,
) -> Look:
    answers = (LETTERS[top], OTHER if left else LETTERS[new_top])
    right = (top == expect, not left and new_top == expect)
    flip = None
    if answers[0] != answers[1]:
        flip = Flip.LOST if right[0] else Flip.GAINED if right[1] else Flip.NEUTRAL
    name = _name(place)
    return Look(
        change=Change(
            case=name,
            suite=SUITE,
            place=name,
            letters=tuple(LETTERS[:letters]),
            expect=LETTERS[expect],
            cluster=str(cluster),
            agreement=_ANSWERED,
            asked=_ASKED,
        ),
        baseline=before,
        candidate=after,
        difference=moved,
        largest=largest,
        answers=answers,
        others=(other, new_other),
        right=right,
        gap=gap,
        flip=flip,
        unseen=0.0,
        open=0.0,
        rest=None if math.isnan(rest) else (Interval(rest, rest), Interval(new_rest, new_rest)),
        raw=raw,
        undecided="",
        broken=False,
    )


def _name(place: int) -> str:
    return f"{SUITE}.c{place}"


def _centred(logits: Floats) -> Floats:
    found: Floats = logits - np.nanmean(logits, 1, keepdims=True)
    return found


def _rows(values: Floats) -> list[tuple[float, ...]]:
    """The rows without the letters that are not on offer."""
    if not np.isnan(values).any():
        return [tuple(row) for row in values.tolist()]
    return [tuple(value for value in row if not math.isnan(value)) for row in values.tolist()]


def _side(engine: str) -> Side:
    reading = Reading(path="forward", argmax=(0,), logprobs=(0.0,), letter_logits=(), log_z=0.0)
    answer = Answer(
        prompt_ids=(), generated_ids=(), text="", letter_ids=(), answer_step=0, readings=(reading,)
    )
    return Side(
        engine=engine, probabilities=(), intervals=(), spellings=(), top=None, gap=None, answer=answer
    )


_ANSWERED = Agreement(
    case="",
    letters=(),
    a=_side("a"),
    b=_side("b"),
    total_variation=None,
    worst=None,
    worst_letter=None,
    least=None,
    least_total_variation=None,
    full=None,
    generated=None,
    question=(),
)
"""Stands in each case for what a `Look` was made of: the judge asks only whether it is there."""
