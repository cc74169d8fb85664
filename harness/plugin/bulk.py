"""Suites in bulk (``--bulk``): a test for each suite that asks and checks what those of its cases do."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import pytest
from _pytest.mark.expression import Expression

from harness.cases.suites import Case
from harness.checks.agreement import paths_with_rows
from harness.checks.result import Result
from harness.errors import EngineError, HarnessError
from harness.plugin.explaining import refusal_of
from harness.plugin.run import COLUMNS, SUITE, Run, summary_of, words_again
from harness.plugin.suite_checks import CHECKS, COMPARED, Given, Unreadable
from harness.plugin.suite_found import SuiteFound, severity
from harness.reports.summary import CheckSummary, Status, Tally, figures_of
from harness.scoring.resolving import EngineProgress
from harness.scoring.stored_runs import StoredRun, StoredRuns, runs_of
from harness.scoring.subjects import SELECTIONS, Subject

if TYPE_CHECKING:
    from harness.cases.profiles import Profile

__all__ = [
    "AT_ONCE",
    "BULK_PARAMETER",
    "BULK_RUN",
    "BULK_TESTS",
    "CHECKS",
    "BulkRun",
    "Given",
    "SuiteFound",
    "add_bulk",
    "bulk_suite_of",
    "require_single",
]

BULK_PARAMETER = "bulk_suite"
BULK_TESTS = SUITE / "test_all_cases.py"
AT_ONCE: Final = 9_600
"""Cases that are asked before they are checked; until then their full rows lie on the disk.

A multiple of the usual sizes of batches (to 6, 8, 10, 12, 16, 20, 24, 32, 48, 64, 96, 128), which whole
batches are dealt to shards by: so one process and shards cut the same ones.
"""

_EXPECTED: Final = "test_expected_letter"  # the test that a known failure is about
_TELL_EVERY = 100


def add_bulk(group: pytest.OptionGroup) -> None:
    """Add ``--bulk`` and ``--suite``."""
    group.addoption(
        "--bulk",
        dest="harness_bulk",
        action="store_true",
        help="one test for each suite in place of one for each case and check; same recordings, same outcome",
    )
    group.addoption(
        "--suite",
        dest="harness_suites",
        action="append",
        metavar="NAME",
        help="run this suite only; may be repeated",
    )


def _expression(option: str, text: str) -> Expression | None:
    try:
        return Expression.compile(text) if text else None
    except SyntaxError as error:
        raise pytest.UsageError(f"{option}: found {text!r}: {error}; allowed: as for pytest") from error


def require_single(config: pytest.Config) -> None:
    """Raise UsageError where snapshots are to be written in bulk: whose right answer is lost, a test says."""
    if config.getoption("harness_bulk"):
        raise pytest.UsageError(
            "--snapshot-update: found --bulk beside it; allowed: without --bulk, or, to accept all answers "
            "of an engine at once:\n  harness accept PROFILE/ENGINE --reason TEXT --author NAME"
        )


def bulk_suite_of(item: pytest.Item) -> str | None:
    """The suite that a test in bulk is about, None for any other test."""
    callspec = getattr(item, "callspec", None)
    name = callspec.params.get(BULK_PARAMETER) if callspec is not None else None
    return name if isinstance(name, str) else None


@dataclass(slots=True)
class _Rows:
    """Full rows of logits on the disk, by recording's key: their paths, who is done with them, who is not."""

    paths: dict[str, list[str]] = field(default_factory=dict)
    done: set[str] = field(default_factory=set)
    wanted: set[str] = field(default_factory=set)


class BulkRun:
    """The suites of one pytest process in bulk, kept in ``config.stash[BULK_RUN]``."""

    def __init__(self, config: pytest.Config, run: Run, show: Callable[[EngineProgress], None]) -> None:
        """Touches nothing yet; raises UsageError for what is no expression behind ``-k`` or ``-m``."""
        self._config, self._run, self._show = config, run, show
        self._found: dict[str, SuiteFound] = {}
        self._by_engine: dict[tuple[str, str], tuple[str, ...]] = {}
        self._mine: set[str] | None = None
        self._keyword = _expression("-k", config.option.keyword)
        self._mark = _expression("-m", config.option.markexpr)

    def suites(self) -> list[str]:
        """Those that have a check which is selected; raises as `Run.suites`."""
        return [suite.name for suite in self._run.suites if any(map(self._asked, suite.cases))]

    def cases(self, profile: str, engine: str) -> set[str]:
        """The names of the cases that this engine is asked."""
        return {
            subject.case.name
            for suite in self._run.suites
            for case in suite.cases
            for own, asked in self._asked(case)
            if own.name == profile
            for subject, _ in asked
            if subject.engine.name == engine
        }

    def found(self, suite: str) -> SuiteFound:
        """What was found of a suite; checks all suites first, or in a process of pytest-xdist this one."""
        if suite not in self._found:
            self.check([suite])
        return self._found[suite]

    def check(self, names: Sequence[str]) -> None:
        """Have the cases of these suites asked and check them, `AT_ONCE` together, and note the run.

        Raises `RecordingError` where the disk refuses an answer.
        """
        run, scoring = self._run, self._run.scoring
        self._found |= {name: SuiteFound(name) for name in names}
        noted: list[StoredRun] = []
        given = [case for suite in run.suites if suite.name in names for case in suite.cases]
        places = {case.name: place for place, case in enumerate(given)}
        # As they are asked, where they do not go at once; else `make` sees to it, if any has to be asked.
        cases = scoring.in_order(given, lambda case: case) if len(given) > AT_ONCE else given
        for first in range(0, len(cases), AT_ONCE):
            alike = sorted(cases[first : first + AT_ONCE], key=lambda case: places[case.name])
            part = [(case, self._asked(case)) for case in alike]
            every = [one for _, asked in part for _, own in asked for one in own]
            wanted = [subject for subject, _ in every]
            pairs = [(s.reference(), s) for s, checks in every if not {*COMPARED}.isdisjoint(checks)]
            scoring.make(wanted, compared=pairs)
            rows = _Rows()
            for number, (case, asked) in enumerate(part, start=first + 1):
                for profile, own in asked:
                    self._count(case, profile, own, rows)
                if number % _TELL_EVERY == 0 or number == len(cases):
                    bad = sum(found.bad for found in self._found.values())
                    self._show(EngineProgress("checks", "checking", number, len(cases), 0, bad))
            self._drop(rows)
            about = {one.id: one for one in (*wanted, *(one for pair in pairs for one in pair))}
            noted = runs_of(scoring, about.values(), folder=run.loaded.folder, before=noted)
            scoring.forget()
        for tally in (tally for name in names for tally in self._found[name].tallies.values()):
            tally.rows.sort(key=lambda row: places[row[0].case])
        for each in noted:
            StoredRuns(scoring.store.root).add(each)

    def _asked(self, case: Case) -> list[tuple[Profile, list[tuple[Subject, Sequence[str]]]]]:
        """By profile the subjects of a case with their checks, of which each has one at least."""
        found = []
        for profile in self._run.profiles:
            if not profile.takes(case):
                continue
            every = [Subject(case, profile, engine) for engine in profile.engines]
            if own := [(subject, checks) for subject in every if (checks := self._own_checks(subject))]:
                found.append((profile, own))
        return found

    def _own_checks(self, subject: Subject) -> Sequence[str]:
        """Those of `_checks`, none of a subject that belongs to another shard."""
        checks, scoring = self._checks(subject), self._run.scoring
        if scoring.shard is None or not checks:
            return checks
        if self._mine is None:
            every = self._run.subjects("every")
            self._mine = {one.id for one in scoring.dealt([one for one in every if self._checks(one)])}
        return checks if subject.id in self._mine else ()

    def _checks(self, subject: Subject) -> Sequence[str]:
        """The names of the tests that there would be of a subject, as ``-k`` and ``-m`` select them."""
        key = (subject.profile.name, subject.engine.name)
        if key not in self._by_engine:
            chosen = [name for name, check in CHECKS.items() if SELECTIONS[check.selection](subject)]
            self._by_engine[key] = tuple(chosen)
        names, case = self._by_engine[key], subject.case
        if "gpu" in case.marks and not self._run.asks_for_gpu:
            return ()
        if self._keyword is None and self._mark is None:
            return names
        marks = {"subjects", *subject.profile.marks, *case.marks}
        excused = marks if case.known_failure is None else {*marks, "xfail"}
        return [
            name for name in names if self._selected(name, subject, excused if name == _EXPECTED else marks)
        ]

    def _selected(self, name: str, subject: Subject, marks: set[str]) -> bool:
        words = (SUITE.name, f"{name}.py", f"{name}[{subject.id}]", *subject.case.tags, *marks)
        lowered = [word.lower() for word in words]

        def is_mark(word: str, /, **_: object) -> bool:
            return word in marks

        def is_word(word: str, /, **_: object) -> bool:
            return any(word.lower() in each for each in lowered)

        marked = self._mark is None or self._mark.evaluate(is_mark)
        return marked and (self._keyword is None or self._keyword.evaluate(is_word))

    def _count(
        self, case: Case, profile: Profile, asked: Iterable[tuple[Subject, Sequence[str]]], rows: _Rows
    ) -> None:
        found = self._found[case.suite]
        alone, place = len(profile.engines) == 1, str(case.location)
        row = []
        for subject, names in asked:
            given = Given(self._run, subject, place=place)
            for name in names:
                compares = name in COMPARED
                summary, told = self._checked(given, name, found)
                row.append(summary)
                keys = self._rows_of((subject, subject.reference()) if compares else (subject,), rows)
                if summary.status in (Status.FAILED, Status.ERROR) and told:
                    rows.wanted.update(keys)
                elif (compares or alone) and summary.status in (Status.PASSED, Status.KNOWN):
                    rows.done.update(keys)
        row.sort(key=lambda one: _ORDER[one.check])
        if profile.name not in found.tallies:
            found.tallies[profile.name] = Tally(profile.name, case.suite)
        found.tallies[profile.name].add(row)

    def _checked(self, given: Given, name: str, found: SuiteFound) -> tuple[CheckSummary, bool]:
        """How a check ended, and whether that says something of the answer."""
        subject, case = given.subject, given.case
        try:
            result = CHECKS[name].of(given)
        except HarnessError as error:
            return self._without(error, given, name, found), True
        passed = bool(result) if isinstance(result, Result) else result == ""
        known = case.known_failure if name == _EXPECTED else None
        status = Status.FAILED
        if passed is (known is None):
            status = Status.PASSED if passed else Status.KNOWN
        figures, device = (figures_of(result), given.device) if isinstance(result, Result) else (None, "")
        about = subject, COLUMNS[name]
        summary = summary_of(*about, place=given.place, status=status, figures=figures, device=device)
        if status is not Status.FAILED:
            return summary, True
        if result is None:
            found.unaccepted += 1
            return summary, False
        what = f"passes, and its known_failure says that it fails: {known}"
        if not passed:
            what = str(result.findings[0]) if isinstance(result, Result) else str(result)
        text = f"{case.location}: {summary.check}: {case.name}, {subject.engine_label}: {what}"
        shared = what if isinstance(result, Unreadable) else ""
        found.tell(severity(result), text, self._again(subject, name), reason=shared)
        return summary, True

    def _without(self, error: HarnessError, given: Given, name: str, found: SuiteFound) -> CheckSummary:
        """A check that could not be made."""
        subject, case = given.subject, given.case
        summary = summary_of(subject, COLUMNS[name], place=given.place)
        again = self._again(subject, name)
        about = (subject, subject.reference()) if name in COMPARED else (subject,)
        for one in about:
            try:
                self._run.scoring.recording(one)
            except EngineError as own:
                if own.refused:
                    summary = replace(summary, refused=one.engine_label)
                    count, told = found.refusals.get(one.engine_label, (0, None))
                    told = told or refusal_of(self._config, one, own, again=again)
                    found.refusals[one.engine_label] = (count + 1, told)
                    break
        first = str(error).splitlines()[0]
        text = f"{case.location}: {summary.check}: {case.name}, {subject.engine_label}: {first}"
        reason = first.replace(f"{case.name}: ", "").replace(case.name, "a case")
        found.tell(math.inf, text, again, reason=reason)
        return summary

    def _rows_of(self, about: Iterable[Subject], rows: _Rows) -> Iterator[str]:
        """Keys of recordings that have full rows, noted with their paths."""
        for subject in about:
            try:
                recording = self._run.scoring.recording(subject)
            except EngineError:
                continue
            if recording.key not in rows.paths:
                rows.paths[recording.key] = paths_with_rows(recording)
            yield recording.key

    def _drop(self, rows: _Rows) -> None:
        store = self._run.scoring.store
        if not self._config.getoption("harness_keep_logits"):
            for key in rows.done - rows.wanted:
                store.drop_rows(key, rows.paths[key])
        first = next(iter(self._found.values()))
        first.kept += sum(store.has_rows(key, rows.paths[key]) for key in rows.wanted)

    def _again(self, subject: Subject, name: str) -> str:
        gpu = "gpu" in {*subject.profile.marks, *subject.case.marks}
        return words_again(self._config, SUITE / f"{name}.py", f"{name}[{subject.id}]", subject, gpu=gpu)


_ORDER: Final = {column: place for place, column in enumerate(COLUMNS.values())}

BULK_RUN = pytest.StashKey[BulkRun]()
