"""Fixtures of the suite: what a test function may ask for beside its ``subject``."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import pytest
from syrupy.assertion import SnapshotAssertion

from harness.checks.agreement import Agreement
from harness.checks.result import Result
from harness.checks.same_question import SameQuestion
from harness.checks.tolerances import Tolerances
from harness.engines.contract import Json, Row
from harness.errors import CheckFailed, EngineError, ErrorKind, GateError
from harness.plugin.bulk import BULK_RUN, SuiteFound
from harness.plugin.explaining import explain_command
from harness.plugin.gate_tests import GATE, SuiteGate, tell
from harness.plugin.run import RUN, Run, run_again
from harness.recordings.store import Recording
from harness.reports.failure import render_failure
from harness.reports.outcomes import AGAIN, BULK, NOT_ACCEPTED, SNAPSHOT
from harness.reports.token_texts import token_texts
from harness.scoring.subjects import Subject
from harness.snapshots.extension import compared_with
from harness.snapshots.files import read_case
from harness.snapshots.told import Action
from harness.snapshots.update import forbid_writing, missing_of, refusal, update_of
from harness.verdicts.verdict import Verdict

__all__ = [
    "AcceptedAnswer",
    "Verify",
    "accepted",
    "agreement",
    "recording",
    "rows",
    "suite_found",
    "suite_gate",
    "tolerances",
    "verify",
]

_T = TypeVar("_T")

Verify = Callable[[Result], None]
"""Takes a check's result: keeps it for the reports, and raises `CheckFailed` if there are findings."""


@pytest.fixture
def recording(subject: Subject, request: pytest.FixtureRequest) -> Recording:
    """What the subject's engine answered. An engine that could not answer makes this test an ERROR."""
    __tracebackhide__ = True
    return _answered(request, subject, lambda run, one: run.scoring.recording(one))


@pytest.fixture
def agreement(subject: Subject, request: pytest.FixtureRequest) -> Agreement:
    """The subject's recording beside its reference's. An ERROR, by its id, if either could not answer."""
    __tracebackhide__ = True
    for either in (subject, subject.reference()):
        _answered(request, either, lambda run, one: run.scoring.recording(one))
    return _answered(request, subject, lambda run, one: run.scoring.agreement(one.reference(), one))


@pytest.fixture
def rows(subject: Subject, request: pytest.FixtureRequest) -> dict[str, Row]:
    """The full rows [V] by path, as far as they are still kept; usually only in the run that made them."""
    return request.config.stash[RUN].scoring.rows(subject)


@pytest.fixture
def tolerances(subject: Subject, request: pytest.FixtureRequest) -> Tolerances:
    """The limits for this subject: by its noise floor or the dtypes in use, then profile, suite and case.

    A profile that asks for a noise floor where there is none makes the test an ERROR.
    """
    compares = "agreement" in request.fixturenames
    agreement = request.getfixturevalue("agreement") if compares else None
    return _answered(request, subject, lambda run, one: run.tolerances(one, agreement))


@pytest.fixture
def verify(subject: Subject, request: pytest.FixtureRequest) -> Verify:
    """Judge a check's result."""
    run = request.config.stash[RUN]

    def verify(result: Result) -> None:
        __tracebackhide__ = True
        run.keep(request.node, subject, result)
        if result:
            return
        # A large file, and of use for ids of prompts only.
        about = (subject.reference(), subject) if isinstance(result, SameQuestion) else ()
        raise CheckFailed(
            render_failure(
                result,
                location=str(subject.case.location),
                recordings=run.recordings_of(subject, result),
                again=run_again(request.node),
                explain=explain_command(request.config, run, subject),
                tokens=[token_texts(one.engine.settings.model) for one in about],
            )
        )

    return verify


class AcceptedAnswer(NamedTuple):
    """What is to be kept of an answer, and the snapshot that it is compared with within tolerance.

    ``refused`` says why ``--snapshot-update`` may not write this answer, or that nothing is accepted yet and
    nothing is to be written; else it is None. ``taken`` is an answer that is written at the end of the run.
    """

    answer: dict[str, Json]
    snapshot: SnapshotAssertion
    refused: str | None = None
    taken: bool = False

    def require_allowed(self) -> None:
        """Raise `CheckFailed` where an update is refused, or there is nothing to compare with."""
        __tracebackhide__ = True
        if self.refused is not None:
            raise CheckFailed(self.refused)


@pytest.fixture
def accepted(
    subject: Subject,
    recording: Recording,
    tolerances: Tolerances,
    snapshot: SnapshotAssertion,
    request: pytest.FixtureRequest,
) -> AcceptedAnswer:
    """The subject's answer and its accepted one, a line of a file in the folder of snapshots.

    With ``--snapshot-update`` an answer that is none makes this test an ERROR, and one that loses a right
    answer is not written unless that was asked for; the line stays as it is.
    """
    __tracebackhide__ = True
    run = request.config.stash[RUN]
    head, answer = run.accepted_file(subject, recording), run.answer(subject, recording)
    name, within = subject.case.name, tolerances.snapshot
    compared = compared_with(snapshot, run.snapshots_folder, head, name, within)
    because: str | None = request.config.getoption("harness_accept_regressions")
    try:
        read_case(head.file(run.snapshots_folder), name)
    except GateError as error:  # the same of each case whose line cannot be read, and so told once
        return AcceptedAnswer(answer, compared, str(error))
    update = update_of(compared, answer, subject, tolerances, because=because, key=recording.key)
    if update is None:
        missing = missing_of(compared, subject)
        if missing is not None:
            request.node.user_properties.append((NOT_ACCEPTED, missing))
        return AcceptedAnswer(answer, compared, missing)
    request.node.user_properties.append((SNAPSHOT, update.to_json()))
    forbid_writing(compared)
    if update.action is not Action.REFUSED:
        return AcceptedAnswer(answer, compared, taken=update.action is not Action.KEPT)
    refused = refusal(update, expected=subject.case.expect, again=run_again(request.node))
    if update.verdict == Verdict.ERROR:
        raise EngineError(ErrorKind.FAILED, refused)
    return AcceptedAnswer(answer, compared, refused)


@pytest.fixture
def suite_gate(gate_suite: str, request: pytest.FixtureRequest) -> SuiteGate:
    """One suite of the comparison that ``--gate`` asks for.

    An ERROR where a case has no answer, and where the two sides cannot be compared.
    """
    __tracebackhide__ = True
    gate = request.config.stash[GATE]
    tell(request.node, gate, gate_suite)
    return gate.suite(gate_suite)


@pytest.fixture
def suite_found(bulk_suite: str, request: pytest.FixtureRequest) -> SuiteFound:
    """What all checks on all cases of a suite found. An ERROR where they lack nothing but answers."""
    __tracebackhide__ = True
    found = request.config.stash[BULK_RUN].found(bulk_suite)
    request.node.user_properties.append((BULK, found.facts().to_json()))
    found.require_answers()
    return found


def _answered(request: pytest.FixtureRequest, subject: Subject, ask: Callable[[Run, Subject], _T]) -> _T:
    """What ``ask`` finds out of ``subject``, which heads the error where its engine could not answer."""
    __tracebackhide__ = True
    try:
        return ask(request.config.stash[RUN], subject)
    except EngineError as error:
        raise EngineError(
            error.kind,
            f"{subject.case.location}: {subject.id}: {error.message}{AGAIN}{run_again(request.node)}",
            log=error.log,
            log_tail=error.log_tail,
        ) from error
