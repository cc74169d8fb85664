"""One pytest run: the folder of cases, the scoring, and what is told to the reports."""

from __future__ import annotations

import os
import shlex
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import pytest
from _pytest.config.findpaths import locate_config

from harness.cases.folder import Loaded, load
from harness.cases.folders import FOLDERS, folder_named
from harness.cases.problems import shown
from harness.cases.profiles import Profile
from harness.cases.suites import Suite
from harness.checks.agreement import Agreed, Agreement, paths_with_rows
from harness.checks.result import Result
from harness.checks.same_question import SameQuestion
from harness.checks.tolerances import DEFAULTS, Tolerances, resolve
from harness.commands.measuring import collect_rarely
from harness.engines.contract import Json
from harness.errors import EngineError, UnknownName, UnknownProfile
from harness.noise.limits import NoiseLimits
from harness.plugin.explaining import given_folders, refusal_of, typed
from harness.recordings.device import device_line
from harness.recordings.store import Recording
from harness.reports.outcomes import PROPERTY, TestFacts
from harness.reports.summary import CheckSummary, Figures, Status, figures_of
from harness.scoring.scoring import Scoring
from harness.scoring.stored_runs import model_name, store_run
from harness.scoring.subjects import Subject, subjects
from harness.snapshots.accepted import AcceptedSuite, accepted_case

__all__ = ["COLUMNS", "RUN", "SUITE", "Run"]

SUITE = Path(__file__).parents[1] / "suite"

DEFAULT_CASES = "cases"
DEFAULT_SNAPSHOTS = "snapshots"
DEFAULT_RECORDINGS = ".harness"

# The table's columns for the tests of the suite, in this order.
COLUMNS = {
    "test_expected_letter": "letter",
    "test_same_question": "question",
    "test_engines_agree": "agree",
    "test_stages_consistent": "stages",
    "test_top_k_matches_full": "top-k",
    "test_matches_snapshot": "snapshot",
}


class Run:
    """State of one pytest process, kept in ``config.stash[RUN]``.

    The folder of cases is loaded when the first test function asks for a subject, so that this plugin costs
    nothing in runs that are about something else.
    """

    def __init__(self, config: pytest.Config, scoring: Scoring) -> None:
        """Touches no files yet."""
        self._config = config
        self.scoring = scoring
        self._noise = NoiseLimits(scoring, snapshots=self.snapshots_folder)
        self._loaded: Loaded | None = None
        self._broken = False  # whether loading has failed, and been told
        self._refused: set[str] = set()  # engines whose refusal this process has told
        self._cases: dict[str, int] = {}  # by profile, how many it has
        self._devices: dict[str, tuple[Mapping[str, Json], str]] = {}  # of the last one by engine label

    @cached_property
    def cases_folder(self) -> Path:
        """Where the suites are: ``--cases``, or ``cases`` in the home folder (see `_home`)."""
        return _folder(self._config, "cases", _home(self._config) / DEFAULT_CASES)

    @cached_property
    def snapshots_folder(self) -> Path:
        """Where the snapshots are: ``--snapshots``, or ``snapshots`` beside the folder of cases."""
        return _folder(self._config, "snapshots", self.cases_folder.parent / DEFAULT_SNAPSHOTS)

    @property
    def loaded(self) -> Loaded:
        """Suites and profiles; raises `CaseFileError` with all their problems."""
        if self._loaded is None:
            self._config.add_cleanup(collect_rarely())
            self._loaded = load(self.cases_folder)
            for name in self._config.getoption("harness_profiles") or ():
                try:
                    self._loaded.profile(name)
                except UnknownProfile as error:
                    raise UnknownProfile(f"--{error}") from error
        return self._loaded

    @property
    def remarks(self) -> tuple[str, ...]:
        """Those on the suites, once they are loaded; none before, or where loading failed."""
        return () if self._loaded is None else self._loaded.remarks

    def subjects(self, selection: str) -> list[Subject]:
        """The subjects of a selection, of the profiles that were asked for.

        Raises `CaseFileError`, or `UnknownProfile`, once; then there are none, so that one mistake is told
        once and not per module.
        """
        if self._broken:
            return []
        self._broken = True
        profiles, suites = self.profiles, self.suites
        self._broken = False
        return [one for suite in suites for one in subjects(suite.cases, profiles, selection=selection)]

    @property
    def suites(self) -> tuple[Suite, ...]:
        """Those that were asked for; raises `CaseFileError`, and `UnknownName` for one that is not there."""
        names: Sequence[str] = self._config.getoption("harness_suites") or ()
        try:
            return tuple(map(self.loaded.suite, dict.fromkeys(names))) if names else self.loaded.suites
        except UnknownName as error:
            raise UnknownName(f"--{error}") from error

    @property
    def profiles(self) -> tuple[Profile, ...]:
        """Those that were asked for; raises as `loaded`."""
        return tuple(profile for profile in self.loaded.profiles if self._is_asked(profile))

    @property
    def unasked(self) -> tuple[str, ...]:
        """The names of profiles that this run has no tests of; none where loading failed."""
        known = () if self._loaded is None else self._loaded.profiles
        return tuple(profile.name for profile in known if not self._is_asked(profile))

    def _is_asked(self, profile: Profile) -> bool:
        if names := self._config.getoption("harness_profiles"):
            return profile.name in names
        if profile.by_name_only:
            return False
        return "gpu" not in profile.marks or self.asks_for_gpu

    @property
    def asks_for_gpu(self) -> bool:
        """Whether tests that need a GPU were asked for, by ``-m gpu`` or by a profile's name."""
        named = self._config.getoption("harness_profiles")
        return "gpu" in (self._config.option.markexpr or "") or bool(named)

    def all_subjects(self) -> list[Subject]:
        """Every case on every engine of every profile, asked for in this run or not."""
        return list(subjects(self.loaded.cases, self.loaded.profiles, selection="every"))

    def begin(self, item: pytest.Item) -> None:
        """Note on a test of the suite what it is about, before it runs.

        Raises `EngineError` where an engine that it asks could not be loaded at all. The first test tells the
        reports why, and each that it is so.
        """
        __tracebackhide__ = True
        subject = subject_of(item)
        if subject is None:
            return
        summary = summary_of(subject, check_name(item))
        compares = _compares(item)
        facts = TestFacts(summary=summary, done_with_rows=compares or len(subject.profile.engines) == 1)
        item.stash[_FACTS] = facts
        refused: EngineError | None = None
        for one in (subject, subject.reference()) if compares else (subject,):
            try:
                facts.rows[self.scoring.key(one)] = paths_with_rows(self.scoring.recording(one))
            except EngineError as error:  # it has no rows; else the test itself reports the error
                if error.refused and refused is None:
                    refused = self._refusal(item, facts, one, error)
        self._tell(item)
        if refused is not None:
            raise refused

    def _refusal(
        self, item: pytest.Item, facts: TestFacts, subject: Subject, error: EngineError
    ) -> EngineError:
        label = subject.engine_label
        facts.summary = replace(facts.summary, refused=label)
        if label not in self._refused:
            self._refused.add(label)
            facts.refusal = refusal_of(item.config, subject, error, again=run_again(item))
        told = f"{subject.case.location}: {label} could not be loaded, which is told once for all its tests"
        return EngineError(error.kind, f"{told}: {error.refused.splitlines()[0]}", refused=error.refused)

    def keep(self, item: pytest.Item, subject: Subject, result: Result) -> None:
        """Note a check's figures on its test, for the table."""
        facts = item.stash[_FACTS]
        facts.summary = replace(facts.summary, figures=figures_of(result), device=self.device(subject))
        self._tell(item)

    def device(self, subject: Subject) -> str:
        """On what the subject's engine computed, in a line."""
        fingerprint, label = self.scoring.recording(subject).fingerprint, subject.engine_label
        if label not in self._devices or self._devices[label][0] is not fingerprint:
            self._devices[label] = fingerprint, device_line(fingerprint)
        return self._devices[label][1]

    def recordings_of(self, subject: Subject, result: Result) -> list[Recording]:
        """The recordings that a result is about, the reference first."""
        about = [subject.reference(), subject] if isinstance(result, Agreed | SameQuestion) else [subject]
        return [self.scoring.recording(one) for one in about]

    def tolerances(self, subject: Subject, agreement: Agreement | None = None) -> Tolerances:
        """The limits for a comparison with the reference, or without one for what an engine is held to alone.

        Noise floors are of letters, so they are for comparisons; what else is checked has the table's.
        Raises EngineError where an engine could not answer, and as
        `harness.noise.limits.NoiseLimits.tolerances`.
        """
        about = [subject] if agreement is None else [subject, subject.reference()]
        dtypes = "+".join(map(self.scoring.dtype, about)).split("+")
        # Of a model with weights in several types, quantised ones too, the floating types set the noise.
        dtypes = [dtype for dtype in dtypes if dtype in DEFAULTS] or dtypes
        if agreement is None:
            return resolve(*dtypes, overrides=[subject.profile.tolerances, subject.case.tolerances])
        name = subject.profile.name
        if name not in self._cases:
            self._cases[name] = sum(map(subject.profile.takes, self.loaded.cases))
        return self._noise.tolerances(subject, agreement, dtypes=dtypes, cases=self._cases[name])

    def accepted_file(self, subject: Subject, recording: Recording) -> AcceptedSuite:
        """The head of the file where the subject's accepted answer stands, or will."""
        return AcceptedSuite(
            profile=subject.profile.name,
            engine=subject.engine.name,
            suite=subject.case.suite,
            model=model_name(subject.engine, self.loaded.folder),
            fingerprint=recording.fingerprint,
        )

    def answer(self, subject: Subject, recording: Recording) -> dict[str, Json]:
        """What is to be accepted of an answer, as on its line."""
        asked, dtype = self.scoring.asked(subject), self.scoring.dtype(subject)
        return accepted_case(recording.answer, subject.case.letters, dtype, asked).to_json()

    def _tell(self, item: pytest.Item) -> None:
        others = [(name, value) for name, value in item.user_properties if name != PROPERTY]
        item.user_properties[:] = [*others, (PROPERTY, item.stash[_FACTS].to_json())]

    def score(self, items: Iterable[pytest.Item], *, also: Iterable[Subject] = ()) -> None:
        """Make the recordings that the selected tests need and that are not there yet, and note the run.

        ``also`` are what a gate needs.
        """
        wanted, compared = list(also), []
        for item in items:
            subject = subject_of(item)
            if subject is None:
                continue
            wanted.append(subject)
            if _compares(item):
                compared.append((subject.reference(), subject))
        if wanted:
            self.scoring.make(wanted, compared=compared)
            about = {s.id: s for s in (*wanted, *(one for pair in compared for one in pair))}
            store_run(self.scoring, about.values(), folder=self.loaded.folder)


RUN = pytest.StashKey[Run]()
_FACTS = pytest.StashKey[TestFacts]()


def summary_of(
    subject: Subject,
    check: str,
    *,
    place: str = "",
    status: Status = Status.ERROR,
    figures: Figures | None = None,
    device: str = "",
) -> CheckSummary:
    """One check on a subject, an ERROR until it is known how it ended; ``place`` is its case's, if known."""
    return CheckSummary(
        suite=subject.case.suite,
        case=subject.case.name,
        place=place or str(subject.case.location),
        profile=subject.profile.name,
        engine=subject.engine.name,
        check=check,
        expected=subject.case.expect,
        status=status,
        figures=figures or Figures(),
        device=device,
    )


def check_name(item: pytest.Item) -> str:
    """The table's column for a test: the function's name in words, short for those of the suite."""
    function = str(getattr(item, "originalname", None) or item.name)
    return COLUMNS.get(function, function.removeprefix("test_").replace("_", " "))


def _compares(item: pytest.Item) -> bool:
    return "agreement" in getattr(item, "fixturenames", ())


def subject_of(item: pytest.Item) -> Subject | None:
    """The subject of a test of the suite, None for any other test."""
    callspec = getattr(item, "callspec", None)
    subject = callspec.params.get("subject") if callspec is not None else None
    return subject if isinstance(subject, Subject) else None


def run_again(item: pytest.Item) -> str:
    """The command that runs just this test again, from the folder pytest was started in."""
    gpu = item.get_closest_marker("gpu") is not None
    return words_again(item.config, item.path, item.name, subject_of(item), gpu=gpu)


def words_again(config: pytest.Config, where: Path, name: str, subject: Subject | None, *, gpu: bool) -> str:
    """The command that runs the test ``name`` of the file ``where``, marked ``gpu`` or not."""
    if where.is_relative_to(config.rootpath):
        near = os.path.relpath(where, config.invocation_params.dir)
        words = ["pytest", f"{near}::{name}"]
    else:
        words = ["pytest", "--pyargs", f"harness.suite.{where.stem}::{name}"]
    words += given_folders(config, *FOLDERS)
    if subject is not None and subject.profile.by_name_only:
        words.append(f"--profile={subject.profile.name}")
    if gpu:
        words += ["-m", "gpu"]
    return typed(words)


def refuse_moved_root(config: pytest.Config) -> None:
    """Refuse a path behind a space by which pytest lost its configuration.

    pytest looks for it where its tests are, before it knows our options: what stands alone and exists it
    takes for a test. Raises UsageError that says how to write it.
    """
    here = config.invocation_params.dir
    _, wanted, *_ = locate_config(here, [here])
    if wanted is None or wanted == config.inipath or config.option.inifilename is not None:
        return
    words = [str(word) for word in config.invocation_params.args]
    for option, value in pairwise(words):
        if option in _PATHS and (here / value).exists():
            raise pytest.UsageError(
                f"{option}: found {value} behind a space, which pytest took for a test, and so did not find "
                f"{shown(wanted)}; allowed: {shlex.quote(f'{option}={value}')}"
            )


_PATHS = tuple(f"--{name}" for name in (*FOLDERS, "report", "report-json"))


def update_command(config: pytest.Config) -> str:
    """The command that accepts what the run's engines answered, where nothing is accepted yet."""
    if config.getoption("harness_bulk"):
        words = ["harness", "accept", "PROFILE/ENGINE", *given_folders(config, *FOLDERS)]
        return typed([*words, "--reason", "TEXT", "--author", "NAME"])
    whole = config.args_source is not pytest.Config.ArgsSource.TESTPATHS
    words = ["pytest", *(["--pyargs", "harness.suite"] if whole else []), *given_folders(config, *FOLDERS)]
    words += [f"--profile={name}" for name in config.getoption("harness_profiles") or ()]
    mark = config.option.markexpr
    return typed([*words, *(["-m", mark] if mark else []), "--snapshot-update"])


def run_id(config: pytest.Config) -> str:
    """A name that all processes of one run share, those of pytest-xdist included."""
    if (worker_input := getattr(config, "workerinput", None)) is not None:
        return str(worker_input["testrunuid"])
    options = config.option
    if (name := getattr(options, "testrunuid", None)) is None:
        name = uuid.uuid4().hex
        if hasattr(options, "testrunuid"):
            options.testrunuid = name  # pytest-xdist, which would else make one up for its workers
    return str(name)


def recordings_folder(config: pytest.Config) -> Path:
    """Where recordings are kept: ``--recordings``, or ``.harness`` in the home folder (see `_home`)."""
    return _folder(config, "recordings", _home(config) / DEFAULT_RECORDINGS)


def environments_folder(config: pytest.Config) -> Path | None:
    """Where environments are made: ``--environments``, or None for the user's cache folder."""
    here, given = config.invocation_params.dir, config.getoption("harness_environments")
    return folder_named("environments", here) if given is None else here / given


def _home(config: pytest.Config) -> Path:
    """The folder of pytest's configuration file, else the one in which pytest was started.

    Not always pytest's root folder: without a configuration file pytest takes the values of options, such as
    another repository's folder of cases, for a hint at where its root may be.
    """
    return config.rootpath if config.inipath is not None else config.invocation_params.dir


def _folder(config: pytest.Config, option: str, default: Path) -> Path:
    here, given = config.invocation_params.dir, config.getoption(f"harness_{option}")
    return (folder_named(option, here) or default) if given is None else here / given
