"""The proof: one side's states put into the other's pass, and whether the answer follows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from harness.drift.distances import gap_of_letters, ids_of
from harness.drift.gathering import Asked, Gathered, Gathering
from harness.engines.taps.sketches import Trace
from harness.engines.taps.stages import ANSWERS, EXACT, before
from harness.errors import EngineError

__all__ = ["Graft", "follows", "graft", "inputs_of"]

_QUESTION: Final = frozenset({"rendered", "ids"})
_AS: Final = 0.1
"""The share of the gap that may be left where a side is said to answer as the other does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Graft:
    """``giver``'s states at ``stages`` put into the other side, which then answered.

    ``gap`` is that between the two sides' letters before, ``to_giver`` and ``to_itself`` how far the answer
    is from each side's own afterwards, in log-probability; ``noise`` is how far that moves by itself.
    """

    giver: str
    stages: tuple[str, ...]
    gap: float
    to_giver: float
    to_itself: float
    noise: float = 0.0

    @property
    def outcome(self) -> str:
        """``follows`` the giver, ``stays`` with itself, or ``between``.

        ``within noise`` where none can be told.
        """
        left = max(_AS * self.gap, self.noise)
        if self.gap <= 2 * self.noise:
            return "within noise"
        if self.to_giver <= left:
            return "follows"
        return "stays" if self.to_itself <= left else "between"


def inputs_of(stage: str, known: Sequence[str]) -> tuple[str, ...]:
    """The stages that determine this one, as far as they are tapped and can be put in."""
    can = [each for each in known if each not in EXACT | ANSWERS | {"prepared"}]
    if stage == "inputs":
        return tuple(each for each in ("tokens", "projected") if each in can)
    if stage in ("tokens", "rope", "prepared", "pixels") or stage in EXACT:
        return ()
    if stage == "layer.0.attention":
        return tuple(each for each in ("inputs", "tokens", "rope") if each in can)
    last = before(stage, [each for each in can if each != "rope"])
    rotary = (
        ("rope",) if stage.startswith("layer.") and stage.endswith(".attention") and "rope" in can else ()
    )
    return () if last is None else (last, *rotary)


def graft(gathering: Gathering, asked: Asked, gathered: Gathered, stage: str) -> list[Graft]:
    """Put each side's states at ``stage``, and at what goes into it, into the other side.

    Nothing where the letters do not differ, or cannot be read. A side that cannot take the states is left
    out.
    """
    told = [gathered.traces[name].told for name in "AB" if name in gathered.traces]
    if len(told) < 2 or not (gap := gap_of_letters(told[0], told[1])):
        return []
    known = [each for each in gathered.traces["A"].stages if each in gathered.traces["B"].stages]
    found = []
    if stage in _QUESTION:
        return _of_ids(gathering, asked, gathered, gap)
    stage = "pixels" if stage == "prepared" else stage  # they are put in where they enter
    outputs = () if stage in EXACT | ANSWERS | {"reading"} else (stage,)
    for giver in (0, 1):
        for stages in (outputs, inputs_of(stage if stage in known else "logits", known)):
            if not stages or not _alike(gathered, stages):
                continue
            order = asked.order(1 - giver)
            order = replace(order, put=str(gathering.states(giver, asked.name)), stages=stages)
            try:
                answered = gathering.alone(1 - giver, order)
            except EngineError:
                continue
            if (one := _graft("AB"[giver], stages, gap, answered, told[giver], told[1 - giver])) is not None:
                found.append(one)
    return found


def follows(grafts: Sequence[Graft], stage: str) -> bool | None:
    """Whether the gap goes with what is put in at ``stage``, and stays with what goes into it.

    None where no graft tells.
    """
    stage = {"rendered": "ids", "prepared": "pixels"}.get(stage, stage)
    there = {one.outcome for one in grafts if stage in one.stages} - {"within noise"}
    earlier = {one.outcome for one in grafts if stage not in one.stages} - {"within noise"}
    if not there and not earlier:
        return None
    return there <= {"follows"} and earlier <= {"stays"}


def _of_ids(gathering: Gathering, asked: Asked, gathered: Gathered, gap: float) -> list[Graft]:
    """Each side given the other's ids for the prompt."""
    found = []
    traces = [gathered.traces[name] for name in "AB"]
    for giver in (0, 1):
        ids = ids_of(traces[giver])
        prompt = tuple(ids[: len(ids) - len(asked.forced)])
        try:
            answered = gathering.alone(1 - giver, replace(asked.order(1 - giver), prompt_ids=prompt))
        except EngineError:
            continue
        given, own = traces[giver].told, traces[1 - giver].told
        if (one := _graft("AB"[giver], ("ids",), gap, answered, given, own)) is not None:
            found.append(one)
    return found


def _alike(gathered: Gathered, stages: Sequence[str]) -> bool:
    a, b = gathered.traces["A"].stages, gathered.traces["B"].stages
    return all(len(a[stage].norms) == len(b[stage].norms) for stage in stages)


def _graft(
    giver: str,
    stages: tuple[str, ...],
    gap: float,
    answered: Trace,
    given: Mapping[str, Any],
    own: Mapping[str, Any],
) -> Graft | None:
    to_giver, to_itself = gap_of_letters(given, answered.told), gap_of_letters(own, answered.told)
    if to_giver is None or to_itself is None:
        return None
    return Graft(giver=giver, stages=stages, gap=gap, to_giver=to_giver, to_itself=to_itself)
