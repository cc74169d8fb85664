"""What was found, on one screen."""

from __future__ import annotations

from collections.abc import Iterator

from harness.drift.distances import Distance
from harness.drift.explaining import Explained, Row
from harness.drift.grafting import Graft
from harness.engines.taps.stages import named

__all__ = ["sentences_of", "text_of"]

_MOST_ROWS = 14


def text_of(found: Explained) -> str:
    """The finding, its proof, and the stages around it."""
    return "\n".join(_lines(found)) + "\n"


def sentences_of(found: Explained) -> Iterator[str]:
    """What was found, in the first, and its proof."""
    yield from map(str.strip, _finding(found))


def _lines(found: Explained) -> Iterator[str]:
    a, b = found.labels
    yield f"{found.case}: A = {a}, B = {b} ({found.dtype})"
    yield f"  A: {found.answers[0]}"
    yield f"  B: {found.answers[1]}"
    if found.gap is not None:
        yield f"  on A's tokens the answers' log-probabilities differ by up to {found.gap:.3g}"
    yield ""
    yield from _finding(found)
    if found.rows:
        yield ""
        yield from _table(found)


def _finding(found: Explained) -> Iterator[str]:
    a, b = found.labels
    yield from _verdict(found)
    for _, title, text in found.question:
        yield f"  not asked the same: {title}: {text}"
    for one in found.grafts:
        yield f"  {_graft(one, a, b)}"
    if found.grafts and found.proven is not None:
        yield "  proof: " + (
            "the gap goes with that stage, and not with what goes into it"
            if found.proven
            else "none: the gap does not go with that stage alone"
        )
    for note in found.notes:
        yield f"  note: {note}"


def _verdict(found: Explained) -> Iterator[str]:
    start = found.start
    if found.bracket:
        yield f"The difference lies {found.bracket}"
        return
    if start is None:
        yield "Within noise everywhere: no stage differs by more than it does from itself."
        return
    where = f" ({start.route})" if start.route not in ("", "alone", "B resynced") else ""
    yield f"It begins at {named(start.stage)}: {start.stage}{where}"
    if start.why:
        yield f"  {start.why}"
    if start.distance is not None and start.limits is not None:
        how = (
            "of what that stage adds, given A's own states"
            if start.born and start.route == "B resynced"
            else ""
        )
        yield (
            f"  off by {start.distance.whole:.2g} on the whole (limit {start.limits[0]:.2g}), by "
            f"{start.distance.worst:.2g} at worst, {found.place or 'one row'} (limit {start.limits[1]:.2g})"
            + (f" {how}" if how else "")
        )
    if start.step is not None:
        yield f"  in decoding alone: the prefill before it is within noise; furthest off in step {start.step}"
    if start.born:
        yield "  born there: what goes into it is equal, or was made equal"
    else:
        yield "  it is the first at which the difference shows; one before it may be too small to be seen"
    if start.also:
        yield f"  beyond noise in the same pass: {len(start.also)} more, first {', '.join(start.also[:4])}"


def _graft(one: Graft, a: str, b: str) -> str:
    giver, taker = (a, b) if one.giver == "A" else (b, a)
    what = " and ".join(named(stage) for stage in one.stages)
    end = {
        "follows": f"answers as {giver}",
        "stays": "answers as before",
        "between": "answers as neither",
        "within noise": "answers within noise of both",
    }[one.outcome]
    return (
        f"with {giver}'s {what.removeprefix('the ')}, {taker} {end} (gap {one.gap:.2g} → {one.to_giver:.2g})"
    )


def _table(found: Explained) -> Iterator[str]:
    yield f"  {'stage':22} {'re-synced':>10} {'limit':>9}   {'plain':>10} {'limit':>9}"
    for row in _shown(found):
        mark = "▶" if row.stage == found.stage else " "
        yield (
            f"{mark} {row.stage:22} {_figure(row.local):>10} {row.local_limits[1]:9.2g}   "
            f"{_figure(row.plain):>10} {row.plain_limits[1]:9.2g}"
        )
    hidden = len(found.rows) - len(_shown(found))
    if hidden:
        yield f"  … {hidden} stages more in --json and --picture; each figure is that of the worst row"


def _shown(found: Explained) -> list[Row]:
    """The stages around the start, all where they fit."""
    rows = list(found.rows)
    if len(rows) <= _MOST_ROWS:
        return rows
    at = next((i for i, row in enumerate(rows) if row.stage == found.stage), 0)
    first = min(max(0, at - _MOST_ROWS // 2), len(rows) - _MOST_ROWS)
    return rows[first : first + _MOST_ROWS]


def _figure(distance: Distance | None) -> str:
    if distance is None:
        return "–"
    return f"{distance.worst:.2g}" if distance.comparable else "unequal"
