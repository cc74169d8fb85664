"""A candidate held against the good one by the gate, and what is kept of it for a run that goes on."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property

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
from harness.gate.side import GateSide, Kept, load_side
from harness.recordings.fingerprint import digest
from harness.recordings.journal import Journal
from harness.reports.worst_cases import one_line, worst_cases
from harness.scoring.scoring import Scoring
from harness.scoring.subjects import Subject
from harness.verdicts.verdict import ExitStatus

__all__ = ["Judge", "Step"]

_JUDGED = {ExitStatus.PASSED: Judged.GOOD, ExitStatus.FAILED: Judged.BAD}
_LONGEST = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What became of a candidate: the gate's ``verdict``, or why there is none, and the worst case or reason.

    ``seconds`` is what it took; ``kept`` whether that was in an earlier run.
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


@dataclass
class Judge:
    """Holds candidates against ``good`` on the cases of ``suites``."""

    target: Target
    good: Candidate
    loaded: Loaded
    scoring: Scoring
    environments: Environments
    terms: Terms
    suites: Sequence[Suite]

    def subjects(self, candidate: Candidate) -> list[Subject]:
        """What it is asked."""
        return self.target.side(candidate).subjects([case for suite in self.suites for case in suite.cases])

    @cached_property
    def journal(self) -> Journal:
        """What was judged, under what ``good`` answers to: environment, model, machine, questions; and terms.

        Makes the environment of ``good``; raises `EngineError` where it cannot be made.
        """
        keys: list[Json] = [self.scoring.key(subject) for subject in self.subjects(self.good)]
        rules: list[Json] = [self.target.package, self.terms.strict, *sorted(self.terms.allow)]
        name = f"{self.target.name.replace('/', '-')}-{digest({'of': keys, 'by': rules})[:12]}.jsonl"
        path = self.scoring.store.root / "bisect" / name
        return Journal(path, format_name="vlm-harness bisect", version=1)

    def step(self, candidate: Candidate) -> Step:
        """What becomes of it; of ``good`` itself whether it answers all cases, and the same when asked twice.

        Raises `EngineError` where disk or network keep its environment from being made, which says nothing of
        it, and `RecordingError`.
        """
        if (entry := self.journal.get(candidate.key)) is not None:
            fields = {name: value for name, value in entry.items() if name != "key"}
            return Step(**{**fields, "judged": Judged(entry["judged"]), "name": candidate.name, "kept": True})
        began = time.monotonic()
        judged, verdict, told = self._judged(candidate)
        step = Step(
            name=candidate.name,
            judged=judged,
            verdict=verdict,
            told=one_line(told, longest=_LONGEST),
            seconds=round(time.monotonic() - began, 1),
        )
        self.journal.append(candidate.key, asdict(step))
        return step

    def is_made(self, candidate: Candidate) -> bool:
        """Whether its environment is there. Raises OSError."""
        lock = self.environments.known_lock(candidate.request)
        return lock is not None and self.environments.folder.marker(lock.id) is not None

    def _judged(self, candidate: Candidate) -> tuple[Judged, str, str]:
        try:
            self.scoring.key(self.subjects(candidate)[0])
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
                sides = Sides(self.target.side(self.good), self.target.side(candidate))
                (comparison,) = gate([sides], self.loaded, self.scoring, self.terms, self.suites)
        except GateError as error:
            return Judged.SKIP, "cannot be compared", str(error)
        return _of(comparison)

    def _twice(self) -> Comparison:
        first, again = (self._asked(scoring) for scoring in (self.scoring, self.scoring.anew()))
        return compare_sides(first, again, self.suites, self.loaded.profiles, self.scoring, self.terms)

    def _asked(self, scoring: Scoring) -> GateSide:
        scoring.make(self.subjects(self.good))
        kept = Kept(folder=self.loaded.folder, suites=self.suites, scoring=scoring)
        return load_side(self.target.side(self.good), kept)


def _of(comparison: Comparison) -> tuple[Judged, str, str]:
    verdict, errors = comparison.verdict, comparison.candidate.errors
    judged = _JUDGED.get(verdict.status, Judged.SKIP)
    if errors and not comparison.candidate.recordings:
        why = next(iter(errors.values()))
        words = why.partition("bin/python: ")[2] or why
        return judged, "installs and does not start" if why.startswith("load: ") else "ERROR", words
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
