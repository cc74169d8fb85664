"""All figures of one profile: its recordings, made where they are missing, and what follows from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace

from harness.cases.profiles import EngineSpec, Profile, paths_of
from harness.cases.suites import Case
from harness.engines.contract import Json, Reading, Request
from harness.errors import EngineError
from harness.method.advice import RULES, Advice, Limits, advise, advise_debugging
from harness.method.coverage import CaseReading, Coverage, Depth, best_reading, coverage_of, depth_of
from harness.method.missed_mass import MissedMass, missed_by
from harness.method.timing import PathCost, TimedPath, Work, measure_paths
from harness.recordings.device import device_line
from harness.scoring.scoring import Scoring
from harness.scoring.subjects import Subject, request_for, subjects
from harness.workers import run

__all__ = ["ALL", "USUAL", "Account", "EngineAccount", "Plan", "account_for"]

USUAL = (5, 10, 20)
"""Lengths of lists that people ask for; 20 is also the most that LMDeploy's server gives."""

_LONGEST_LIST = 1024  # of TurboMind, and of `top_k` in a profile
LIST_PATH = "top-k"
ALL = "all"
"""Stands for all suites in `EngineAccount.coverage`."""
_NATIVE = "torch"
_CAP = "top_logprobs"  # what a server was found to give at most, in its fingerprint


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be measured.

    ``lengths`` of lists in ascending order; ``width`` is the widest acceptable interval; ``rounds`` 0 leaves
    the timing out, else ``cases_per_path`` cases are timed.
    """

    lengths: tuple[int, ...] = USUAL
    width: float = 1e-3
    rounds: int = 3
    cases_per_path: int = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineAccount:
    """One engine's figures.

    ``coverage`` is by suite, with `ALL` for all of them, and empty where no case has an answer row.
    ``missed`` has one entry per length and is empty unless every row was seen whole; ``partial`` counts those
    that were not. ``errors`` (by case) and ``without_row`` name cases that the figures leave out.
    """

    name: str
    kind: str
    paths: tuple[str, ...]
    device: str
    limits: Limits
    coverage: Mapping[str, Coverage]
    missed: tuple[MissedMass, ...]
    partial: int
    errors: Mapping[str, str]
    without_row: tuple[str, ...]
    costs: tuple[PathCost, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Everything that the report says of ``profile``; ``timed`` cases in batches of ``batch`` were timed."""

    profile: str
    suites: int
    cases: int
    engines: tuple[EngineAccount, ...]
    advice: tuple[Advice, ...]
    timed: int
    rounds: int

    @property
    def complete(self) -> bool:
        """Whether every engine answered every case."""
        return not any(engine.errors for engine in self.engines)

    def to_json(self) -> Json:
        """Everything, for machines; the rules by which the advice was given included."""
        rules = dict(rule.split(": ", 1) for rule in RULES)
        return _plain(
            {"version": 1, **{each.name: getattr(self, each.name) for each in fields(self)}, "rules": rules}
        )


def account_for(
    profile: Profile,
    cases: Sequence[Case],
    scoring: Scoring,
    plan: Plan,
    *,
    show: Callable[[str], None],
    work: Work = run,
) -> Account:
    """Make the missing recordings of ``cases`` on every engine of ``profile``, and measure.

    ``scoring`` shows its own progress. Engine errors are noted, not raised.
    """
    # How deep a letter lies in a list is asked here; a text has no place in one.
    cases = [case for case in cases if case.kind == Request.LETTER]
    asked = list(subjects(cases, [profile], selection="every"))
    scoring.make(asked)
    engines = [_engine_account(spec, asked, scoring, plan) for spec in profile.engines]
    own = list({subject.case.name: subject.case for subject in asked}.values())
    timed = _spread(own, plan.cases_per_path) if plan.rounds else []
    if timed:
        engines = _measured(engines, profile, asked, timed, scoring, plan, show, work)
    return Account(
        profile=profile.name,
        suites=len({case.suite for case in own}),
        cases=len(own),
        engines=tuple(engines),
        advice=tuple(_advice(engine) for engine in engines if engine.coverage),
        timed=len(timed),
        rounds=plan.rounds if timed else 0,
    )


def _spread(cases: Sequence[Case], most: int) -> list[Case]:
    """At most so many cases, from all parts of the suites."""
    count = min(most, len(cases))
    return [cases[number * len(cases) // count] for number in range(count)]


def _engine_account(
    spec: EngineSpec, asked: Sequence[Subject], scoring: Scoring, plan: Plan
) -> EngineAccount:
    """What the recordings of one engine say."""
    readings: list[CaseReading] = []
    without: list[str] = []
    errors: dict[str, str] = {}
    fingerprint: Mapping[str, Json] = {}
    paths = spec.settings.paths  # empty where the engine takes the best that it has
    for subject in asked:
        if subject.engine.name != spec.name:
            continue
        try:
            recording = scoring.recording(subject)
        except EngineError as error:
            errors[subject.case.name] = error.first_line
            continue
        fingerprint = recording.fingerprint
        paths = tuple(each.path for each in recording.answer.readings)
        reading = best_reading(recording.answer)
        if reading.log_z is None:
            without.append(subject.case.name)
        else:
            readings.append(_case_reading(subject.case, reading))
    partial = sum(one.reading.partial for one in readings)
    limits = _limits(spec, fingerprint, plan)
    lengths = sorted({*plan.lengths, limits.most} if limits.found else plan.lengths)
    return EngineAccount(
        name=spec.name,
        kind=spec.settings.kind,
        paths=paths,
        device=device_line(fingerprint),
        limits=limits,
        coverage=_coverage(readings),
        missed=tuple(missed_by(readings, k) for k in lengths) if readings and not partial else (),
        partial=partial,
        errors=errors,
        without_row=tuple(without),
    )


def _case_reading(case: Case, reading: Reading) -> CaseReading:
    return CaseReading(
        case=case.name, suite=case.suite, place=str(case.location), letters=case.letters, reading=reading
    )


def _coverage(readings: Sequence[CaseReading]) -> dict[str, Coverage]:
    depths: dict[str, list[Depth]] = {}
    for one in readings:
        depth = depth_of(one)
        depths.setdefault(one.suite, []).append(depth)
        depths.setdefault(ALL, []).append(depth)
    suites = [suite for suite in depths if suite != ALL]
    return {suite: coverage_of(depths[suite]) for suite in [*suites, ALL] if suite in depths}


def _limits(spec: EngineSpec, fingerprint: Mapping[str, Json], plan: Plan) -> Limits:
    """The longest list: what a server was found to give, else what may be asked for."""
    loaded = fingerprint.get("loaded")
    cap = loaded.get(_CAP) if isinstance(loaded, dict) else None
    if isinstance(cap, int):
        return Limits(cap, f"the server of {spec.name}", plan.width, found=True)
    return Limits(_LONGEST_LIST, "a list", plan.width)


def _measured(
    engines: Sequence[EngineAccount],
    profile: Profile,
    asked: Sequence[Subject],
    timed: Sequence[Case],
    scoring: Scoring,
    plan: Plan,
    show: Callable[[str], None],
    work: Work,
) -> list[EngineAccount]:
    """The engines with what their paths cost, all paths of all engines timed in turn."""
    paths: list[TimedPath] = []
    refused: list[PathCost] = []
    for engine in engines:
        subject = next(one for one in asked if one.engine.name == engine.name)
        try:
            job = scoring.job(subject)
        except EngineError as error:
            problem = error.first_line
            refused += [
                PathCost(engine=engine.name, kind=engine.kind, path=path, top_k=0, problem=problem)
                for path in paths_of(subject.engine.settings)
            ]
            continue
        for path in paths_of(subject.engine.settings):
            top_k = _list_length(engine) if path == LIST_PATH else 0
            own = replace(
                job,
                settings=replace(job.settings, paths=(path,), top_k=top_k),
                log=job.log.with_name(f"{job.log.stem}-method-{path}.log"),
                rows=None,
            )
            own.log.unlink(missing_ok=True)  # as for recordings: workers append to it
            paths.append(TimedPath(engine=engine.name, path=path, job=own))
    requests = [request_for(case, profile) for case in timed]
    costs = [*measure_paths(paths, requests, rounds=plan.rounds, show=show, work=work), *refused]
    return [
        replace(engine, costs=tuple(cost for cost in costs if cost.engine == engine.name))
        for engine in engines
    ]


def _list_length(engine: EngineAccount) -> int:
    """The k that a list is timed with: what the suite needs, as far as the engine gives it."""
    needed = engine.coverage[ALL].all.k if engine.coverage else USUAL[-1]
    return min(needed, engine.limits.most)


def _advice(engine: EngineAccount) -> Advice:
    if engine.kind == _NATIVE:
        return advise_debugging(engine.name, engine.paths, engine.costs)
    return advise(engine.name, engine.coverage[ALL], engine.missed, engine.costs, engine.limits)


def _plain(value: object) -> Json:
    """Dataclasses and named tuples as JSON objects."""
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: _plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: _plain(each) for name, each in value._asdict().items()}
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"found {value!r}, which is not JSON")
