"""A side of a gate with its answers, whether they were just made, stored in a run, or accepted."""

from __future__ import annotations

import datetime
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from harness.cases.problems import shown
from harness.cases.suites import Case, Suite
from harness.checks.answers import letter_probabilities
from harness.engines.contract import Json
from harness.errors import EngineError, GateError
from harness.gate.sides import PREVIOUS, SideName
from harness.recordings.device import device_line
from harness.recordings.fingerprint import engine_id_of, loaded_dtype, rendered_of
from harness.recordings.store import Recording, RecordingStore
from harness.scoring.scoring import Scoring
from harness.scoring.stored_runs import StoredRun, StoredRuns, model_name
from harness.scoring.subjects import Subject
from harness.snapshots.accepted import AcceptedSuite
from harness.snapshots.files import read_engine

__all__ = ["GateSide", "Kept", "accepted_side", "few", "load_side", "store_of", "unasked_side"]

_MOST_RUNS = 12
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class GateSide:
    """One side's answers, by case name.

    ``label`` names it in full. ``made`` is the ISO day of the run, or of the last decision on what is
    accepted, '' without any. ``model`` is what the profile called its model then, ``fingerprint`` that of the
    engine as it was loaded (empty if it never was). ``recordings`` are under today's case names. A case that
    the engine could not answer is in ``errors``. ``asked`` is what each was asked, None where that was not
    kept. ``rounded`` is whether the numbers have the six decimals of a baseline's file only; ``rendered`` is
    then what that file keeps of what was really shown (`harness.recordings.fingerprint.rendered_of`).
    ``folder`` is where the model's files should lie now, '' if that is not known.
    """

    label: str
    profile: str
    engine: str
    live: bool
    made: str
    model: str
    fingerprint: Mapping[str, Json] = field(repr=False)
    recordings: Mapping[str, Recording] = field(repr=False)
    errors: Mapping[str, str] = field(repr=False)
    asked: Mapping[str, Mapping[str, Json] | None] = field(repr=False)
    rounded: bool = False
    rendered: Mapping[str, Mapping[str, Json] | None] = field(default_factory=dict, repr=False)
    folder: str = ""

    def shown(self, case: str) -> Mapping[str, Json] | None:
        """What was really shown for a case that was answered, in short; None where that was not kept."""
        return self.rendered.get(case) if self.rounded else rendered_of(self.recordings[case].answer)

    def renamed(self, names: Mapping[str, str]) -> GateSide:
        """The side with other names for some of its cases: by the old name the new one."""
        if not names:
            return self

        def under(held: Mapping[str, T]) -> dict[str, T]:
            return {names.get(case, case): value for case, value in held.items()}

        return replace(
            self,
            recordings={case: replace(one, case=case) for case, one in under(self.recordings).items()},
            errors=under(self.errors),
            asked=under(self.asked),
            rendered=under(self.rendered),
        )

    @property
    def device(self) -> str:
        """Such as 'CPU device plug-in (EPYC 9R14), float32, lmdeploy 0.18.0', 'no answer' without any."""
        return device_line(self.fingerprint) if self.recordings else "no answer"

    @property
    def dtype(self) -> str:
        """The dtype that the engine computed in, such as ``bfloat16+float32``, '' if it does not say so."""
        return loaded_dtype(self.fingerprint)

    def probabilities(self, case: str) -> tuple[float, ...]:
        """Each letter's share [L] of the whole vocabulary, by the first path; empty if it got no letter.

        NaN for a letter that a server did not list. Raises KeyError for a case without an answer.
        """
        readings = self.recordings[case].answer.readings
        return letter_probabilities(readings[0]) if readings else ()

    @property
    def cases(self) -> tuple[str, ...]:
        """Every case that the side was asked, answered or not."""
        return tuple(dict.fromkeys((*self.recordings, *self.errors)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Where sides come from: the folder of cases, the suites wanted, and the scoring with its recordings.

    ``first`` has, by case, the recording of the side that was loaded first, with which others share memory.
    """

    folder: Path
    suites: Sequence[Suite]
    scoring: Scoring
    first: dict[str, Recording] = field(default_factory=dict, repr=False)

    @property
    def cases(self) -> tuple[Case, ...]:
        """The cases of the suites."""
        return tuple(case for suite in self.suites for case in suite.cases)

    def sharing(self, recording: Recording) -> Recording:
        """The same, in which what both sides were asked is held once: of an image, thousands of ids."""
        first = self.first.setdefault(recording.case, recording)
        if first is recording:
            return recording
        own, other = recording.answer, first.answer
        ids = other.prompt_ids if other.prompt_ids == own.prompt_ids else own.prompt_ids
        question = other.question if other.question == own.question else own.question
        asked = first.asked if first.asked == recording.asked else recording.asked
        return replace(recording, asked=asked, answer=replace(own, prompt_ids=ids, question=question))

    @property
    def runs(self) -> StoredRuns:
        """The stored runs beside the recordings."""
        return StoredRuns(self.scoring.store.root)


def load_side(name: SideName, kept: Kept) -> GateSide:
    """The side with its answers; those of a live side must have been made (`Scoring.make`).

    Raises `GateError` where there is no such run or file, and `RecordingError` as the store does.
    """
    if name.path is not None:
        suites = read_engine(name.path)
        _require_logprobs(name.path, suites)
        return accepted_side(suites)
    subjects = _named(name, kept)
    if name.live:
        return _live(name, kept, subjects)
    store = store_of(name, kept)
    return _stored(name, kept, _runs_at(name, kept, subjects, StoredRuns(store.root)), store)


def store_of(name: SideName, kept: Kept) -> RecordingStore:
    """Where a stored side's answers are; raises `GateError` for a bundle, which is to be opened before."""
    if name.store is None:
        return kept.scoring.store
    if not name.store.is_dir():
        raise GateError(
            f"found {name.text!r}; allowed here: a folder of recordings; harness gate opens bundles"
        )
    return RecordingStore(name.store)


def unasked_side(name: SideName, kept: Kept) -> GateSide:
    """A live side that was asked nothing, and so has no answer."""
    return _side(name, kept, {}, {}, {}, made="")


def _named(name: SideName, kept: Kept) -> list[Subject]:
    """What the engine would be asked today, also for a stored run."""
    if name.profile is None or name.engine is None:
        return []
    profile, engine = name.profile, name.engine
    return [Subject(case, profile, engine) for case in kept.cases if profile.takes(case)]


def _live(name: SideName, kept: Kept, subjects: Sequence[Subject]) -> GateSide:
    recordings: dict[str, Recording] = {}
    errors: dict[str, str] = {}
    asked: dict[str, Mapping[str, Json] | None] = {}
    for subject in subjects:
        case = subject.case.name
        try:
            own = recordings[case] = kept.sharing(kept.scoring.recording(subject))
            today = kept.scoring.asked(subject)
            asked[case] = own.asked if own.asked == today else today
        except EngineError as error:
            recordings.pop(case, None)
            errors[case] = f"{error.kind}: {error.message}" + (f" (log: {error.log})" if error.log else "")
    return _side(
        name, kept, recordings, errors, asked, made=datetime.datetime.now().astimezone().date().isoformat()
    )


def _side(
    name: SideName,
    kept: Kept,
    recordings: Mapping[str, Recording],
    errors: Mapping[str, str],
    asked: Mapping[str, Mapping[str, Json] | None],
    *,
    made: str,
    model: str | None = None,
) -> GateSide:
    if name.profile is None or name.engine is None:
        raise GateError(f"found {name.text!r}; allowed: an engine of a profile")
    return GateSide(
        label=name.label,
        profile=name.profile.name,
        engine=name.engine.name,
        live=name.live,
        made=made,
        model=model_name(name.engine, kept.folder) if model is None else model,
        fingerprint=next((one.fingerprint for one in recordings.values()), {}),
        recordings=recordings,
        errors=errors,
        asked=asked,
        folder=name.engine.settings.model,
    )


def _runs_at(name: SideName, kept: Kept, subjects: Sequence[Subject], stored: StoredRuns) -> list[StoredRun]:
    """The runs that ``name`` means as they were stored: the last one, and earlier ones of its fingerprint.

    They belong together because a run may have asked a few cases only.
    """
    if name.profile is None or name.engine is None:
        raise GateError(f"found {name.text!r}; allowed: an engine of a profile")
    this = kept.scoring.run_id
    every = [run for run in stored.of(name.profile.name, name.engine.name) if run.run != this]
    if name.runs:
        found, wanted = [run for run in every if run.run in name.runs], "a run of the bundle"
    elif name.store is not None:
        found, wanted = every, f"a run in {shown(name.store)}"
    elif name.at == PREVIOUS:
        present = _present(name, kept, subjects)
        found = [run for run in every if run.fingerprint != present]
        wanted = f"one with another fingerprint than {present}, which the engine has now"
    else:
        found = [run for run in every if run.day <= name.at]
        wanted = f"one on or before {name.at}"
    if not found:
        notes = "".join(f"\nnote: {sentence}" for sentence in stored.damage())
        told = f"{_told(name, every)}{notes}"
        raise GateError(f"found {name.text!r}, no such stored run; allowed: {wanted}; {told}")
    return [run for run in found if run.fingerprint == found[-1].fingerprint]


def _present(name: SideName, kept: Kept, subjects: Sequence[Subject]) -> str:
    if not subjects:
        raise GateError(f"found {name.text!r}, whose profile asks no case; allowed: an engine with cases")
    try:
        return engine_id_of(kept.scoring.key(subjects[0]))
    except EngineError as error:
        raise GateError(
            f"found {name.text!r}; the engine is not there, so its present fingerprint cannot be told: "
            f"{error.message}\nName a day instead, such as @2026-10-25; "
            f"{_told(name, kept.runs.of(*_pair(name)))}"
        ) from error


def _pair(name: SideName) -> tuple[str, str]:
    profile, _, engine = name.label.partition("@")[0].partition("/")
    return profile, engine


def _told(name: SideName, runs: Sequence[StoredRun]) -> str:
    engine = name.label.partition("@")[0]
    if not runs:
        return f"no run of {engine} is stored yet: each run of pytest and of harness gate stores one"
    lines = [f"  {run.when}  {run.fingerprint}  {len(run.keys)} cases" for run in runs[-_MOST_RUNS:]]
    more = f" (the last {_MOST_RUNS} of {len(runs)})" if len(runs) > _MOST_RUNS else ""
    return "\n".join([f"stored runs of {engine}{more}:", *lines])


def _stored(name: SideName, kept: Kept, runs: Sequence[StoredRun], store: RecordingStore) -> GateSide:
    last = runs[-1]
    keys: dict[str, str] = {}
    errors: dict[str, str] = {}
    for run in runs:
        keys.update(run.keys)
        errors.update(run.errors)
    recordings: dict[str, Recording] = {}
    lost: list[str] = []
    for case, key in keys.items():
        recording = store.get(key)
        if recording is None:
            lost.append(case)
            continue
        label = f"{last.profile}-{last.engine}" + (f"@{last.day}" if name.at or not name.runs else "")
        recordings[case] = kept.sharing(replace(recording, case=case, engine=label))
        errors.pop(case, None)
    if lost:
        raise GateError(
            f"found {name.text!r}, the run of {last.when}, whose recordings are gone for {len(lost)} cases: "
            f"{few(lost)}; allowed: a run whose recordings are still in {store.root}\n"
            f"{_told(name, StoredRuns(store.root).of(last.profile, last.engine))}"
        )
    asked = {case: recording.asked for case, recording in recordings.items()}
    return _side(name, kept, recordings, errors, asked, made=last.day, model=last.model)


def _require_logprobs(path: Path, suites: Sequence[AcceptedSuite]) -> None:
    """Six decimals of a small probability are too few for its log-odds."""
    rough = [name for suite in suites for name, case in suite.cases.items() if case.logprobs is None]
    if rough:
        raise GateError(
            f"{shown(path)}: found probabilities only, as an earlier version kept them, of {few(rough)}; "
            "allowed: log-probabilities too. Accept the present answers:\n"
            f"  harness accept {suites[0].profile}/{suites[0].engine} --reason TEXT --author NAME"
        )


def accepted_side(suites: Sequence[AcceptedSuite]) -> GateSide:
    """What is accepted of one engine as a side, without cases of which probabilities alone are kept."""
    last = max(suites, key=lambda suite: suite.decisions[-1].decision if suite.decisions else "")
    label = f"accepted {last.profile}/{last.engine}"
    cases = {
        name: case for suite in suites for name, case in suite.cases.items() if case.logprobs is not None
    }
    return GateSide(
        label=label,
        profile=last.profile,
        engine=last.engine,
        live=False,
        made=last.decisions[-1].decision if last.decisions else "",
        model=last.model,
        fingerprint=last.fingerprint,
        recordings={
            name: case.recording(name, label.replace("/", "-"), last.fingerprint)
            for name, case in cases.items()
        },
        errors={},
        asked={name: case.asked for name, case in cases.items()},
        rounded=True,
        rendered={name: case.rendered for name, case in cases.items()},
    )


def few(names: Collection[str], *, most: int = 5) -> str:
    """The first of ``names``, and how many more there are."""
    shown = list(names)[:most]
    return ", ".join(shown) + (f" and {len(names) - most} more" if len(names) > most else "")
