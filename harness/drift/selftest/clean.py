"""False starts: traces of engines in which nothing is wrong, held against the rule that names a stage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from harness.drift.distances import alike, distances, ids_of
from harness.drift.first_stage import Route, first_stage
from harness.drift.run import Explaining
from harness.engines.contract import Json
from harness.engines.taps.contract import SCORE
from harness.engines.taps.sketches import Trace

__all__ = ["CleanTraces", "clean_traces", "counted"]


class _Clean(NamedTuple):
    """One trace beside A's plain one: how it came about, whether it is equal to the bit, what is named."""

    case: str
    kind: str
    equal: bool
    named: str | None


@dataclass(frozen=True, slots=True)
class CleanTraces:
    """How many traces were judged, and of which kind; those equal to the bit count as none."""

    dtype: str
    kinds: dict[str, int]
    equal: int
    false: tuple[tuple[str, str, str], ...]

    @property
    def judged(self) -> int:
        """Traces that differ in something."""
        return sum(self.kinds.values())

    def text(self) -> str:
        """A line for each kind, the false starts, and their share."""
        lines = [f"  {count:5} {kind}" for kind, count in sorted(self.kinds.items())]
        lines += [f"  false start: {case}, {kind}: {stage}" for case, kind, stage in self.false]
        share = 100 * len(self.false) / self.judged if self.judged else 0.0
        total = f"{len(self.false)} false starts in {self.judged} clean traces ({share:.2f}%), {self.dtype}"
        return "\n".join([f"{total}; {self.equal} more are equal to the bit", *lines]) + "\n"

    def to_json(self) -> Json:
        """All figures."""
        false: list[Json] = [list(each) for each in self.false]
        return {
            "version": 1, "dtype": self.dtype, "judged": self.judged, "equal": self.equal,
            "kinds": dict(self.kinds), "false": false,
        }  # fmt: skip


def clean_traces(explaining: Explaining, cases: Sequence[str]) -> Iterator[_Clean]:
    """Trace each case on both sides in every harmless way, and judge each trace beside A's own.

    Cases on which noise was measured are left out.
    """
    explaining.record()
    noisy = {*explaining.spread()}
    for case in cases:
        if case not in noisy:
            yield from _of_case(explaining, case)


def counted(dtype: str, traces: Sequence[_Clean]) -> CleanTraces:
    """What came of them all."""
    return CleanTraces(
        dtype=dtype,
        kinds=dict(Counter(each.kind for each in traces if not each.equal)),
        equal=sum(each.equal for each in traces),
        false=tuple((each.case, each.kind, each.named) for each in traces if each.named is not None),
    )


def _of_case(explaining: Explaining, case: str) -> Iterator[_Clean]:
    gathering, asked, others, noise = explaining.ready(case)
    kept = gathering.states(0, case)
    plain = gathering.alone(0, replace(asked.order(0), keep=str(kept)))
    prompt = len(ids_of(plain)) - len(asked.forced)

    def judged(kind: str, trace: Trace, *, local: bool) -> _Clean:
        found = distances(plain, trace, local=True) if local else distances(*alike(plain, trace, prompt))
        start = first_stage([Route(name=kind, distances=found, local=local, told=trace.told)], noise)
        return _Clean(
            case,
            kind,
            all(each.whole == 0 for each in found.values()),
            None if start is None else start.stage,
        )

    for side, label in enumerate(explaining.labels):
        order = asked.order(side)
        if side:
            yield judged(f"{label} alone", gathering.alone(side, order), local=False)
            resynced = gathering.alone(side, replace(order, put=str(kept)))
            yield judged(f"{label} re-synced", resynced, local=True)
        for kind, variant, local in gathering.variants(side, asked, others, noise.dtype, kept):
            if (trace := gathering.variant(side, kind, variant)) is not None:
                yield judged(f"{label} {kind}", trace, local=local)
        company = (others[0].a, others[0].b)[side]
        for route, trace in gathering.trace(side, replace(order, route=SCORE, company=company)).items():
            yield judged(f"{label} {route}", trace, local=False)
    kept.unlink(missing_ok=True)
