"""``--snapshot-update``: what it may write, and what the run's end tells of it.

syrupy would write whatever does not match. Here the verdict on the change decides: an answer that is none is
never written, and one that loses a right answer only for a stated reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, cast

import pytest
from _pytest.terminal import TerminalReporter
from syrupy.assertion import SnapshotAssertion

from harness.cases.problems import shown
from harness.checks.tolerances import Tolerances
from harness.engines.contract import Json
from harness.errors import EngineError, HarnessError
from harness.recordings.journal import disk_error
from harness.recordings.store import RecordingStore
from harness.reports.outcomes import PROPERTY, SNAPSHOT
from harness.scoring.subjects import Subject
from harness.snapshots.accepted import AcceptedCase, AcceptedSuite
from harness.snapshots.answers import LOWERED, rendered_otherwise
from harness.snapshots.change import SnapshotChange, letters_in, snapshot_change
from harness.snapshots.extension import CaseSnapshotExtension
from harness.snapshots.files import put_cases
from harness.snapshots.told import Action, SnapshotUpdate, distributions, update_lines
from harness.verdicts.verdict import Verdict

__all__ = [
    "OPTION",
    "SnapshotSection",
    "add_options",
    "forbid_writing",
    "is_updating",
    "missing_of",
    "refusal",
    "update_of",
]

OPTION: Final = "--accept-regressions"

_REASON_CHARACTERS = 200


def add_options(group: pytest.OptionGroup) -> None:
    """Add ``--accept-regressions``."""
    group.addoption(
        OPTION,
        dest="harness_accept_regressions",
        metavar="REASON",
        help="with --snapshot-update: write snapshots that lose a right answer, too, and keep REASON in them",
    )


def is_updating(config: pytest.Config) -> bool:
    """Whether this run may write snapshots, new ones at least.

    Raises UsageError where regressions are to be accepted without a reason, or without an update.
    """
    updating = any(
        config.getoption(name, default=False) for name in ("update_snapshots", "update_new_snapshots_only")
    )
    reason: str | None = config.getoption("harness_accept_regressions")
    if reason is not None and not (updating and reason.strip()):
        found = "no --snapshot-update" if not updating else "an empty reason"
        raise pytest.UsageError(
            f"{OPTION}: found {found}; allowed: --snapshot-update {OPTION} 'why the lower reference is right'"
        )
    return updating


def update_of(
    snapshot: SnapshotAssertion,
    answer: Mapping[str, Json],
    subject: Subject,
    tolerances: Tolerances,
    *,
    because: str | None,
    key: str,
) -> SnapshotUpdate | None:
    """What this run is to do with the case of ``snapshot``; None where it is only to compare.

    ``because`` is the reason for accepting regressions, None where there is none, ``key`` that of the
    recording with the ``answer``.
    """
    own = cast(CaseSnapshotExtension, snapshot.extension)
    stored = own.stored_text()
    if not (snapshot.update_snapshots or (snapshot.update_new_snapshots_only and stored is None)):
        return None
    change = snapshot_change(stored, answer, expect=subject.case.expect, tolerance=tolerances.snapshot)
    lowered = because if because is not None and change.lowers else ""
    return SnapshotUpdate(
        case=subject.case.name,
        place=str(subject.case.location),
        subject=subject.engine_label,
        profile=subject.profile.name,
        file=shown(own.head.file(own.snapshots)),
        verdict="" if change.verdict is None else change.verdict.value,
        action=_action(change, because),
        reason=change.reason,
        old=letters_in(change.old),
        new=letters_in(change.new),
        details=_details(change, tolerances),
        because=lowered,
        head={name: getattr(own.head, name) for name in ("profile", "engine", "suite", "model")},
        line={**answer, LOWERED: lowered},
        key=key,
    )


def missing_of(snapshot: SnapshotAssertion, subject: Subject) -> str | None:
    """What is said where nothing is accepted yet of the case of ``snapshot``; None where something is."""
    own = cast(CaseSnapshotExtension, snapshot.extension)
    if own.stored_text() is not None:
        return None
    file = shown(own.head.file(own.snapshots))
    return f"{subject.case.location}: snapshot: no accepted answer of {subject.engine_label} yet, in {file}"


def forbid_writing(snapshot: SnapshotAssertion) -> None:
    """Let a comparison with ``snapshot`` compare only, whatever the command line says."""
    snapshot.update_snapshots = snapshot.update_new_snapshots_only = False


def refusal(update: SnapshotUpdate, *, expected: str, again: str) -> str:
    """The message of a test whose snapshot is not written; ``again`` is the command that runs just it."""
    kept = f"kept: {update.file}"
    if update.verdict == Verdict.ERROR:
        return f"{update.place}: {update.case}, {update.subject}: {update.reason}\n{kept}\nrun again: {again}"
    return "\n".join(
        (
            f"{update.place}: snapshot: {update.verdict}, so not written",
            f"  {update.case}, {update.subject}",
            "",
            f"  - {update.reason}",
            *(f"  - {line}" for line in update.details),
            "",
            *distributions(update, expected=expected),
            "",
            kept,
            f"to accept it all the same: {again} --snapshot-update {OPTION} 'REASON'",
        )
    )


class SnapshotSection:
    """Hooks for the process that reports to a person: writes at the end what tests accepted, and tells it."""

    def __init__(self, snapshots: Path, store: RecordingStore) -> None:
        """With nothing to write yet."""
        self._snapshots, self._store = snapshots, store
        self._updates: dict[str, SnapshotUpdate] = {}  # by test
        self._failed: list[str] = []

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note what a test did with its snapshot, before its facts are made flat for JUnit."""
        if (update := _reported(report)) is not None:
            self._updates[report.nodeid] = update

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write each file once, after an interrupt, too: with thousands of cases it takes a while."""
        by_file: dict[str, dict[str, SnapshotUpdate]] = {}
        for test, update in self._updates.items():
            if update.action in (Action.WRITTEN, Action.NEW):
                by_file.setdefault(update.file, {})[test] = update
        for own in by_file.values():
            try:
                self._write(list(own.values()))
            except HarnessError as error:
                self._failed.append(str(error))
                self._updates |= {test: _unwritten(one) for test, one in own.items()}
                if session.exitstatus == pytest.ExitCode.OK:
                    session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _write(self, own: Sequence[SnapshotUpdate]) -> None:
        recording = self._store.get(own[-1].key)
        head = AcceptedSuite(**own[-1].head, fingerprint=recording.fingerprint if recording else {})
        try:
            put_cases(self._snapshots, head, {one.case: AcceptedCase(**one.line) for one in own})
        except OSError as error:
            raise disk_error("write", head.file(self._snapshots), error) from error

    @pytest.hookimpl(tryfirst=True)
    def pytest_terminal_summary(self, terminalreporter: TerminalReporter) -> None:
        """Tell it."""
        if not self._updates:
            return
        terminalreporter.section("snapshots", sep="=")
        for failure in self._failed:
            terminalreporter.write_line(failure, red=True)
        terminalreporter.write("".join(f"{line}\n" for line in update_lines(self._updates.values())))


def _reported(report: pytest.TestReport) -> SnapshotUpdate | None:
    properties = dict(report.user_properties)
    found = properties.get(SNAPSHOT)
    if isinstance(found, Mapping):
        if report.when == "call" or (report.when == "setup" and report.failed):
            update = SnapshotUpdate.from_json(found)
            return _unwritten(update) if report.failed and update.action is not Action.REFUSED else update
        return None
    facts = properties.get(PROPERTY)
    if report.when == "setup" and report.failed and isinstance(facts, Mapping):
        summary = facts["summary"]
        if summary["check"] == "snapshot":  # the engine could not answer, so that nothing was decided
            return SnapshotUpdate(
                case=summary["case"],
                place=summary["place"],
                subject=f"{summary['profile']}-{summary['engine']}",
                profile=summary["profile"],
                verdict=Verdict.ERROR.value,
                action=Action.REFUSED,
                reason=_first_line(report),
            )
    return None


def _first_line(report: pytest.TestReport) -> str:
    """What went wrong in setting up a test, on one line."""
    crash = getattr(report.longrepr, "reprcrash", None)
    text = report.longreprtext if crash is None else str(crash.message)
    ours = f"{EngineError.__module__}.{EngineError.__qualname__}: "
    return text.removeprefix(ours).partition("\n")[0][:_REASON_CHARACTERS]


def _unwritten(update: SnapshotUpdate) -> SnapshotUpdate:
    return replace(update, action=Action.REFUSED, reason="the file could not be written; why stands above")


def _action(change: SnapshotChange, because: str | None) -> Action:
    damaged = change.verdict is not None and change.old is None
    if change.verdict is Verdict.ERROR or damaged or (change.lowers and because is None):
        return Action.REFUSED
    if change.verdict is None:
        return Action.NEW
    return Action.WRITTEN if change.differs else Action.KEPT


def _details(change: SnapshotChange, tolerances: Tolerances) -> tuple[str, ...]:
    """How far it moved, and what else differs: the letters' distributions are shown as such."""
    if change.verdict is Verdict.ERROR or not change.differences:
        return ()
    moved = "" if change.share is None else f"{change.share}; allowed: {tolerances.snapshot:.3g}"
    odds = "" if change.odds is None else str(change.odds)
    others = (line for line in change.differences if not line.startswith(("letters.", "top:")))
    return tuple(filter(None, (*rendered_otherwise(change.old, change.new), moved, odds, *others)))
