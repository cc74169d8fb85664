"""A candidate held against the good one by the gate, and what is kept of it for a run that goes on."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from harness.bisecting.search import Judged
from harness.bisecting.target import Candidate, Target
from harness.cases.folder import Loaded
from harness.cases.suites import Suite
from harness.engines.contract import Json
from harness.environments.store import Environments
from harness.environments.uv_program import is_passing
from harness.errors import EngineError, GateError
from harness.gate.comparison import Comparison, Terms, compare_sides
from harness.gate.gating import Sides, gate
from harness.gate.side import Kept, load_side
from harness.recordings.fingerprint import digest
from harness.recordings.journal import Journal
from harness.reports.worst_cases import one_line, worst_cases
from harness.scoring.scoring import Scoring
from harness.verdicts.verdict import ExitStatus

__all__ = ["Judge", "Step"]

_JUDGED = {ExitStatus.PASSED: Judged.GOOD, ExitStatus.FAILED: Judged.BAD}
_LONGEST = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What became of a candidate: the gate's ``verdict``, or why there is none, and the worst case or reason.

    ``seconds`` is what it took; ``kept`` whether an earlier run took them.
    """

    name: str
    judged: Judged
    verdict: str
    told: str
    seconds: float
    kept: bool = False

    def __str__(self) -> str:
        """A line."""
        took = "judged before" if self.kept else f"{self.seconds:.0f} s"
        return f"  {self.name}: {self.judged}: {self.verdict}: {self.told} ({took})"

    def to_json(self) -> dict[str, Json]:
        """Its fields."""
        return asdict(self)


class Judge:
    """Holds candidates against ``good`` on the cases of ``suites``."""

    def __init__(
        self,
        target: Target,
        good: Candidate,
        loaded: Loaded,
        scoring: Scoring,
        environments: Environments,
        terms: Terms,
        suites: Sequence[Suite],
    ) -> None:
        """Makes the environment of ``good``. Raises `EngineError` where it cannot be made."""
        self.target, self.good, self.environments = target, good, environments
        self._loaded, self._scoring, self._terms = loaded, scoring, terms
        self._kept = Kept(folder=loaded.folder, suites=suites, scoring=scoring)
        # By what good answers to: its environment, model, machine and questions, and by the terms.
        keys: list[Json] = [scoring.key(subject) for subject in target.side(good).subjects(self._kept.cases)]
        self.cases = len(keys)
        rules: list[Json] = [terms.margin, terms.strict, *sorted(terms.allow)]
        whole = digest({"keys": keys, "package": target.package, "terms": rules})
        path = (
            scoring.store.root / "bisect" / f"{target.profile.name}-{target.engine.name}-{whole[:12]}.jsonl"
        )
        self._journal = Journal(path, format_name="vlm-harness bisect", version=1)

    def forget(self) -> None:
        """Judge all again; recordings of what is unchanged are used again. Raises OSError."""
        self._journal.path.unlink(missing_ok=True)

    def damage(self) -> str:
        """A sentence where something is lost of what was kept, '' without. Raises `RecordingError`."""
        self._journal.refresh()
        return f"{damage}; that is judged again" if (damage := self._journal.damage) else ""

    def step(self, candidate: Candidate) -> Step:
        """What becomes of it; of ``good`` itself whether it answers all cases, and the same when asked twice.

        Raises `EngineError` where disk or network keep its environment from being made, which says nothing of
        it, and `RecordingError`.
        """
        if (entry := self._journal.get(candidate.key)) is not None:
            return _step(candidate.name, entry)
        began = time.monotonic()
        judged, verdict, told = self._judged(candidate)
        step = Step(
            name=candidate.name,
            judged=judged,
            verdict=verdict,
            told=one_line(told, longest=_LONGEST),
            seconds=round(time.monotonic() - began, 1),
        )
        self._journal.append(candidate.key, step.to_json())
        return step

    def is_made(self, candidate: Candidate) -> bool:
        """Whether its environment is there. Raises OSError."""
        lock = self.environments.known_lock(candidate.request)
        return lock is not None and self.environments.folder.marker(lock.id) is not None

    def _judged(self, candidate: Candidate) -> tuple[Judged, str, str]:
        side, good = self.target.side(candidate), self.target.side(self.good)
        try:
            self._scoring.key(side.subjects(self._kept.cases)[0])
        except EngineError as error:
            made = self.is_made(candidate)
            if not made and (not error.log_tail or is_passing(error.log_tail)):
                raise
            why = "installs and does not start" if made else "does not install"
            return Judged.SKIP, why, error.log_tail or error.message
        try:
            if candidate == self.good:
                comparison = self._twice()
            else:
                (comparison,) = gate(
                    [Sides(good, side)], self._loaded, self._scoring, self._terms, self._kept.suites
                )
        except GateError as error:
            return Judged.SKIP, "cannot be compared", str(error)
        return _of(comparison)

    def _twice(self) -> Comparison:
        side, anew = self.target.side(self.good), self._scoring.anew()
        subjects = side.subjects(self._kept.cases)
        self._scoring.make(subjects)
        first = again = load_side(side, self._kept)
        if not first.errors:
            anew.make(subjects)
            again = load_side(side, replace(self._kept, scoring=anew))
        suites, profiles = self._kept.suites, self._loaded.profiles
        return compare_sides(first, again, suites, profiles, self._scoring, self._terms)


def _of(comparison: Comparison) -> tuple[Judged, str, str]:
    verdict, errors = comparison.verdict, comparison.candidate.errors
    judged = _JUDGED.get(verdict.status, Judged.SKIP)
    if errors and not comparison.candidate.recordings:
        why = next(iter(errors.values()))
        started = not why.startswith("load: ")
        return judged, "ERROR" if started else "installs and does not start", why.removeprefix("load: ")
    word = f"{verdict.verdict} within the margin" if verdict.within_margin else str(verdict.verdict)
    if judged is Judged.GOOD:
        moved = [case for case in verdict.cases if case.largest is not None]
        largest = max(moved, key=lambda case: case.largest or 0.0, default=None)
        if largest is None or not largest.largest:
            return judged, word, "nothing moved"
        return judged, word, f"most moved: {largest.case}, by {largest.largest:.2g}"
    worst = worst_cases(verdict.cases, most=1).shown
    if worst and (judged is Judged.BAD or not verdict.findings):
        return judged, word, f"{worst[0].case}: {worst[0].reason.partition(';')[0]}"
    return judged, word, verdict.sentence


def _step(name: str, entry: Mapping[str, Any]) -> Step:
    return Step(
        name=name,
        judged=Judged(entry["judged"]),
        verdict=str(entry["verdict"]),
        told=str(entry["told"]),
        seconds=float(entry["seconds"]),
        kept=True,
    )
