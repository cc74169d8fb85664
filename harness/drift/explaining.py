"""From traces to a named stage: what `harness explain` says of one case."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from harness.checks.question.causes import Cause
from harness.drift.distances import (
    Distance,
    alike,
    asked_alike,
    distances,
    first_rows,
    gap_of_letters,
    ids_of,
)
from harness.drift.first_stage import LOCAL, PLAIN, Route, Start, beyond, first_stage, reading_fault
from harness.drift.grafting import Graft, follows
from harness.drift.kept import Kept
from harness.engines.contract import Json
from harness.engines.taps.sketches import Trace
from harness.engines.taps.stages import ANSWERS, named, of_picture, part_of

__all__ = ["Explained", "Row", "explain"]

_RESYNCED: Final = "B resynced"
_RECORDED: Final = 3.0
_STEPS: Final = 64.0
"""How far an answer on record may be from a pass: times the letters' noise, or steps of the dtype."""
_ON_RECORD: Final = "the answer on record"
_OR_COMPANY: Final = (
    ": it was read otherwise, or is another in the batch that it was made in, larger than those traced "
    "(`harness factors` asks without company)"
)
_RENDERED: Final = frozenset(
    cause.value
    for cause in (
        Cause.HEADER,
        Cause.IMAGE_MISSING,
        Cause.IMAGE_PLACE,
        Cause.PLACEHOLDER,
        Cause.QUESTION,
        Cause.SYSTEM_DROPPED,
        Cause.SYSTEM_OTHER,
        Cause.TEMPLATE,
        Cause.WHITE_SPACE,
    )
)
"""Causes for which ids differ because the text does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One stage: its distance on the plain pass and on the re-synchronised one, None where there is none.

    Each beside its limits for the whole and for the worst row.
    """

    stage: str
    plain: Distance | None
    plain_limits: tuple[float, float]
    local: Distance | None
    local_limits: tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """Where one case's difference begins.

    ``start`` is None where all is within noise, or where nothing within could be seen: then ``bracket`` says
    between what the difference lies. ``place`` is the worst token or patch of that stage. ``gap`` is the
    largest difference of the letters' log-probabilities on forced ids, None where a side has none. ``proven``
    is whether the grafts bear the start out, None where none tells.
    """

    case: str
    labels: tuple[str, str]
    letters: tuple[str, ...]
    dtype: str
    question: tuple[tuple[str, str, str], ...]
    answers: tuple[str, str]
    gap: float | None
    start: Start | None
    rows: tuple[Row, ...]
    grafts: tuple[Graft, ...]
    proven: bool | None
    bracket: str = ""
    place: str = ""
    notes: tuple[str, ...] = ()

    @property
    def stage(self) -> str | None:
        """The stage's name."""
        return None if self.start is None else self.start.stage

    @property
    def part(self) -> str | None:
        """The part of the model that it belongs to."""
        return None if self.start is None else part_of(self.start.stage)

    def to_json(self) -> dict[str, Json]:
        """All of it."""
        start = self.start
        return {
            "case": self.case,
            "sides": list(self.labels),
            "dtype": self.dtype,
            "stage": self.stage,
            "part": self.part,
            "words": None if start is None else named(start.stage),
            "born_there": None if start is None else start.born,
            "pass": None if start is None else start.route,
            "decoding_step": None if start is None else start.step,
            "why": "" if start is None else start.why,
            "also": [] if start is None else list(start.also),
            "worst_place": self.place,
            "letters_gap": self.gap,
            "question": [list(each) for each in self.question],
            "answers": list(self.answers),
            "proven": self.proven,
            "bracket": self.bracket,
            "notes": list(self.notes),
            "stages": [
                {
                    "stage": row.stage,
                    "plain": _figures(row.plain),
                    "plain_limits": list(row.plain_limits),
                    "resynced": _figures(row.local),
                    "resynced_limits": list(row.local_limits),
                }
                for row in self.rows
            ],
            "grafts": [
                {
                    "giver": one.giver,
                    "stages": list(one.stages),
                    "gap": one.gap,
                    "to_giver": one.to_giver,
                    "to_itself": one.to_itself,
                    "outcome": one.outcome,
                }
                for one in self.grafts
            ],
        }


def explain(kept: Kept) -> Explained:
    """Name the stage at which the difference begins, by the rule of `first_stage`; nothing is run."""
    a, b = kept.traces.get("A"), kept.traces.get("B")
    notes = [*_notes(kept)]
    if a is None or b is None:
        return _explained(kept, None, (), None, _bracket(kept), notes)
    routes = [*_routes(kept, a, b)]
    start = first_stage(routes, kept.noise, _reading(kept))
    if start is not None and _ON_RECORD in start.why:
        start = replace(start, born=False)  # its own passes were not traced
    if start is not None and start.route.endswith(" generation"):
        start = replace(start, step=_step(kept, a, start))
    if start is not None and start.stage in ("prepared", "pixels") and (order := _other_order(a, b, kept)):
        start = replace(start, stage="tiles", why=f"the tiles are in another order: {order}")
    if (
        start is not None
        and start.stage == "ids"
        and any(cause in _RENDERED for cause, _, _ in kept.question)
    ):
        start = replace(start, stage="rendered")
    if start is None and kept.question:
        # The question is seen by its own check too, which knows what no tensor shows.
        _, title, text = kept.question[0]
        start = Start(
            stage="rendered", route="", born=True, distance=None, limits=None, why=f"{title}: {text}"
        )
    plain, local = distances(a, b), routes[0].distances if routes[0].local else {}
    rows = tuple(
        Row(
            stage=stage,
            plain=plain.get(stage),
            plain_limits=kept.noise.limits(stage, local=False, times=PLAIN),
            local=local.get(stage),
            local_limits=kept.noise.limits(stage, local=True, times=LOCAL),
        )
        for stage in plain
    )
    return _explained(kept, start, rows, gap_of_letters(a.told, b.told), "", notes)


def _step(kept: Kept, a: Trace, start: Start) -> int | None:
    """The step of decoding at which a generation is furthest off; None where its prefill is off too."""
    prompt = len(ids_of(a)) - max(0, len(kept.wrote[0]) - 1)
    prefills = (first_rows(each, prompt, 1) for each in (a, kept.traces[start.route]))
    row = -1 if start.distance is None else start.distance.row
    first = 0 if start.stage in ANSWERS else prompt - 1  # the row that the prefill's answer is of
    if row <= first or beyond(Route(name=start.route, distances=distances(*prefills)), kept.noise):
        return None
    return row - first


def _other_order(a: Trace, b: Trace, kept: Kept) -> list[int]:
    """Which of A's tiles each of B's is, where they are the same in another order; [] where they are not."""
    ours, theirs = a.stages.get("pixels"), b.stages.get("pixels")
    if ours is None or theirs is None or ours.shape != theirs.shape or len(ours.shape) != 4:
        return []
    tiles = ours.shape[0]
    x, y = (each.sums.reshape(tiles, -1).astype(np.float64) for each in (ours, theirs))
    far = np.linalg.norm(y[:, None] - x[None], axis=2) / np.maximum(np.linalg.norm(x, axis=1), 1e-12)
    limit = kept.noise.limits("pixels", local=False, times=PLAIN)[0]
    order: list[int] = []
    for row in far:  # of tiles that are alike, such as blank ones, each is taken once
        left = [tile for tile in range(tiles) if tile not in order and row[tile] <= limit]
        if not left:
            return []
        order.append(left[int(np.argmin(row[left]))])
    return order if order != list(range(tiles)) else []


def _explained(
    kept: Kept,
    start: Start | None,
    rows: tuple[Row, ...],
    gap: float | None,
    bracket: str,
    notes: Sequence[str],
) -> Explained:
    return Explained(
        case=kept.case,
        labels=kept.labels,
        letters=kept.letters,
        dtype=kept.dtype,
        question=kept.question,
        answers=kept.answers,
        gap=gap,
        start=start,
        rows=rows,
        grafts=kept.grafts,
        proven=None if start is None else follows(kept.grafts, start.stage),
        bracket=bracket,
        place="" if start is None else _place(kept, start),
        notes=tuple(notes),
    )


def _routes(kept: Kept, a: Trace, b: Trace) -> Iterator[Route]:
    """The passes to be judged, in the order in which the rule asks."""
    plain = distances(a, b)
    if (resynced := kept.traces.get(_RESYNCED)) is not None and asked_alike(plain):
        yield Route(name=_RESYNCED, distances=distances(a, resynced, local=True), local=True)
    yield Route(name="alone", distances=plain, told=b.told)
    yield Route(name="A alone", distances={}, told=a.told)
    prompt = len(ids_of(a)) - max(0, len(kept.wrote[0]) - 1)
    for name, trace in _of_scores(kept):
        yield Route(name=name, distances=distances(*alike(a, trace, prompt)))


def _of_scores(kept: Kept) -> Iterator[tuple[str, Trace]]:
    """The passes that each side's own `score` made, in the order of time."""
    for name, trace in kept.traces.items():
        if name not in ("A", "B", _RESYNCED):
            yield name, trace


def _reading(kept: Kept) -> str:
    """What is wrong with what either side read of its own passes, or wrote; '' for nothing."""
    for name, trace in _of_scores(kept):
        if why := reading_fault(trace.told, kept.noise):
            return f"{name}: {why}"
        wrote = trace.told.get("generated")
        if name.endswith("stage two") and isinstance(wrote, list) and (ids := ids_of(trace)):
            given = ids[len(ids) - len(wrote) + 1 :]
            if given != wrote[:-1]:
                return f"{name}: it was given {given} behind the prompt, but stage one wrote {wrote[:-1]}"
    for name, trace in _of_scores(kept):
        off = gap_of_letters(trace.told, {"letters": kept.recorded["AB".index(name[0])]})
        if off is not None and off > max(_RECORDED * kept.noise.letters, _STEPS * kept.noise.epsilon):
            return (
                f"{name}: {_ON_RECORD} differs by {off:.3g} from what is computed of this case{_OR_COMPANY}"
            )
    ours, theirs = kept.letter_ids
    if ours and theirs and ours != theirs:
        return f"A reads the letters at the ids {list(ours)}, B at {list(theirs)}"
    a, b = kept.wrote
    if a and b and len(a) != len(b) and a[: len(b)] == b[: len(a)]:
        return f"A wrote {len(a)} tokens and B {len(b)}, all of them the same as far as they go"
    return ""


def _notes(kept: Kept) -> Iterator[str]:
    for name, about in kept.about.items():
        if about and about.get("family") is None:
            yield f"{name}: its architecture is in no table, so stages are matched by order and shape"
    for name, trace in kept.traces.items():
        if trace.error:
            yield f"{name}: the pass did not come to its end: {trace.error}"


def _bracket(kept: Kept) -> str:
    lacking = "; ".join(f"{name}: {why}" for name, why in kept.lacking.items())
    if kept.question:
        return f"the two were not asked the same, which comes before all stages ({lacking})"
    return f"behind the pixels and token ids, which are equal, and before the logits ({lacking})"


def _figures(distance: Distance | None) -> Json:
    if distance is None:
        return None
    finite = distance.comparable
    return {
        "whole": distance.whole if finite else None,
        "worst": distance.worst if finite else None,
        "worst_row": distance.row,
        "rows": distance.rows,
    }


def _place(kept: Kept, start: Start) -> str:
    """The worst row of the start in words: a token, or a patch of a tile."""
    distance, held = start.distance, kept.traces["A"].stages.get(start.stage)
    if distance is None or distance.row < 0 or held is None:
        return ""
    row = distance.row
    if not of_picture(start.stage):
        behind = len(held.norms) - distance.rows
        return f"row {row} of {distance.rows}" if start.stage in ANSWERS else f"token {behind + row}"
    if len(held.shape) > 2:
        tile, piece = divmod(row, held.shape[1])
        return f"tile {tile}, {'colour' if start.stage in ('prepared', 'pixels') else 'patch'} {piece}"
    return f"patch {row}"
