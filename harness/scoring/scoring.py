"""Scoring: find out which recordings are missing, and have workers make them.

Runs in pytest's own process and imports no engine.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import cache, lru_cache, partial
from pathlib import Path

from harness.cases.suites import Case
from harness.checks.agreement import Agreement, compare, has_row, paths_with_rows, row_belongs
from harness.checks.full_vocabulary import FullVocabulary, compare_rows
from harness.engines.api_server.running import is_running_server
from harness.engines.contract import Json, Row
from harness.environments.store import Environments
from harness.errors import EngineError, ErrorKind
from harness.recordings.fingerprint import asked_of, loaded_dtype, recording_key
from harness.recordings.pace import PaceMaker
from harness.recordings.store import Recording, RecordingStore
from harness.scoring.asking_order import T, asking_order
from harness.scoring.resolving import EngineProgress, Engines, Plan
from harness.scoring.shards import Shard, dealt
from harness.scoring.subjects import Subject, images_of, request_for
from harness.workers import Failed, Job, Loaded, Progress, Scored, run
from harness.workers.executors import Executor
from harness.workers.process import WorkerProcess, start_worker
from harness.workers.rows import row_file

__all__ = ["Scoring"]

_HELD = 2048  # recordings in memory, some 10 KB each
_Enough = Callable[[Collection[str]], bool] | None


class Scoring:
    """Makes the missing recordings of a test run and hands out all of them.

    ``root`` holds journals, full rows and logs. ``run_id`` is shared by the processes of one run. ``fresh``
    accepts only recordings made by this run. ``show`` is called with the progress. ``environments`` has the
    environments of engines whose profile names requirements. ``start`` starts workers. With a ``shard``,
    others may make those of other shards meanwhile; `dealt` tells which subjects it has. ``executor`` has
    the workers, where it is not one of an engine after another on this machine.
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
        shard: Shard | None = None,
        executor: Executor | None = None,
    ) -> None:
        """Touches nothing yet."""
        self.store = RecordingStore(root)
        self._root = root
        self._run_id = run_id
        self._fresh = fresh
        self._show = show
        self._shard = shard
        self._executor = executor
        self._run_workers = partial(run, start=start) if executor is None else executor.run
        self._stored = lru_cache(maxsize=256)(self.store.get)  # a test asks several times for its recording
        self._row = lru_cache(maxsize=4)(self.store.load_row)  # and several checks for its rows
        self._held: dict[str, Recording] = {}  # by key, the first ones: each test function takes all cases
        self._environments = Environments(run_id=run_id) if environments is None else environments
        self._engines = Engines(self._environments, cache=root / "cache", show=show, executor=executor)
        self._images = lru_cache(maxsize=None)(images_of)  # engines and reports ask again for a case's
        self._keys: dict[str, str] = {}  # by subject id
        self._errors: dict[str, EngineError] = {}  # by recording key
        self._answered: set[str] = set()  # recording keys of which one is known to be there
        self._top_seen: dict[str, bool] = {}  # by recording key, whether its answer is of a row's top only

    @property
    def run_id(self) -> str:
        """The name that the processes of one run share."""
        return self._run_id

    @property
    def shard(self) -> Shard | None:
        """The share of the cases that this run makes, None for all."""
        return self._shard

    def dealt(self, subjects: Iterable[Subject]) -> tuple[Subject, ...]:
        """Those of ``subjects``, in the order of their suites, that are this run's to make."""
        if self._shard is None:
            return tuple(subjects)
        asked = self.in_order(subjects, lambda subject: subject.case)
        return dealt(asked, self._shard, lambda subject: self._images(subject.case))

    def in_order(self, items: Iterable[T], case: Callable[[T], Case]) -> list[T]:
        """``items``, each about a ``case``, in the order in which `make` asks these."""
        return asking_order(items, case, self._images)

    def anew(self) -> Scoring:
        """Another one over the same folder and environments, which accepts only what it makes itself."""
        return Scoring(
            self._root,
            run_id=f"{self._run_id}-anew",
            fresh=True,
            show=self._show,
            environments=self._environments,
            executor=self._executor,
        )

    def make(
        self,
        subjects: Iterable[Subject],
        *,
        compared: Iterable[tuple[Subject, Subject]] = (),
        enough: _Enough = None,
    ) -> None:
        """Make what is missing for ``subjects``, by `asking_order`.

        Both of each pair ``compared`` are needed with their full rows, unless the pair's full-vocabulary
        metrics are known already. Engines run one after another, references first. Engine errors are not
        raised here but by `recording`. ``enough`` is asked before an engine starts and after each outcome,
        with the keys that it still lacks: once it says so, the engine is ended. The order is then kept.
        """
        self._held.clear()
        self._stored.cache_clear()
        self._row.cache_clear()
        compared = list(compared)
        wanted = {subject.id: subject for subject in subjects}
        for subject in (one for pair in compared for one in reversed(pair)):
            wanted.setdefault(subject.id, subject)
        plans: dict[str, Plan] = {}
        for subject in sorted(wanted.values(), key=lambda s: not s.is_reference):
            try:
                key, engine = self.key(subject), self._engines.resolve(subject)
            except EngineError:
                continue  # raised again, for its own tests, by `recording`
            plan = plans.setdefault(subject.engine_label, Plan(subject.engine_label, engine))
            plan.subjects.setdefault(key, subject)
        for plan in plans.values():
            self._make_engine(plan, compared, enough)

    def key(self, subject: Subject) -> str:
        """The key of the subject's recording; raises `EngineError` when the engine or image is not there."""
        if (key := self._keys.get(subject.id)) is None:
            request = request_for(subject.case, subject.profile)
            key = recording_key(self.fingerprint(subject), request, self._images(subject.case))
            self._keys[subject.id] = key
        return key

    def forget(self) -> None:
        """Let go of what is only remembered so that cases asked about again take less time."""
        for held in (self._keys, self._answered, self._top_seen, self._held):
            held.clear()
        for kept in (self._images, self._row):
            kept.cache_clear()

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
        recording = self._held.get(key) or self._stored(key)
        if recording is None:
            # Under pytest-xdist its workers met the error, and the main process tells of it.
            told = self.store.error_for(key, self._run_id) or self.store.refusal_for(key, self._run_id)
            raise told or EngineError(ErrorKind.FAILED, f"{subject.id} was not scored in this run")
        self._hold(recording)
        if (recording.case, recording.engine) != (subject.case.name, subject.engine_label):
            recording = replace(recording, case=subject.case.name, engine=subject.engine_label)
        return recording

    def is_answered(self, subject: Subject) -> bool:
        """Whether `recording` finds one, without unpacking its answer; raises as `key`."""
        key = self.key(subject)
        return key not in self._errors and (key in self._answered or self.store.has(key))

    def dtype(self, subject: Subject) -> str:
        """The dtype in which the subject's engine computed, such as ``bfloat16`` or ``bfloat16+float32``.

        Raises `EngineError` if it could not answer.
        """
        return loaded_dtype(self.recording(subject).fingerprint) or subject.engine.settings.dtype

    def rows(self, subject: Subject) -> dict[str, Row]:
        """The full rows [V] that are still kept for the subject's recording, by path."""
        recording = self.recording(subject)
        rows = {path: self._row(recording.key, path) for path in paths_with_rows(recording)}
        return {path: row for path, row in rows.items() if row is not None}

    def _first_row(self, recording: Recording) -> Row | None:
        """The row of the path that gives the answer; None where there is none that is this recording's.

        A worker that was ended between writing rows and answering leaves rows of a recording never made.
        """
        readings = recording.answer.readings
        if not readings or not has_row(readings[0]):
            return None
        row = self._row(recording.key, readings[0].path)
        return row if row is not None and row_belongs(recording, row) else None

    def job(self, subject: Subject) -> Job:
        """How the subject's engine is run for its recordings; raises `EngineError` if it is not there."""
        return self._job(Plan(subject.engine_label, self._engines.resolve(subject), {subject.id: subject}))

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
        full = None if kept is None else FullVocabulary.from_json(kept)
        rows = self._first_row(theirs), self._first_row(ours)
        if rows[0] is not None and rows[1] is not None:
            full = compare_rows(rows[0], rows[1])
            if (metrics := full.to_json()) != kept:
                self.store.put_metrics(theirs.key, ours.key, metrics)
        return compare(theirs, ours, letters, full=full)

    def _wanted_with_rows(self, compared: Iterable[tuple[Subject, Subject]]) -> set[str]:
        wanted: set[str] = set()
        for baseline, subject in compared:
            try:
                theirs, ours = self.key(baseline), self.key(subject)
            except EngineError:
                continue
            if not self._fresh and self.store.has_metrics(theirs, ours):
                continue
            if not (self._top_only(subject, ours) or self._top_only(baseline, theirs)):
                wanted |= {theirs, ours}
        return wanted

    def _top_only(self, subject: Subject, key: str) -> bool:
        """Whether the engine sees the top of a row only, so that there are no full rows to compare."""
        if subject.engine.settings.kind == "api":
            return True
        if key not in self._top_seen and (recording := self.store.get(key)) is not None:
            self._top_seen[key] = any(reading.partial for reading in recording.answer.readings[:1])
        return self._top_seen.get(key, False)

    def _missing(self, plan: Plan, compared: Iterable[tuple[Subject, Subject]]) -> Iterator[str]:
        """Keys of recordings that are not there, or not with the rows that are wanted of them."""
        with_rows = cache(lambda: self._wanted_with_rows(compared))
        # A server that runs already may be another one by the next run.
        anew = self._fresh or is_running_server(plan.engine.settings)
        run_id = self._run_id if anew else None
        for key in plan.subjects:
            if (error := self.store.error_for(key, self._run_id)) is not None:
                self._errors[key] = error
                continue
            known = self.store.has(key, run_id=run_id)
            if known and key in with_rows():
                recording = self.store.get(key, run_id=run_id)
                known = recording is not None and self._has_rows(recording)
            if known:
                self._answered.add(key)
            elif (error := self.store.refusal_for(key, self._run_id)) is not None:
                self._errors[key] = error
            else:
                yield key

    def _has_rows(self, recording: Recording) -> bool:
        """Whether the full rows are there, as far as its paths see any.

        That of the first path, which is what others are compared with, must be whole and this recording's.
        """
        wanted, first = paths_with_rows(recording), next(iter(recording.answer.readings), None)
        if not all(row_file(self.store.rows_folder, recording.key, path).exists() for path in wanted):
            return False
        return first is None or not has_row(first) or self._first_row(recording) is not None

    def _make_engine(
        self, plan: Plan, compared: Collection[tuple[Subject, Subject]], enough: _Enough
    ) -> None:
        missing: Mapping[str, Subject] = {}

        def show(phase: str) -> None:
            self._show(EngineProgress(plan.label, phase, 0, 0, len(plan.subjects) - len(missing), 0))

        if next(self._missing(plan, compared), None) is not None:
            if enough is None:
                plan.subjects = dict(self.in_order(plan.subjects.items(), lambda item: item[1].case))
            waiting = "waiting for another run that uses this engine"
            part = "" if self._shard is None else self._shard.file_name
            with self.store.making(plan.engine.fingerprint, part=part, on_wait=lambda: show(waiting)):
                # Another run may have made them meanwhile, and taken what is wanted of their rows.
                missing = {key: plan.subjects[key] for key in self._missing(plan, compared)}
                if missing and not (enough is not None and enough(missing)):
                    self._run(plan, missing, enough)
                    return
        show("recorded")

    def _run(self, plan: Plan, missing: Mapping[str, Subject], enough: _Enough) -> None:
        reused, done, errors = len(plan.subjects) - len(missing), 0, 0
        fingerprint = plan.engine.fingerprint
        requests = {key: request_for(subject.case, subject.profile) for key, subject in missing.items()}
        phase, left, pace = "starting", set(missing), PaceMaker()
        job = replace(self._job(plan), begun=plan.begun(missing))
        job.log.unlink(missing_ok=True)  # workers append to it; an earlier run's lines would mislead
        # closing: the worker ends with the run, however that is left, not when Python gets round to it.
        with closing(self._run_workers(job, [*requests.items()])) as events:
            for event in events:
                match event:
                    case Loaded():
                        fingerprint = {**plan.engine.fingerprint, "loaded": dict(event.fingerprint)}
                        if what := self._engines.changed(plan.engine):
                            self._refuse(left, what)
                            errors += len(left)
                            break
                        pace.start()
                    case Scored() if changed := self._image_changed(missing[event.key]):
                        done, errors = done + 1, errors + 1
                        pace.failed()
                        self._fail(event.key, changed)
                    case Scored():
                        done, several = done + 1, event.loaded  # the pace of several workers is no engine's
                        own = {**fingerprint, "loaded": dict(several)} if several is not None else fingerprint
                        recording = Recording(
                            key=event.key,
                            case=missing[event.key].case.name,
                            engine=plan.label,
                            answer=event.answer,
                            fingerprint=own,
                            asked=asked_of(requests[event.key], self._images(missing[event.key].case)),
                            pace=pace.answered(event.answer) if several is None else None,
                        )
                        self.store.put(recording, run_id=self._run_id)
                        self._hold(recording)  # as it would be read: it came as JSON, with as many digits
                        self._top_seen[event.key] = any(each.partial for each in event.answer.readings[:1])
                    case Failed():
                        done, errors = done + 1, errors + 1
                        pace.failed()
                        self._fail(event.key, event.error)
                    case Progress():
                        phase = event.phase
                self._show(EngineProgress(plan.label, phase, done, len(missing), reused, errors))
                if isinstance(event, Scored | Failed):
                    left.discard(event.key)
                    if enough is not None and enough(left):
                        break
        self._show(EngineProgress(plan.label, "recorded", done, len(missing), reused, errors))

    def _hold(self, recording: Recording) -> None:
        if len(self._held) < _HELD:
            self._held[recording.key] = recording

    def _fail(self, key: str, error: EngineError) -> None:
        self._errors[key] = error
        self.store.put_error(key, self._run_id, error)

    def _refuse(self, keys: Collection[str], what: str) -> None:
        """Every one of ``keys`` lacks an answer, since ``what`` was loaded is not what was looked at."""
        reason = f"{what} while the engine was started, so no answer is known to be of either. Run again"
        for key in keys:
            self._fail(key, EngineError(ErrorKind.LOAD, reason, refused=reason))

    def _image_changed(self, subject: Subject) -> EngineError | None:
        """Why an answer is not known to be about the image that its key names; None where it is."""
        try:
            same = images_of(subject.case) == self._images(subject.case)
        except EngineError as error:
            return error
        changed = f"an image of {subject.case.name} changed while it was asked about. Run again"
        return None if same else EngineError(ErrorKind.FAILED, changed)

    def _job(self, plan: Plan) -> Job:
        spec = next(iter(plan.subjects.values())).engine
        part = "" if self._shard is None else f".{self._shard.file_name}"
        log = self._root / "logs" / f"{plan.label}{part}.log"
        return Job(
            python=plan.engine.python,
            settings=plan.engine.settings,
            load_seconds=spec.load_seconds,
            case_seconds=spec.case_seconds,
            log=log,
            rows=self.store.rows_folder,
            patch=spec.patch,
        )
