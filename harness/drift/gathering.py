"""Having both engines traced: the case in question, and others beside it to measure each stage's noise on.

One engine after the other, so that a GPU that holds one model is enough; the states that a pass is
re-synchronised with, or that are grafted, lie in files on the way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from harness.drift.distances import Distance, asked_alike, distances, gap_of_letters
from harness.drift.session import TracedEngine
from harness.drift.stage_noise import EPSILON, StageNoise, noise_of
from harness.engines.contract import Request
from harness.engines.taps.contract import ALL, ALONE, SCORE, Disturb, TraceOrder
from harness.engines.taps.sketches import Trace
from harness.errors import EngineError, ErrorKind
from harness.reports.pulse import Pulse

__all__ = ["Asked", "Gathered", "Gathering", "company_of"]

_OTHER_ATTENTION: Final = "eager"
_SEED: Final = 11
_TOGETHER: Final = 8
"""Of how many cases the noise is measured on A's states are kept until B is given them: of a large model some
gigabytes each."""
_OF_A_CASE: Final = (ErrorKind.UNSUPPORTED, ErrorKind.FAILED, ErrorKind.LETTERS)
"""Errors after which the engine lives on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One case as both sides are traced on it.

    ``a`` and ``b`` are what each is asked, ``forced`` the baseline's generated ids but the last, which
    nothing follows, ``letter_ids`` [L] where each side reads its letters, ``answer_step`` the index of their
    row.
    """

    name: str
    a: Request
    b: Request
    forced: tuple[int, ...]
    letter_ids: tuple[tuple[int, ...], tuple[int, ...]]
    answer_step: int | None
    length: int = 0

    def order(self, side: int) -> TraceOrder:
        """The plain order to one side, 0 or 1."""
        return TraceOrder(
            name=self.name,
            request=(self.a, self.b)[side],
            forced=self.forced,
            letter_ids=self.letter_ids[side],
            answer_step=self.answer_step,
        )


@dataclass(slots=True, kw_only=True)
class Gathered:
    """What was traced of one case: by name, ``A``, ``B``, ``B resynced`` and ``A ROUTE`` or ``B ROUTE``.

    ``about`` has what each side's tracer told, and ``lacking`` why a side could not be traced, '' where it
    could.
    """

    traces: dict[str, Trace] = field(default_factory=dict)
    about: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    lacking: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def company_of(asked: Asked, others: Sequence[Asked]) -> Asked | None:
    """Another case to go beside this one: with another text, and with an image if this one has one.

    A longer one is taken where there is one that a padded batch would hold, lengths of a power of two apart
    being kept from one another, so that this one is padded.
    """
    fitting = [each for each in others if each.a.prompt != asked.a.prompt]
    alike = [each for each in fitting if bool(each.a.images) == bool(asked.a.images)] or fitting
    longer = [each for each in alike if each.length > asked.length]
    near = [each for each in longer if each.length.bit_length() == asked.length.bit_length()]
    return max(near or longer or alike, key=lambda each: each.length, default=None)


class Gathering:
    """Traces with two engines, ``a`` the baseline. ``folder`` is for states on the way."""

    def __init__(
        self, a: TracedEngine, b: TracedEngine, folder: Path, *, cpu: bool, say: Callable[[str], None]
    ) -> None:
        """``cpu`` says whether the number of threads may matter."""
        self._engines = (a, b)
        self._folder = folder
        self._cpu = cpu
        self._say = say
        self._refused: set[str] = set()  # variants that an engine cannot be asked for

    def states(self, side: int, name: str) -> Path:
        """Where the states of a case lie in full."""
        return self._folder / f"{'AB'[side]}-{name}.safetensors"

    def trace(self, side: int, order: TraceOrder) -> dict[str, Trace]:
        """One order to one side; the other is ended first where they share a GPU's memory."""
        ours, theirs = self._engines[side], self._engines[1 - side]
        if ours.shares_memory or theirs.shares_memory:
            theirs.close()
        return ours.trace(order)

    def alone(self, side: int, order: TraceOrder) -> Trace:
        """The pass over forced ids."""
        return self.trace(side, order)[ALONE]

    def gather(self, asked: Asked, others: Sequence[Asked]) -> Gathered:
        """Trace ``asked`` on both sides; of ``others`` one goes beside it in the passes of a score."""
        found = Gathered()
        for side, name in ((0, "A"), (1, "B")):
            order = asked.order(side)
            try:
                kept = replace(order, keep=str(self.states(side, asked.name)))
                found.traces[name] = self.alone(side, kept)
            except EngineError as error:
                if error.kind is not ErrorKind.UNSUPPORTED:
                    raise
                found.lacking[name] = error.message
                continue
            finally:
                found.about[name] = self._engines[side].about
            beside = company_of(asked, others)
            company = None if beside is None else (beside.a, beside.b)[side]
            for route, trace in self.trace(side, replace(order, route=SCORE, company=company)).items():
                found.traces[f"{name} {route}"] = trace
        if "A" in found.traces and "B" in found.traces:
            order = replace(asked.order(1), put=str(self.states(0, asked.name)))
            found.traces["B resynced"] = self.alone(1, order)
        return found

    def noise(self, dtypes: tuple[str, str], cases: Sequence[Asked]) -> StageNoise:
        """How far each stage of each side moves on ``cases`` when nothing that matters changed.

        ``dtypes`` are those of the two sides. Raises EngineError where one cannot be traced any more.
        """
        counts: dict[str, int] = {}
        letters = [0.0, 0.0]
        plain: tuple[list[Mapping[str, Distance]], ...] = ([], [])
        local: tuple[dict[str, list[Mapping[str, Distance]]], ...] = ({}, {})
        off: list[Mapping[str, Distance]] = []
        ours: dict[str, Trace] = {}
        for side in (0, 1):
            self._say(f"{self._engines[side].label}: each stage's own noise, on {len(cases)} cases")
            pulse = Pulse()
            for number, asked in enumerate(cases):
                if pulse.due():
                    self._say(f"{self._engines[side].label}: noise measured on {number} of {len(cases)}")
                kept = self.states(side, f"noise-{asked.name}")
                order = asked.order(side)
                try:
                    first = self.alone(side, replace(order, keep=str(kept)))
                except EngineError as error:
                    if error.kind not in _OF_A_CASE:
                        raise
                    continue
                for kind, variant, is_local in self.variants(side, asked, cases, dtypes[side], kept):
                    trace = self.variant(side, kind, variant)
                    if trace is None:
                        continue
                    found = distances(first, trace, local=is_local)
                    (local[side].setdefault(kind, []) if is_local else plain[side]).append(found)
                    if not is_local:
                        letters[side] = max(letters[side], gap_of_letters(first.told, trace.told) or 0.0)
                    name = f"{self._engines[side].label} {kind}"
                    counts[name] = counts.get(name, 0) + 1
                given = self.states(0, f"noise-{asked.name}")
                if side == 0 and len(ours) < _TOGETHER:
                    ours[asked.name] = first
                    continue
                a = ours.get(asked.name)
                if a is not None and asked_alike(distances(a, first)):
                    resynced = self.variant(1, "re-synced", replace(order, put=str(given)))
                    off += [] if resynced is None else [distances(a, resynced, local=True)]
                given.unlink(missing_ok=True)
                kept.unlink(missing_ok=True)
        coarser = max(dtypes, key=lambda each: EPSILON.get(each, 0.0))
        both = (letters[0], letters[1])
        own = (plain[0], plain[1]), (local[0], local[1])
        return noise_of(coarser, *own, counts, bounded=dtypes[0] == dtypes[1], letters=both, off=off)

    def variants(
        self, side: int, asked: Asked, cases: Sequence[Asked], dtype: str, kept: Path
    ) -> Iterator[tuple[str, TraceOrder, bool]]:
        """Kinds of variants of a case on one side, each with its order, and whether it is re-synchronised.

        ``kept`` has the states that are put in then, ``cases`` those of which one goes beside it.
        """
        order, step = asked.order(side), EPSILON.get(dtype, EPSILON["float32"]) / 2
        beside = company_of(asked, [each for each in cases if each.name != asked.name])
        if beside is not None:
            yield "in company", replace(order, company=(beside.a, beside.b)[side]), False
        if self._cpu:
            yield "two threads", replace(order, threads=2), False
            yield "one thread", replace(order, threads=1), False
        yield f"attention {_OTHER_ATTENTION}", replace(order, attention=_OTHER_ATTENTION), False
        for stage in ("pixels", "inputs"):
            if stage == "inputs" or order.request.images:
                disturb = Disturb(stages=(stage,), size=step, seed=_SEED)
                yield f"{stage} disturbed", replace(order, disturb=disturb), False
        disturb = Disturb(stages=(ALL,), size=step, seed=_SEED)
        put = replace(order, put=str(kept))
        yield "all states disturbed", replace(put, disturb=disturb), True
        yield f"attention {_OTHER_ATTENTION}, re-synced", replace(put, attention=_OTHER_ATTENTION), True
        yield "the head on other rows", replace(put, other_rows=True), True

    def variant(self, side: int, kind: str, order: TraceOrder) -> Trace | None:
        """What an order of `variants` brought, None where the engine cannot be asked for that kind."""
        mark = f"{side} {kind}"
        if mark in self._refused:
            return None
        try:
            return self.alone(side, order)
        except EngineError as error:
            if error.kind not in _OF_A_CASE:
                raise
            if error.kind is ErrorKind.UNSUPPORTED:
                self._refused.add(mark)
            return None
