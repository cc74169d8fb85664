"""Recordings of all variants and what lies between them, the temperature trap, and what each path costs."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from benchmarks.gpu.noise import Noise, noise_between
from benchmarks.gpu.prepared_cases import DTYPES, REFERENCE, Prepared
from harness.cases.profiles import Profile
from harness.checks.temperature import find_scaling
from harness.engines.contract import Answer
from harness.errors import EngineError, HarnessError
from harness.method.account import Plan, account_for
from harness.recordings.device import device_line
from harness.scoring.scoring import Scoring
from harness.scoring.subjects import Subject, request_for, subjects
from harness.workers import Failed, Scored, run

__all__ = ["Measuring"]

TRAP: Final = Path(__file__).resolve().parents[2] / "tests" / "planted" / "faults" / "temperature_trap.py"
"""Has stage two asked for with LMDeploy's default temperature instead of the 1 that guards it."""

_TRAP_CASES: Final = 4
_TRAP_TOLERANCE: Final = {"float16": 2e-2, "bfloat16": 0.15}  # of a letter's logit: what rounding does to it
_SECOND: Final = "again"


@dataclass(frozen=True, slots=True)
class Measuring:
    """Measures on ``prepared`` cases, with recordings under ``root``.

    ``say`` is told what is going on.
    """

    prepared: Prepared
    root: Path
    run_id: str
    say: Callable[[str], None]

    def noise(self, model: str) -> dict[str, Any]:
        """Noise floors of one model, from native float32 and from LMDeploy itself.

        An engine that left cases out has an entry under ``errors``; the others' figures stand.
        """
        profile = self.prepared.noise(model)
        found = self._answers(profile, {engine.name for engine in profile.engines}, self.root)
        repeated = {f"lmdeploy_{dtype}" for dtype in DTYPES}
        again = self._answers(profile, repeated, self.root / _SECOND)
        floors = [
            _between(REFERENCE, name, found.answers, found.answers)
            for name in found.answers
            if name != REFERENCE
        ]
        for dtype in DTYPES:
            usual = f"lmdeploy_{dtype}"
            floors.append(_between(f"torch_{dtype}", usual, found.answers, found.answers))
            floors.append(
                replace(_between(usual, usual, found.answers, again.answers), right=f"{usual} again")
            )
            floors += [
                _between(usual, f"{usual}_{other}", found.answers, found.answers)
                for other in ("alone", "eager")
            ]
        return {
            "floors": [asdict(floor) for floor in floors],
            "devices": {**found.devices},
            "errors": {**found.errors, **{f"{name} again": why for name, why in again.errors.items()}},
        }

    def trap(self, model: str, dtype: str) -> dict[str, Any]:
        """Whether stage two of a case alone comes back divided by the temperature, without its guard."""
        profile = self.prepared.compared(model, dtype)
        subject = next(one for one in self._subjects(profile) if one.engine.name == "lmdeploy")
        job = self._scoring(self.root).job(subject)
        settings = replace(job.settings, paths=("captured", "two-stage"), top_k=0, batch_size=1)
        log = job.log.with_name(f"{job.log.stem}-trap.log")
        job = replace(job, settings=settings, log=log, rows=None, patch=TRAP)
        cases = [one.case for one in self._subjects(profile) if one.engine.name == "lmdeploy"][:_TRAP_CASES]
        requests = [(case.name, request_for(case, profile)) for case in cases]
        factors: list[float] = []
        with closing(run(job, requests)) as events:
            for event in events:
                if isinstance(event, Failed):
                    raise event.error
                if isinstance(event, Scored):
                    factors.append(_factor(event.answer, _TRAP_TOLERANCE[dtype]))
        sprung = sum(factor != 1.0 for factor in factors)
        verdict = "on" if sprung == len(factors) else "off" if not sprung else "on in some cases"
        return {"dtype": dtype, "trap": verdict, "factors": factors, "median": statistics.median(factors)}

    def costs(self, model: str, dtype: str, *, rounds: int) -> dict[str, Any]:
        """What each path costs, one worker at a time.

        The clock is the parent's, and stops when an answer is there. Its numbers were copied from the device,
        which waits until the device has done its work, so nothing is timed that has only been queued.
        """
        profile = self.prepared.compared(model, dtype)
        plan = Plan(rounds=rounds, cases_per_path=16)
        scoring = self._scoring(self.root)
        account = account_for(profile, self.prepared.cases, scoring, plan, show=self.say)
        costs = [cost for engine in account.engines for cost in engine.costs]
        if not any(cost.seconds for cost in costs):
            raise HarnessError(
                f"no path of {profile.name} could be timed: {costs[0].problem if costs else ''}"
            )
        return {
            "profile": profile.name,
            "cases": account.timed,
            "rounds": account.rounds,
            "paths": [asdict(cost) for cost in costs],
        }

    def _subjects(self, profile: Profile) -> list[Subject]:
        return list(subjects(self.prepared.cases, [profile], selection="every"))

    def _scoring(self, root: Path) -> Scoring:
        return Scoring(root, run_id=self.run_id, fresh=False, show=lambda _: None)

    def _answers(self, profile: Profile, engines: set[str], root: Path) -> _Found:
        """The answers of some of a profile's engines by engine and case, made where they are missing."""
        asked = [one for one in self._subjects(profile) if one.engine.name in engines]
        names = list(dict.fromkeys(one.engine.name for one in asked))

        self.say(f"{profile.name}: {', '.join(names)} ...")
        scoring = self._scoring(root)
        scoring.make(asked)
        found = _Found({name: {} for name in names}, {}, {})
        for one in asked:
            name = one.engine.name
            try:
                recording = scoring.recording(one)
            except EngineError as error:
                found.errors.setdefault(name, error.message.splitlines()[0])
                continue
            found.devices[name] = device_line(recording.fingerprint)
            found.answers[name][one.case.name] = recording.answer
        return found


@dataclass(frozen=True, slots=True)
class _Found:
    answers: dict[str, dict[str, Answer]]
    devices: dict[str, str]
    errors: dict[str, str]


def _between(
    left: str, right: str, lefts: dict[str, dict[str, Answer]], rights: dict[str, dict[str, Answer]]
) -> Noise:
    theirs, ours = lefts[left], rights[right]
    return noise_between(left, right, [(theirs[case], ours[case]) for case in theirs if case in ours])


def _factor(answer: Answer, tolerance: float) -> float:
    """By what stage two's letter logits were multiplied, against the captured ones; 1.0 if by nothing."""
    by_path = {reading.path: reading.letter_logits for reading in answer.readings}
    captured, second = (dict(enumerate(by_path[path])) for path in ("captured", "two-stage"))
    scaling = find_scaling(captured, second, tolerance=tolerance)
    return 1.0 if scaling is None else scaling.factor
