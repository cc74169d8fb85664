"""Goes through the faults: plants each, has its answers made, and runs a user's commands on them."""

from __future__ import annotations

import math
import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.cases.folder import Loaded, load
from harness.cases.profiles import Profile
from harness.drift.faults.catalogue import SIZES, Fault
from harness.drift.selftest.bench import Bench
from harness.drift.selftest.folder import Folder, gate, pytest
from harness.environments.store import Environments
from harness.errors import EngineError, HarnessError, UnknownName
from harness.recordings.store import Recording
from harness.scoring.scoring import Scoring
from harness.scoring.subjects import subjects

__all__ = ["Row", "measure"]

_INCONCLUSIVE = 3
_THREADS = "OMP_NUM_THREADS"  # a part of what recordings are found by


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What came of one fault in one size; of none where ``fault`` is None, on ``side``.

    ``pytest`` and ``gate`` are exit statuses. ``moved`` is the largest change of a letter's log-probability,
    or of a reported one, over all cases and paths; infinite where a letter is not reached any more.
    ``unanswered`` cases could not be answered.
    """

    fault: Fault | None
    side: str
    size: str
    pytest: int
    gate: int
    moved: float
    unanswered: int

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
    snapshots: Path,
    show: Callable[[str], None],
) -> Iterator[Row]:
    """A row for no fault on each side, then one for each of ``faults`` in each of ``sizes`` that it has.

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
        before = _made(clean, profile.name, bench)
        for number, (fault, side, size) in enumerate(planted, 1):
            name = "nothing" if fault is None else fault.name
            show(f"{number} of {len(planted)}: {name} {size or side}")
            row = _row(
                clean.with_fault(folder / "fault", side, fault, size),
                profile.name,
                bench,
                before,
                fault,
                side,
                size,
            )
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
    fault: Fault | None,
    side: str,
    size: str,
) -> Row:
    bench.plant(fault, size)
    after = _made(folder, profile, bench)
    both = [
        (one, other) for name, one in before.items() if one is not None and (other := after[name]) is not None
    ]
    return Row(
        fault=fault,
        side=side,
        size=size,
        pytest=pytest(folder).status,
        gate=gate(folder, f"{profile}/{side}").status,
        moved=max((_moved(*pair) for pair in both), default=0.0),
        unanswered=sum(each is None for each in after.values()),
    )


def _made(folder: Folder, profile: str, bench: Bench) -> dict[str, Recording | None]:
    """Every recording of a folder, made where it is missing; None for what could not be answered."""
    run = uuid.uuid4().hex
    environments = Environments(None, run_id=run)
    try:
        scoring = Scoring(
            folder.recordings,
            run_id=run,
            fresh=False,
            show=lambda _: None,
            environments=environments,
            start=bench.start,
        )
        loaded = load(folder.cases)
        asked = list(subjects(loaded.cases, [loaded.profile(profile)], selection="every"))
        scoring.make(asked, compared=[(each.reference(), each) for each in asked if not each.is_reference])
        found: dict[str, Recording | None] = {}
        for subject in asked:
            try:
                found[subject.id] = scoring.recording(subject)
            except EngineError:
                found[subject.id] = None
        return found
    finally:
        environments.close()


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
