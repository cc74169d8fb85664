"""Goes through the faults: plants each, has its answers made, and runs a user's commands on them."""

from __future__ import annotations

import math
import os
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from harness.cases.folder import Loaded, load
from harness.cases.profiles import Profile
from harness.drift.explaining import Explained
from harness.drift.faults.catalogue import SIZES, Fault
from harness.drift.run import Explaining, Pair
from harness.drift.selftest.bench import Bench
from harness.drift.selftest.folder import Folder, gate, pytest
from harness.drift.stage_noise import StageNoise
from harness.engines.taps.stages import part_of
from harness.environments.store import Environments
from harness.errors import EngineError, HarnessError, UnknownName
from harness.recordings.store import Recording
from harness.scoring.scoring import Scoring
from harness.scoring.subjects import Subject, subjects

__all__ = ["Row", "measure"]

_INCONCLUSIVE = 3
_TWICE, _SOME = 2.0, 1e-6
"""A case was moved where it moved by more than twice what moves without a fault, and some rounding."""
_THREADS = "OMP_NUM_THREADS"  # a part of what recordings are found by


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What came of one fault in one size; of none where ``fault`` is None, on ``side``.

    ``pytest`` and ``gate`` are exit statuses. ``moved`` is the largest change of a letter's log-probability,
    or of a reported one, over all cases and paths; infinite where a letter is not reached any more.
    ``unanswered`` cases could not be answered. ``named`` is the stage that `explain` names in each case that
    the fault moved, None where it names none, ``decoding`` those in which it says that it is in decoding
    alone. Of LMDeploy's own kernels ``beside`` is what came of the fault under the CPU plug-in, and ``cache``
    what keys and values were kept in.
    """

    fault: Fault | None
    side: str
    size: str
    pytest: int
    gate: int
    moved: float
    unanswered: int
    named: Mapping[str, str | None] = field(default_factory=dict)
    decoding: frozenset[str] = frozenset()
    beside: Row | None = None
    cache: str = ""

    @property
    def exact(self) -> int:
        """In how many cases the stage is named where the fault sits."""
        return sum(self.fault is not None and stage == self.fault.stage for stage in self.named.values())

    @property
    def right_part(self) -> int:
        """In how many the stage that is named is of the fault's part of the model."""
        stages = [stage for stage in self.named.values() if stage is not None]
        return sum(self.fault is not None and part_of(stage) == self.fault.part for stage in stages)

    @property
    def found(self) -> bool:
        """Whether a command failed; one that is inconclusive has found nothing."""
        return self.pytest != 0 or self.gate not in (0, _INCONCLUSIVE)

    @property
    def as_expected(self) -> bool:
        """Whether it was found and is not tiny, or the other way round."""
        return self.found == (self.fault is not None and self.size != SIZES[0])


def measure(
    folder: Path,
    loaded: Loaded,
    profile: Profile,
    faults: Sequence[Fault],
    *,
    sizes: Sequence[str],
    names: Sequence[str],
    dtype: str,
    snapshots: Path | None,
    show: Callable[[str], None],
    explained: int | None = None,
) -> Iterator[Row]:
    """A row for no fault on each side, then one for each of ``faults`` in each of ``sizes`` that it has.

    Of the cases that moved ``explained`` are explained, by the noise of an engine without a fault, which is
    measured once; for None all are, by the noise that an engine with the fault has.
    ``folder`` keeps the clean folder, and of each fault what the commands said. Raises HarnessError where the
    profile lacks an engine of a fault's side, a clean run is not clean, or a fault cannot be planted.
    """
    kinds = {engine.name: engine.settings.kind for engine in profile.engines}
    sides = list(dict.fromkeys(fault.side for fault in faults))
    if lacking := [side for side in sides if kinds.get(side) != side]:
        raise UnknownName(
            f"{profile.name}: found no engine named {', '.join(lacking)}; allowed: one of that kind"
        )
    show("a clean run, accepted")
    planted: list[tuple[Fault | None, str, str]] = [(None, side, "") for side in sides]
    planted += [(fault, fault.side, size) for fault in faults for size in fault.offered if size in sizes]
    with _one_thread(), closing(Bench(folder / "bench")) as bench:
        clean = Folder.accepted(
            folder / "clean", loaded, profile, names=names, dtype=dtype, snapshots=snapshots
        )
        with _scoring(clean, bench) as scoring:
            before = _made(scoring, _asked(clean, profile.name))
        least: dict[str, float] = {}
        noise: StageNoise | None = None
        for number, (fault, side, size) in enumerate(planted, 1):
            name = "nothing" if fault is None else fault.name
            show(f"{number} of {len(planted)}: {name} {size or side}")
            bench.plant(fault, size)
            planted_in = clean.with_fault(folder / "fault", side, fault, size)
            most = max(least.values(), default=0.0)
            given = (explained, noise)
            row = _row(planted_in, profile.name, bench, before, (fault, side, size), least=most, given=given)
            if fault is None:
                least[side] = row.moved
            if fault is None and explained is not None:
                asked = _asked(planted_in, profile.name)
                with _scoring(planted_in, bench) as scoring, _explaining(scoring, asked, bench) as explaining:
                    noise = explaining.ready(asked[0].case.name).noise
            if fault is None and row.found:
                raise HarnessError(
                    f"{side}: found something where nothing is planted: see {folder / 'fault'}"
                )
            yield row


@contextmanager
def _one_thread() -> Iterator[None]:
    """As small models are fastest, and as nothing else then decides over their last digits."""
    before = os.environ.get(_THREADS)
    os.environ[_THREADS] = before or "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_THREADS]


def _row(
    folder: Folder,
    profile: str,
    bench: Bench,
    before: dict[str, Recording | None],
    planted: tuple[Fault | None, str, str],
    *,
    least: float,
    given: tuple[int | None, StageNoise | None],
) -> Row:
    fault, side, size = planted
    explained, noise = given
    asked = _asked(folder, profile)
    with _scoring(folder, bench) as scoring:
        after = _made(scoring, asked)
        moved = {
            each.case.name: math.inf if answer is None else _moved(was, answer)
            for each in asked
            if each.engine.name == side and (was := before[each.id]) is not None
            for answer in [after[each.id]]
        }
        beyond = [name for name, by in moved.items() if by > max(_TWICE * least, _SOME)]
        with _explaining(scoring, asked, bench, noise) as explaining:
            found = [] if fault is None else [*_explained(explaining, beyond[:explained])]
    return Row(
        fault=fault,
        side=side,
        size=size,
        pytest=pytest(folder).status,
        gate=gate(folder, f"{profile}/{side}").status,
        moved=max((by for name, by in moved.items() if after[f"{name}-{profile}-{side}"]), default=0.0),
        unanswered=sum(each is None for each in after.values()),
        named={case: None if one is None else one.stage for case, one in found},
        decoding=frozenset(case for case, one in found if one and one.start and one.start.step),
    )


def _explaining(
    scoring: Scoring, asked: Sequence[Subject], bench: Bench, noise: StageNoise | None = None
) -> Explaining:
    """The reference being A."""
    pairs = [Pair(each.reference(), each) for each in asked if not each.is_reference]
    return Explaining(pairs, scoring, say=lambda _: None, start=bench.start, grafts=False, noise=noise)


def _explained(explaining: Explaining, cases: Sequence[str]) -> Iterator[tuple[str, Explained | None]]:
    """What is said of each case; None where it cannot be explained."""
    for case in cases:
        try:
            yield case, explaining.explain(case)
        except EngineError:
            yield case, None


@contextmanager
def _scoring(folder: Folder, bench: Bench) -> Iterator[Scoring]:
    run = uuid.uuid4().hex
    environments = Environments(None, run_id=run)
    try:
        yield Scoring(
            folder.recordings,
            run_id=run,
            fresh=False,
            show=lambda _: None,
            environments=environments,
            start=bench.start,
        )
    finally:
        environments.close()


def _asked(folder: Folder, profile: str) -> list[Subject]:
    loaded = load(folder.cases)
    return list(subjects(loaded.cases, [loaded.profile(profile)], selection="every"))


def _made(scoring: Scoring, asked: Sequence[Subject]) -> dict[str, Recording | None]:
    """Every recording, made where it is missing; None for what could not be answered."""
    scoring.make(asked, compared=[(each.reference(), each) for each in asked if not each.is_reference])
    found: dict[str, Recording | None] = {}
    for subject in asked:
        try:
            found[subject.id] = scoring.recording(subject)
        except EngineError:
            found[subject.id] = None
    return found


def _moved(before: Recording, after: Recording) -> float:
    largest = 0.0
    for old, new in zip(before.answer.readings, after.answer.readings, strict=True):
        if old.log_z is None or new.log_z is None:
            return math.inf
        for one, other in zip(old.letter_logits, new.letter_logits, strict=True):
            largest = max(largest, abs(one - old.log_z - other + new.log_z))
    for told, now in zip(before.answer.reported_top, after.answer.reported_top, strict=False):
        largest = max(largest, abs(told.logprob - now.logprob))
    return largest
