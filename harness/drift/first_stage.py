"""The rule by which the stage is named at which a difference begins.

1. Where a stage of the re-synchronised pass is beyond twice its noise, or was over the cases on which noise
   was measured taken together, the first such stage: it was given the baseline's own states, so the error is
   born there.
2. Else where a stage of the plain pass is beyond three times its noise, the first such stage.
3. Else the passes that the engine's own `score` makes in company, in the order of time.
4. Else the reading, against the rows of the very passes that it read.
5. Else nothing: within noise everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from harness.drift.distances import Distance
from harness.drift.stage_noise import StageNoise
from harness.engines.taps.stages import EXACT, in_order

__all__ = ["LOCAL", "PLAIN", "Route", "Start", "beyond", "first_stage", "reading_fault"]

LOCAL: Final = 2.0
"""How many times its noise a stage of the re-synchronised pass may be off.

From 1.5 to 3 the same is named.
"""
PLAIN: Final = 3.0
"""The same of a plain pass, where stages inherit what those before them did."""
_HANDED: Final = frozenset({"handed"})
_READ: Final = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One pass of the other side: its distances, and whether it was given the baseline's states."""

    name: str
    distances: Mapping[str, Distance]
    local: bool = False
    told: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Where a difference begins.

    ``born`` says that the stage was shown to make it of equal input; else it is the first at which it shows.
    ``also`` are the stages beyond their noise behind it, in the same pass. ``step`` is that of decoding at
    which it is furthest off, from 1 on, where the prefill of that pass is within noise. ``why`` says what was
    found where it is no distance of a stage.
    """

    stage: str
    route: str
    born: bool
    distance: Distance | None
    limits: tuple[float, float] | None
    also: tuple[str, ...] = ()
    step: int | None = None
    why: str = ""


def beyond(route: Route, noise: StageNoise) -> list[str]:
    """The stages of a route that are further off than their noise allows, in order."""
    times = LOCAL if route.local else PLAIN
    found = []
    for stage, distance in route.distances.items():
        if stage in EXACT:
            if distance.whole > 0:
                found.append(stage)
            continue
        if route.local and stage in _HANDED:
            continue  # held against its own logits, not against the other's
        whole, worst = noise.limits(stage, local=route.local, times=times)
        if _alone(distance, (whole, worst)) or (route.local and _together(stage, distance, noise)):
            found.append(stage)
    return in_order(found)


def _together(stage: str, distance: Distance, noise: StageNoise) -> str:
    """What is wrong with a stage over several cases together, '' for nothing.

    A case that is off by less than half as much has no part in it.
    """
    level, most, along, most_along, cases = noise.together.get(stage, (0.0, 0.0, 0.0, 0.0, 0))
    if (level <= most and along <= most_along) or distance.whole < level / 2:
        return ""
    return (
        f"over {cases} cases together it is off by {level:.2g} (limit {most:.2g}), "
        f"along what it makes by {along:.2g} (limit {most_along:.2g})"
    )


def _alone(distance: Distance, limits: tuple[float, float]) -> bool:
    return not (distance.whole <= limits[0] and distance.worst <= limits[1])  # NaN is beyond, too


def first_stage(routes: Sequence[Route], noise: StageNoise, reading: str = "") -> Start | None:
    """The start of the difference, None where all is within noise.

    ``routes`` in the order in which they are to be asked: the re-synchronised pass, the plain one, then those
    of a `score`. ``reading`` is what is wrong with what was read of them, '' for nothing.
    """
    for route in routes:
        if found := beyond(route, noise):
            stage = found[0]
            times = LOCAL if route.local else PLAIN
            limits = None if stage in EXACT else noise.limits(stage, local=route.local, times=times)
            why = ""
            distance = route.distances[stage]
            if limits is not None and not _alone(distance, limits):
                why = f"within its noise in this case, but {_together(stage, distance, noise)}"
            return Start(
                stage=stage,
                route=route.name,
                born=route.local or stage in EXACT,
                distance=distance,
                limits=limits,
                also=tuple(found[1:]),
                why=why,
            )
        if (off := _handed(route, noise)) is not None:
            why = f"the rows handed out differ by up to {off:.3g} from the logits of their own pass"
            return Start(stage="handed", route=route.name, born=True, distance=None, limits=None, why=why)
    if reading:
        return Start(stage="reading", route="", born=True, distance=None, limits=None, why=reading)
    return None


def reading_fault(told: Mapping[str, object], noise: StageNoise) -> str:
    """What is wrong with what an answer made of a pass's rows, as a tracer told it; '' for nothing.

    Residues are relative to the size of what was read, so a few steps of the dtype are allowed.
    """
    words = {
        "row": "the row of logits that was kept",
        "letters": "the letters' logits that were read",
        "reported": "the log-probabilities that the engine reports",
    }
    wrote = told.get("wrote")
    if isinstance(wrote, str) and wrote:
        return wrote
    residues = told.get("reading")
    if not isinstance(residues, Mapping):
        return ""
    for name, word in words.items():
        off = residues.get(name, 0.0)
        if isinstance(off, float) and not off <= _READ * noise.epsilon:
            return f"{word} differ by {off:.3g} of their size from the row of their own pass"
    return ""


def _handed(route: Route, noise: StageNoise) -> float | None:
    off = (route.told or {}).get("handed")
    if route.local or not isinstance(off, float) or off <= noise.epsilon / 1e3:
        return None
    return off
