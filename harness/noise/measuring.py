"""Measuring noise floors: which runs are missing, having them made, and the floor of them all.

Workers run one after another, so that a GPU which holds one model is enough. The reference is run first, and
its full rows are kept until the other runs have been compared with them.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

from harness.cases.profiles import EngineSpec, Profile
from harness.checks.log_odds import SCALARS
from harness.engines.contract import EngineSettings, Json
from harness.engines.pixel_limits import pixel_limits
from harness.engines.template_date import TEMPLATE_DATE
from harness.errors import EngineError
from harness.noise.assembling import License, assemble
from harness.noise.repeats import not_deterministic, repeats_of
from harness.noise.runs import REFERENCE, Done, Runs, Work
from harness.noise.store import NoiseStore, changed, load_floor
from harness.noise.variants import LEAST, Variant, chosen, variants_for
from harness.recordings.device import device_line
from harness.recordings.fingerprint import digest
from harness.recordings.store import RecordingStore
from harness.scoring.scoring import Scoring
from harness.scoring.subjects import Subject, request_for
from harness.verdicts.noise_floor import UNDISTURBED, NoiseFloor
from harness.workers import Job, run

__all__ = ["Measured", "measure_noise", "native_engine"]

Plan = Callable[[EngineSettings], Sequence[Variant]]

_FLOAT32 = "float32"
_NATIVE = "torch"
_ID_DIGITS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What came of one engine: its floor, or the ``problem`` that kept it from having one.

    ``made`` is how many runs that took, 0 where everything was known. ``notes`` say what was left out.
    ``refused`` says why the floor is not used, '' where it is.
    """

    profile: str
    engine: str
    floor: NoiseFloor | None
    made: int
    problem: str = ""
    notes: tuple[str, ...] = ()
    refused: str = ""


def measure_noise(
    subjects: Sequence[Subject],
    scoring: Scoring,
    *,
    show: Callable[[str], None],
    engines: Collection[str] = (),
    variants: Collection[str] | None = None,
    again: bool = False,
    every: Plan = variants_for,
    work: Work = run,
) -> list[Measured]:
    """Measure the floors of one profile's ``engines`` (of all, with none named) on ``subjects``' cases.

    ``every`` gives the variants of an engine, ``variants`` are the names of those wanted, None for all.
    Native engines come first, since others are measured against them. What was measured before is not
    measured again unless ``again`` is set. Engine errors are told in the results, not raised.
    """
    by_engine: dict[str, list[Subject]] = {}
    for subject in scoring.in_order(subjects, lambda subject: subject.case):  # as runs have them
        if not engines or subject.engine.name in engines:
            by_engine.setdefault(subject.engine.name, []).append(subject)
    results = []
    for own in sorted(by_engine.values(), key=lambda group: group[0].engine.settings.kind != _NATIVE):
        one = _Measurement(own, scoring, show, work)
        try:
            results.append(one.measure(every, variants, again=again))
        except EngineError as error:
            results.append(one.result(problem=error.first_line))
    return results


def native_engine(profile: Profile, spec: EngineSpec) -> EngineSpec | None:
    """The engine whose float32 is ``spec``'s reference: itself, else the native one of the same model."""

    def model(each: EngineSpec) -> tuple[object, ...]:
        settings = each.settings
        day = settings.options.get(TEMPLATE_DATE)
        return settings.model, each.revision, settings.max_tiles, pixel_limits(settings), day

    natives = [e for e in profile.engines if e.settings.kind == _NATIVE and model(e) == model(spec)]
    natives.sort(key=lambda each: (each.name != spec.name, each.name != profile.reference))
    return natives[0] if natives else None


class _Measurement:
    """One engine on the cases of ``subjects``; those that ask the same are measured once."""

    def __init__(
        self, subjects: Sequence[Subject], scoring: Scoring, show: Callable[[str], None], work: Work
    ) -> None:
        self._subjects = subjects
        self._first = subjects[0]
        self._scoring = scoring
        self._show = show
        self._work = work
        self._notes: list[str] = []
        self._made = 0

    def result(self, floor: NoiseFloor | None = None, *, problem: str = "") -> Measured:
        return Measured(
            profile=self._first.profile.name,
            engine=self._first.engine.name,
            floor=floor,
            made=self._made,
            problem=problem,
            notes=tuple(self._notes),
            refused="" if floor is None else not_deterministic(floor, self._first.profile),
        )

    def measure(self, plan: Plan, names: Collection[str] | None, *, again: bool) -> Measured:
        """Raises EngineError when the engine is not there, or answers nothing."""
        job = self._scoring.job(self._first)
        asked = {s.case.name: digest(self._scoring.asked(s)) for s in self._subjects}

        def waiting() -> None:
            self._show(f"{self._first.engine_label}: waiting for another run that uses this engine ...")

        with self._scoring.store.making(self._scoring.fingerprint(self._first), on_wait=waiting):
            reference = self._reference_job(job)
            runs = self._runs(asked, reference, again=again)
            variants = chosen(every := plan(job.settings), names)
            if reference is not None and not self._reference_answers(runs, reference, variants):
                reference = None
                runs = self._runs(asked, None, again=again)
            self._undisturbed(runs, job, variants)
            for number, variant in enumerate(variants, 1):
                self._vary(runs, variant, job, f" ({number} of {len(variants)})")
            runs.forget_rows()
            return self._finish(runs, job, asked, every)

    def _reference_job(self, job: Job) -> Job | None:
        """Native float32 on the same device; None where the engine's undisturbed run is the reference."""
        native = native_engine(self._first.profile, self._first.engine)
        if native is None:
            self._notes.append(
                "measured from its own undisturbed run: the profile has no native engine of the same model"
            )
            return None
        if native.name == self._first.engine.name and job.settings.dtype == _FLOAT32:
            return None
        try:
            theirs = self._scoring.job(self._native_subject(native))
        except EngineError as error:
            self._note_fallback(native.name, error.first_line)
            return None
        paths = theirs.settings.paths[:1]
        return replace(theirs, settings=replace(theirs.settings, dtype=_FLOAT32, paths=paths))

    def _native_subject(self, native: EngineSpec) -> Subject:
        return replace(self._first, engine=native)

    def _note_fallback(self, native: str, why: str) -> None:
        self._notes.append(
            f"measured from its own undisturbed run: {native} in float32 does not answer: {why}"
        )

    def _runs(self, asked: dict[str, str], reference: Job | None, *, again: bool) -> Runs:
        # What was measured before scalars were taken says nothing of them.
        depends: list[Json] = [list(SCALARS), dict(self._scoring.fingerprint(self._first))]
        native = native_engine(self._first.profile, self._first.engine)
        if reference is not None and native is not None:
            depends.append(dict(self._scoring.fingerprint(self._native_subject(native))))
        profile, engine, root = (
            self._first.profile.name,
            self._first.engine.name,
            self._scoring.store.root,
        )
        store, base = NoiseStore(root, profile, engine), digest(depends)[:_ID_DIGITS]
        if again:
            store.begin_again(base)
        requests = {asked[s.case.name]: request_for(s.case, s.profile) for s in reversed(self._subjects)}
        return Runs(
            store,
            RecordingStore(root / "noise"),
            dict(reversed(requests.items())),
            label=self._first.engine_label,
            measurement=f"{base}.{store.round(base)}",
            reference=UNDISTURBED if reference is None else REFERENCE,
            show=self._show,
            work=self._work,
        )

    def _unfinished(self, runs: Runs, variants: Sequence[Variant]) -> list[str]:
        """What some run is missing for."""
        names = [v.name for v in variants if runs.failure(v.name) is None]
        return [
            asked
            for asked in runs.questions
            if runs.failure(UNDISTURBED, asked) is None
            and any(
                runs.samples(name, asked) is None and runs.failure(name, asked) is None
                for name in (UNDISTURBED, *names)
            )
        ]

    def _reference_answers(self, runs: Runs, job: Job, variants: Sequence[Variant]) -> bool:
        """Have the reference run where it is needed; False if it answers nothing."""
        if (why := runs.failure(REFERENCE)) is not None:
            self._note_fallback(self._native_name(), why)
            return False
        missing = [
            asked
            for asked in self._unfinished(runs, variants)
            if not runs.ready(asked) and runs.failure(REFERENCE, asked) is None
        ]
        if missing:
            done = self._make(runs, REFERENCE, job, missing, told=" in float32")
            if done.first is not None and not any(runs.samples(REFERENCE, a) for a in runs.questions):
                runs.put_failure(REFERENCE, done.first.first_line)
                self._note_fallback(self._native_name(), done.first.first_line)
                return False
        return True

    def _native_name(self) -> str:
        native = native_engine(self._first.profile, self._first.engine)
        return "" if native is None else native.name

    def _undisturbed(self, runs: Runs, job: Job, variants: Sequence[Variant]) -> None:
        unfinished = self._unfinished(runs, variants)
        own = runs.reference == UNDISTURBED
        missing = [
            asked
            for asked in unfinished
            if (not runs.ready(asked) if own else runs.samples(UNDISTURBED, asked) is None)
        ]
        if not missing:
            return
        done = self._make(runs, UNDISTURBED, job, missing)
        if done.first is not None and not any(runs.samples(UNDISTURBED, a) for a in runs.questions):
            raise done.first

    def _vary(self, runs: Runs, variant: Variant, job: Job, told: str) -> None:
        if runs.failure(variant.name) is not None:
            return
        missing = [
            asked
            for asked in runs.questions
            if runs.samples(UNDISTURBED, asked)
            and runs.samples(variant.name, asked) is None
            and runs.failure(variant.name, asked) is None
        ]
        if not missing:
            return
        job = replace(job, settings=variant.settings)
        done = self._make(runs, variant.name, job, missing, variant=variant, told=told)
        if done.first is not None and not any(runs.samples(variant.name, a) for a in runs.questions):
            runs.put_failure(variant.name, done.first.first_line)

    def _make(
        self,
        runs: Runs,
        name: str,
        job: Job,
        missing: Sequence[str],
        *,
        variant: Variant | None = None,
        told: str = "",
    ) -> Done:
        self._made += 1
        done = runs.make(name, job, missing, order="given" if variant is None else variant.order, told=told)
        if done.answered:  # else it is the run that failed, not these questions
            for asked, error in done.errors.items():
                runs.put_failure(name, error.first_line, asked)
        return done

    def _finish(self, runs: Runs, job: Job, asked: dict[str, str], every: Sequence[Variant]) -> Measured:
        """The floor of all runs, those of earlier calls included; it is kept where it is new."""
        answered = []
        for variant in every:
            if (why := runs.failure(variant.name)) is not None:
                self._notes.append(f"left out: {variant.name}: {why}")
            elif any(runs.samples(variant.name, question) for question in runs.questions):
                answered.append(variant.name)
        self._note_cases(runs, asked, answered)
        if len(answered) < LEAST:
            return self.result(
                problem=f"{len(answered)} of the variants {', '.join(v.name for v in every)} were measured; "
                f"allowed: {LEAST} or more, since fewer say too little of a spread"
            )
        fingerprint = self._scoring.fingerprint(self._first)
        loaded = runs.store.loaded(runs.measurement, UNDISTURBED)
        dtype = str(loaded.get("dtype") or job.settings.dtype)
        floor = NoiseFloor(
            profile=self._first.profile.name,
            engine=self._first.engine.name,
            dtype=dtype,
            device=device_line({**fingerprint, "loaded": loaded}),
            made=datetime.datetime.now(datetime.UTC).astimezone().date().isoformat(),
            fingerprint=fingerprint,
            cases={},
            full={},
        )
        is_native = job.settings.kind == _NATIVE
        license_ = None if is_native else License(self._native_floor(dtype), dtype=dtype, cases=len(asked))
        floor, unlicensed = assemble(floor, runs, asked=asked, variants=answered, license_=license_)
        floor = replace(floor, repeats=repeats_of(runs, asked, dtype=dtype))
        if unlicensed:
            few = f"{unlicensed[0]}{f' and {len(unlicensed) - 1} more' if len(unlicensed) > 1 else ''}"
            self._notes.append(
                f"{few}: further from native float32 than noise brings an answer, so measured from the "
                "undisturbed run: what is no noise must not widen limits"
            )
        known = runs.store.floor(fingerprint)
        if known is not None and _same(floor, known):
            floor = replace(floor, made=known.made)
        if known != floor or runs.store.floor() != floor:
            runs.store.put_floor(floor)
        return self.result(floor)

    def _native_floor(self, dtype: str) -> NoiseFloor | None:
        """The native engine's floor, if it is fresh and of the same dtype."""
        native = native_engine(self._first.profile, self._first.engine)
        if native is None:
            return None
        floor = load_floor(self._scoring.store.root, self._first.profile.name, native.name)
        if floor is None or floor.dtype != dtype or not_deterministic(floor, self._first.profile):
            return None
        try:
            fingerprint = self._scoring.fingerprint(self._native_subject(native))
        except EngineError:
            return None
        return None if changed(floor, fingerprint) else floor

    def _note_cases(self, runs: Runs, asked: dict[str, str], variants: Sequence[str]) -> None:
        errors = {case: why for case, q in asked.items() if (why := runs.failure(UNDISTURBED, q)) is not None}
        if errors:
            case, why = next(iter(errors.items()))
            self._notes.append(f"{_cases(len(errors))} without a floor, ERROR undisturbed: {case}: {why}")
        mute = [case for case, question in asked.items() if runs.samples(UNDISTURBED, question) == ()]
        if mute:
            self._notes.append(f"{_cases(len(mute))} without a floor, no answer row: {mute[0]}")
        for name in (runs.reference, *variants):
            failed = {case: why for case, q in asked.items() if (why := runs.failure(name, q)) is not None}
            if failed and name != UNDISTURBED:
                case, why = next(iter(failed.items()))
                self._notes.append(f"{name} left out for {_cases(len(failed))}: {case}: {why}")


def _same(floor: NoiseFloor, other: NoiseFloor) -> bool:
    """Whether two floors say the same, NaN being equal to NaN."""
    return repr(replace(floor, made="")) == repr(replace(other, made=""))


def _cases(count: int) -> str:
    return "1 case" if count == 1 else f"{count} cases"
