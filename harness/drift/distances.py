"""Two traces of one case side by side: how far apart they are at each stage.

Shapes: R rows of a stage, k signed sums of each.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from harness.engines.taps.sketches import Sketch, Trace
from harness.engines.taps.stages import ANSWERS, in_order, of_picture, residual

__all__ = [
    "Distance", "Pooled", "alike", "apart", "asked_alike", "distances", "first_rows", "gap_of_letters",
    "ids_of", "largest", "together",
]  # fmt: skip

_Floats = npt.NDArray[np.floating[Any]]

_LEAST_SHARE = 0.1
"""Rows of small norm are measured against this share of the median, or they would lead all others."""
_NONE = 1e-12


class Distance(NamedTuple):
    """How far apart a stage is, relative to the baseline's: ``whole``, and ``worst`` of its rows.

    ``row`` is the worst row's index, -1 where none leads. Infinite where the stage's shape or a value that
    has to be equal is another, or a value is not finite. ``rows`` is their number. ``along`` is the share by
    which it is too long in its own direction: rounding has none, and averages out there.
    """

    whole: float
    worst: float
    row: int = -1
    rows: int = 0
    along: float = 0.0

    @property
    def comparable(self) -> bool:
        """Whether it is a number."""
        return math.isfinite(self.whole)


def apart(a: Sketch, b: Sketch, *, base: Sketch | None = None) -> Distance:
    """How far ``b`` is from ``a``.

    ``base`` is what the stage was given and added to: the distance is then relative to what it adds, in which
    an error does not hide behind a large residual.
    """
    if a.exact is not None or b.exact is not None:
        same = a.exact is not None and b.exact is not None and np.array_equal(a.exact, b.exact)
        return Distance(0.0, 0.0) if same else _exactly(a, b)
    if not (a.finite and b.finite) or a.sums.shape[1:] != b.sums.shape[1:]:
        return Distance(math.inf, math.inf)
    count = min(len(a.norms), len(b.norms))
    if count == 0 or (len(a.norms) != len(b.norms) and len(a.shape) != 2):
        return Distance(math.inf, math.inf)
    # Sequences of unlike length are laid end to end: what follows is the same.
    ours, theirs = a.sums[-count:].astype(np.float64), b.sums[-count:].astype(np.float64)
    off, held = theirs - ours, ours
    lengths = _lengths(off)
    norms: _Floats = a.norms[-count:].astype(np.float64)
    if base is not None and base.sums.shape == a.sums.shape:
        held = ours - base.sums[-count:].astype(np.float64)
        norms = _lengths(held)
    floor = max(_NONE, _LEAST_SHARE * float(np.median(norms)))
    relative = lengths / np.maximum(norms, floor)
    row = int(relative.argmax())
    whole = float(np.sqrt((lengths**2).sum()) / max(_NONE, float(np.sqrt((norms**2).sum()))))
    along = float((off * held).sum() / max(_NONE, float((held**2).sum())))
    return Distance(whole, float(relative[row]), row, count, along)


def distances(a: Trace, b: Trace, *, local: bool = False) -> dict[str, Distance]:
    """The distance at each stage that both have, in order.

    With ``local`` the second is of a pass that was given the first's states everywhere, so that each stage is
    measured by what itself makes of the same, relative to what it adds.
    """
    found = {}
    for stage in in_order(a.stages.keys() & b.stages.keys()):
        base = residual(stage) if local else None
        if base == "inputs" and base not in a.stages:
            base = "tokens"
        found[stage] = apart(a.stages[stage], b.stages[stage], base=a.stages.get(base) if base else None)
    return found


def asked_alike(found: Mapping[str, Distance]) -> bool:
    """Whether two passes were of one question and of one shape, so that states of one fit into the other."""
    return all(each.comparable for stage, each in found.items() if stage not in ANSWERS)


def alike(a: Trace, b: Trace, prompt: int) -> tuple[Trace, Trace]:
    """Both traces without the rows behind the first generated id in which they differ: another question.

    ``prompt`` is the length of the prompt, which is left to be compared whole.
    """
    ours, theirs = ids_of(a), ids_of(b)
    if not ours or ours[:prompt] != theirs[:prompt]:
        return a, b
    behind = list(zip(ours[prompt:], theirs[prompt:], strict=False))
    same = next((i for i, (x, y) in enumerate(behind) if x != y), len(behind))
    return first_rows(a, prompt + same, same + 1), first_rows(b, prompt + same, same + 1)


def ids_of(trace: Trace) -> list[int]:
    """The token ids of a pass, [] where they are not told."""
    held = trace.stages.get("ids")
    return [] if held is None or held.exact is None else [int(each) for each in held.exact]


def first_rows(trace: Trace, tokens: int, rows: int) -> Trace:
    """The first ``tokens`` rows of each stage of the language model and ``rows`` of the answer's."""
    stages = {
        stage: sketch if of_picture(stage) else _first(sketch, rows if stage in ANSWERS else tokens)
        for stage, sketch in trace.stages.items()
    }
    return Trace(stages=stages, told=trace.told, error=trace.error)


def gap_of_letters(a: Mapping[str, Any], b: Mapping[str, Any]) -> float | None:
    """The largest difference between two passes' log-probabilities of the letters.

    None where one has none.
    """
    ours, theirs = a.get("letters"), b.get("letters")
    if not ours or not theirs or len(ours) != len(theirs):
        return None
    return float(max(abs(x - y) for x, y in zip(ours, theirs, strict=True)))


def _first(sketch: Sketch, count: int) -> Sketch:
    if sketch.exact is not None:
        return Sketch(sketch.shape, exact=sketch.exact[:count])
    return Sketch(
        (count, *sketch.shape[1:]), norms=sketch.norms[:count], sums=sketch.sums[:count], finite=sketch.finite
    )


def _exactly(a: Sketch, b: Sketch) -> Distance:
    if a.exact is None or b.exact is None or a.exact.shape != b.exact.shape:
        return Distance(math.inf, math.inf)
    return Distance(math.inf, math.inf, int(np.flatnonzero(a.exact != b.exact)[0]), a.exact.size)


def _lengths(sums: _Floats) -> _Floats:
    """The norms [R] of rows by their signed sums [R, k]."""
    lengths: _Floats = np.sqrt((sums**2).mean(axis=1)) if sums.size else np.zeros(len(sums))
    return lengths


def largest(found: Iterable[Mapping[str, Distance]]) -> dict[str, tuple[float, float]]:
    """The largest ``whole`` and ``worst`` at each stage, of those that are numbers."""
    most: dict[str, tuple[float, float]] = {}
    for each in found:
        for stage, distance in each.items():
            if distance.comparable:
                whole, worst = most.get(stage, (0.0, 0.0))
                most[stage] = (max(whole, distance.whole), max(worst, distance.worst))
    return most


class Pooled(NamedTuple):
    """A stage over several ``cases``: the root mean square of ``whole``, the mean and that of ``along``."""

    whole: float
    along: float
    spread: float
    cases: int


def together(found: Sequence[Mapping[str, Distance]]) -> dict[str, Pooled]:
    """Several cases taken together, at each stage, of those distances that are numbers."""
    pooled = {}
    for stage in {stage for each in found for stage in each}:
        held = [each[stage] for each in found if stage in each and each[stage].comparable]
        if count := len(held):
            whole = math.sqrt(sum(each.whole**2 for each in held) / count)
            spread = math.sqrt(sum(each.along**2 for each in held) / count)
            pooled[stage] = Pooled(whole, sum(each.along for each in held) / count, spread, count)
    return pooled
