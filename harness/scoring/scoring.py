"""Scoring: find out which recordings are missing, and have workers make them.

Runs in pytest's own process and imports no engine.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

from harness.checks.agreement import Agreement, compare, row_belongs
from harness.checks.full_vocabulary import FullVocabulary
from harness.engines.api_server.running import is_running_server
from harness.engines.contract import Json, Reading, Row
from harness.environments.store import Environments
from harness.errors import EngineError, ErrorKind
from harness.recordings.fingerprint import asked_of, loaded_dtype, recording_key
from harness.recordings.store import Recording, RecordingStore
from harness.scoring.resolving import EngineProgress, Engines, ResolvedEngine
from harness.scoring.subjects import Subject, images_of, request_for
from harness.workers import Failed, Job, Loaded, Progress, Scored, run
from harness.workers.process import WorkerProcess, start_worker
from harness.workers.rows import row_file

__all__ = ["Scoring", "paths_with_rows"]


def paths_with_rows(recording: Recording) -> list[str]:
    """The paths that saw the answer's full row: none where the model never got there."""
    return [reading.path for reading in recording.answer.readings if _has_row(reading)]


def _has_row(reading: Reading) -> bool:
    return reading.log_z is not None and not reading.partial


@dataclass(slots=True)
class _Plan:
    """One engine with the subjects it is asked about, by key: equal content is scored once."""

    label: str
    engine: ResolvedEngine
    subjects: dict[str, Subject] = field(default_factory=dict)


class Scoring:
    """Makes the missing recordings of a test run and hands out all of them.

    ``root`` holds journals, full rows and logs. ``run_id`` is shared by the processes of one run. ``fresh``
    accepts only recordings made by this run. ``show`` is called with the progress. ``environments`` has the
    environments of engines whose profile names requirements. ``start`` starts workers.
    """

    def __init__(
        self,
        root: Path,
        *,
        run_id: str,
        fresh: bool,
        show: Callable[[EngineProgress], None],
        environments: Environments | None = None,
        start: Callable[[Job], WorkerProcess] = start_worker,
    ) -> None:
        """Touches nothing yet."""
        self.store = RecordingStore(root)
        self._root = root
        self._run_id = run_id
        self._fresh = fresh
        self._show = show
        self._start = start
        self._stored = lru_cache(maxsize=256)(self.store.get)  # a test asks several times for its recording
        self._environments = Environments(run_id=run_id) if environments is None else environments
        self._engines = Engines(self._environments, cache=root / "cache", show=show)
        self._images = lru_cache(maxsize=None)(images_of)  # engines and reports ask again for a case's
        self._keys: dict[str, str] = {}  # by subject id
        self._errors: dict[str, EngineError] = {}  # by recording key

    @property
    def run_id(self) -> str:
        """The name that the processes of one run share."""
        return self._run_id

    def anew(self) -> Scoring:
        """Another one over the same folder and environments, which accepts only what it makes itself."""
        return Scoring(
            self._root,
            run_id=f"{self._run_id}-anew",
            fresh=True,
            show=self._show,
            environments=self._environments,
        )

    def make(
        self,
        subjects: Iterable[Subject],
        *,
        compared: Iterable[tuple[Subject, Subject]] = (),
        enough: Callable[[Collection[str]], bool] | None = None,
    ) -> None:
        """Make what is missing for ``subjects``, in their order.

        Both of each pair ``compared`` are needed with their full rows, unless the pair's full-vocabulary
        metrics are known already. Engines run one after another, references first. Engine errors are not
        raised here but by `recording`. ``enough`` is asked before an engine starts and after each outcome,
        with the keys that it still lacks: once it says so, the engine is ended and they are left.
        """
        self._stored.cache_clear()
        compared = list(compared)
        wanted = {subject.id: subject for subject in subjects}
        for subject in (one for pair in compared for one in reversed(pair)):
            wanted.setdefault(subject.id, subject)
        plans: dict[str, _Plan] = {}
        for subject in sorted(wanted.values(), key=lambda s: not s.is_reference):
            try:
                key, engine = self.key(subject), self._engines.resolve(subject)
            except EngineError:
                continue  # raised again, for its own tests, by `recording`
            plan = plans.setdefault(subject.engine_label, _Plan(subject.engine_label, engine))
            plan.subjects.setdefault(key, subject)
        with_rows = self._wanted_with_rows(compared)
        for plan in plans.values():
            self._make_engine(plan, with_rows, enough)

    def key(self, subject: Subject) -> str:
        """The key of the subject's recording; raises `EngineError` when the engine or image is not there."""
        if (key := self._keys.get(subject.id)) is None:
            request = request_for(subject.case, subject.profile)
            key = recording_key(self.fingerprint(subject), request, self._images(subject.case))
            self._keys[subject.id] = key
        return key

    def fingerprint(self, subject: Subject) -> Mapping[str, Json]:
        """What the subject's engine depends on, as far as it is known before loading; raises as `key`."""
        return self._engines.resolve(subject).fingerprint

    def asked(self, subject: Subject) -> dict[str, Json]:
        """What the subject's case asks today; raises `EngineError` when its image cannot be read."""
        return asked_of(request_for(subject.case, subject.profile), self._images(subject.case))

    def recording(self, subject: Subject) -> Recording:
        """Return the subject's recording, under today's names.

        Raises `EngineError` if its engine could not answer.
        """
        key = self.key(subject)
        if (error := self._errors.get(key)) is not None:
            raise error.with_traceback(None)  # else it grows with each test that is told of it
        recording = self._stored(key)
        if recording is None:
            # Under pytest-xdist its workers met the error, and the main process tells of it.
            told = self.store.error_for(key, self._run_id) or self.store.refusal_for(key, self._run_id)
            raise told or EngineError(ErrorKind.FAILED, f"{subject.id} was not scored in this run")
        return replace(recording, case=subject.case.name, engine=subject.engine_label)

    def dtype(self, subject: Subject) -> str:
        """The dtype in which the subject's engine computed, such as ``bfloat16`` or ``bfloat16+float32``.

        Raises `EngineError` if it could not answer.
        """
        return loaded_dtype(self.recording(subject).fingerprint) or subject.engine.settings.dtype

    def rows(self, subject: Subject) -> dict[str, Row]:
        """The full rows [V] that are still kept for the subject's recording, by path."""
        recording = self.recording(subject)
        rows = {path: self.store.load_row(recording.key, path) for path in paths_with_rows(recording)}
        return {path: row for path, row in rows.items() if row is not None}

    def _first_row(self, recording: Recording) -> Row | None:
        """The row of the path that gives the answer; None where there is none that is this recording's.

        A worker that was ended between writing rows and answering leaves rows of a recording never made.
        """
        readings = recording.answer.readings
        if not readings or not _has_row(readings[0]):
            return None
        row = self.store.load_row(recording.key, readings[0].path)
        return row if row is not None and row_belongs(recording, row) else None

    def job(self, subject: Subject) -> Job:
        """How the subject's engine is run for its recordings; raises `EngineError` if it is not there."""
        return self._job(_Plan(subject.engine_label, self._engines.resolve(subject), {subject.id: subject}))

    def agreement(self, baseline: Subject, subject: Subject) -> Agreement:
        """The subject's recording beside another one of its case, such as its reference's.

        As `beside`; raises `EngineError` if either engine could not answer.
        """
        ours, theirs = self.recording(subject), self.recording(baseline)
        return self.beside(theirs, ours, subject.case.letters)

    def beside(self, theirs: Recording, ours: Recording, letters: Sequence[str]) -> Agreement:
        """Two recordings side by side, the first as reference.

        Full-vocabulary metrics are taken from rows as far as there are some, else from the journal.
        """
        kept = self.store.get_metrics(theirs.key, ours.key)
        agreement = compare(
            theirs,
            ours,
            letters,
            row_a=self._first_row(theirs),
            row_b=self._first_row(ours),
            full=None if kept is None else FullVocabulary.from_json(kept),
        )
        if agreement.full is not None and (full := agreement.full.to_json()) != kept:
            self.store.put_metrics(theirs.key, ours.key, full)
        return agreement

    def _wanted_with_rows(self, compared: Iterable[tuple[Subject, Subject]]) -> set[str]:
        wanted: set[str] = set()
        for baseline, subject in compared:
            try:
                theirs, ours = self.key(baseline), self.key(subject)
            except EngineError:
                continue
            if self._top_only(subject, ours) or self._top_only(baseline, theirs):
                continue
            if self._fresh or self.store.get_metrics(theirs, ours) is None:
                wanted |= {theirs, ours}
        return wanted

    def _top_only(self, subject: Subject, key: str) -> bool:
        """Whether the engine sees the top of a row only, so that there are no full rows to compare."""
        if subject.engine.settings.kind == "api":
            return True
        recording = self.store.get(key)
        return recording is not None and any(reading.partial for reading in recording.answer.readings[:1])

    def _missing(self, plan: _Plan, with_rows: set[str]) -> dict[str, Subject]:
        missing: dict[str, Subject] = {}
        for key, subject in plan.subjects.items():
            if (error := self.store.error_for(key, self._run_id)) is not None:
                self._errors[key] = error
                continue
            # A server that runs already may be another one by the next run.
            anew = self._fresh or is_running_server(plan.engine.settings)
            recording = self.store.get(key, run_id=self._run_id if anew else None)
            if recording is None or (key in with_rows and not self._has_rows(recording)):
                if (error := self.store.refusal_for(key, self._run_id)) is not None:
                    self._errors[key] = error
                    continue
                missing[key] = subject
        return missing

    def _has_rows(self, recording: Recording) -> bool:
        """Whether the full rows are there, as far as its paths see any.

        That of the first path, which is what others are compared with, must be whole and this recording's.
        """
        wanted, first = paths_with_rows(recording), next(iter(recording.answer.readings), None)
        if not all(row_file(self.store.rows_folder, recording.key, path).exists() for path in wanted):
            return False
        return first is None or not _has_row(first) or self._first_row(recording) is not None

    def _make_engine(
        self, plan: _Plan, with_rows: set[str], enough: Callable[[Collection[str]], bool] | None
    ) -> None:
        missing: Mapping[str, Subject] = {}

        def show(phase: str) -> None:
            self._show(EngineProgress(plan.label, phase, 0, 0, len(plan.subjects) - len(missing), 0))

        if self._missing(plan, with_rows):
            waiting = "waiting for another run that uses this engine"
            with self.store.making(plan.engine.fingerprint, on_wait=lambda: show(waiting)):
                missing = self._missing(plan, with_rows)  # another run may have made them meanwhile
                if missing and not (enough is not None and enough(missing)):
                    self._run(plan, missing, enough)
                    return
        show("recorded")

    def _run(
        self,
        plan: _Plan,
        missing: Mapping[str, Subject],
        enough: Callable[[Collection[str]], bool] | None,
    ) -> None:
        reused, done, errors = len(plan.subjects) - len(missing), 0, 0
        fingerprint: Mapping[str, Json] = plan.engine.fingerprint
        requests = [(key, request_for(subject.case, subject.profile)) for key, subject in missing.items()]
        phase, left = "starting", set(missing)
        job = self._job(plan)
        job.log.unlink(missing_ok=True)  # workers append to it; an earlier run's lines would mislead
        # closing: the worker ends with the run, however that is left, not when Python gets round to it.
        with closing(run(job, requests, start=self._start)) as events:
            for event in events:
                match event:
                    case Loaded():
                        fingerprint = {**plan.engine.fingerprint, "loaded": dict(event.fingerprint)}
                    case Scored():
                        done += 1
                        recording = Recording(
                            key=event.key,
                            case=missing[event.key].case.name,
                            engine=plan.label,
                            answer=event.answer,
                            fingerprint=fingerprint,
                            asked=self.asked(missing[event.key]),
                        )
                        self.store.put(recording, run_id=self._run_id)
                    case Failed():
                        done, errors = done + 1, errors + 1
                        self._errors[event.key] = event.error
                        self.store.put_error(event.key, self._run_id, event.error)
                    case Progress():
                        phase = event.phase
                self._show(EngineProgress(plan.label, phase, done, len(missing), reused, errors))
                if enough is not None and isinstance(event, Scored | Failed):
                    left.discard(event.key)
                    if enough(left):
                        break
        self._show(EngineProgress(plan.label, "recorded", done, len(missing), reused, errors))

    def _job(self, plan: _Plan) -> Job:
        spec = next(iter(plan.subjects.values())).engine
        log = self._root / "logs" / f"{plan.label}.log"
        return Job(
            python=plan.engine.python,
            settings=plan.engine.settings,
            load_seconds=spec.load_seconds,
            case_seconds=spec.case_seconds,
            log=log,
            rows=self.store.rows_folder,
            patch=spec.patch,
        )
