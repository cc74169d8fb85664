"""Distance against stage, with the band of noise, as a picture."""

from __future__ import annotations

import math
from collections.abc import Iterator
from html import escape
from typing import Final

from harness.drift.distances import Distance
from harness.drift.explaining import Explained, Row
from harness.engines.taps.stages import EXACT

__all__ = ["picture_of"]

_LEFT, _RIGHT, _TOP, _HEIGHT, _BELOW = 64, 16, 44, 220, 130
_STEP: Final = 22
_LEAST_DECADES: Final = 3
_STYLE: Final = """
svg{background:#fff}
text{font:11px system-ui,sans-serif;fill:#333}.grid{stroke:#ddd}.noise{fill:#9ab;fill-opacity:.35;stroke:#9ab}
.plain{fill:none;stroke:#2457a6;stroke-width:1.6}.local{fill:none;stroke:#b8541a;stroke-width:1.6}
.start{stroke:#b00020;stroke-dasharray:4 3}.off{fill:#b00020}
@media(prefers-color-scheme:dark){svg{background:#16181b}text{fill:#ddd}.grid{stroke:#444}.plain{stroke:#7aa7ee}.local{stroke:#ee9a5e}
.start{stroke:#ff9d92}.off{fill:#ff9d92}}
"""
_LEGEND: Final = (
    "worst row of each stage; blue: plain pass, orange: re-synchronised, grey: noise, red: where it begins"
)
_LETTER: Final = 6.5
"""How wide a letter of a line of words is, so that none is cut off."""


def picture_of(found: Explained, *, style: bool = True) -> str:
    """An SVG: both passes' worst rows on a logarithmic scale, and the limit under which a stage is noise.

    Without ``style`` it takes that of the page which it is put into.
    """
    rows = [row for row in found.rows if row.stage not in EXACT]
    height = _TOP + _HEIGHT + _BELOW
    title = f"{found.case}: {found.labels[0]} and {found.labels[1]}, where they part"
    words = max(len(title), len(_LEGEND)) * _LETTER
    width = _LEFT + _RIGHT + math.ceil(max(_STEP * len(rows), words))
    parts = [*_parts(found, rows, width)] if rows else []
    own = f"<style>{_STYLE}</style>" if style else ""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" role="img"><title>{escape(title)}</title>{own}'
        f'<text x="{_LEFT}" y="16">{escape(title)}</text>'
        f'<text x="{_LEFT}" y="32">{_LEGEND}</text>{"".join(parts)}</svg>\n'
    )


def _parts(found: Explained, rows: list[Row], width: int) -> Iterator[str]:
    values = [v for row in rows for v in (_worst(row.plain), _worst(row.local), row.plain_limits[1]) if v]
    top = math.ceil(math.log10(max(values)))
    least = math.floor(math.log10(min(row.local_limits[1] for row in rows))) - 1
    bottom = min(least, top - _LEAST_DECADES)

    def y(value: float) -> float:
        share = (math.log10(max(value, 10.0**bottom)) - bottom) / (top - bottom)
        return round(_TOP + _HEIGHT * (1 - min(share, 1.0)), 1)

    for power in range(bottom, top + 1):
        at = y(10.0**power)
        yield f'<line class="grid" x1="{_LEFT}" x2="{width - _RIGHT}" y1="{at}" y2="{at}"/>'
        yield f'<text x="{_LEFT - 8}" y="{at + 4}" text-anchor="end">1e{power}</text>'
    places = [_LEFT + _STEP * (index + 0.5) for index in range(len(rows))]
    edge = " ".join(f"{x},{y(row.plain_limits[1])}" for x, row in zip(places, rows, strict=True))
    floor = _TOP + _HEIGHT
    yield f'<polygon class="noise" points="{places[0]},{floor} {edge} {places[-1]},{floor}"/>'
    for name, distances in (("plain", [r.plain for r in rows]), ("local", [r.local for r in rows])):
        line = " ".join(
            f"{x},{y(_worst(d) or 0)}" for x, d in zip(places, distances, strict=True) if d is not None
        )
        yield f'<polyline class="{name}" points="{line}"/>'
    for x, row in zip(places, rows, strict=True):
        if row.stage == found.stage:
            yield f'<line class="start" x1="{x}" x2="{x}" y1="{_TOP}" y2="{floor}"/>'
        if row.plain is not None and not row.plain.comparable:
            yield f'<circle class="off" cx="{x}" cy="{_TOP}" r="4"/>'
        yield (f'<text transform="translate({x + 4},{floor + 10}) rotate(60)">{escape(row.stage)}</text>')


def _worst(distance: Distance | None) -> float | None:
    """None where it is no number, or 0, which has no place on the scale."""
    return distance.worst if distance is not None and distance.comparable and distance.worst > 0 else None
