"""Fixtures of the suite: what a test function may ask for beside its ``subject``."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from harness.checks.agreement import Agreement
from harness.checks.result import Result
from harness.engines.contract import Row
from harness.errors import CheckFailed, EngineError
from harness.recordings import Recording
from harness.reports.failure import render_failure
from harness.run import RUN, Run
from harness.subjects import Subject
from harness.tolerances import Tolerances, resolve

__all__ = ["Verify", "agreement", "recording", "rows", "tolerances", "verify"]

_T = TypeVar("_T")

Verify = Callable[[Result], None]
"""Takes a check's result: keeps it for the reports, and raises `CheckFailed` if there are findings."""


@pytest.fixture
def recording(subject: Subject, request: pytest.FixtureRequest) -> Recording:
    """What the subject's engine answered. An engine that could not answer makes this test an ERROR."""
    __tracebackhide__ = True
    return _answered(request, lambda run: run.scoring.recording(subject))


@pytest.fixture
def agreement(subject: Subject, request: pytest.FixtureRequest) -> Agreement:
    """The subject's recording beside its reference's. An ERROR if either engine could not answer."""
    __tracebackhide__ = True
    return _answered(request, lambda run: run.scoring.agreement(subject))


@pytest.fixture
def rows(subject: Subject, request: pytest.FixtureRequest) -> dict[str, Row]:
    """The full rows [V] by path, as far as they are still kept; usually only in the run that made them."""
    return request.config.stash[RUN].scoring.rows(subject)


@pytest.fixture
def tolerances(subject: Subject, request: pytest.FixtureRequest) -> Tolerances:
    """The limits for this subject: by the dtypes in use, then profile, suite and case."""
    compares = "agreement" in request.fixturenames
    about = [subject, subject.reference()] if compares else [subject]
    dtypes = _answered(request, lambda run: [run.dtype(one) for one in about])
    return resolve(*dtypes, overrides=[subject.profile.tolerances, subject.case.tolerances])


@pytest.fixture
def verify(subject: Subject, request: pytest.FixtureRequest) -> Verify:
    """Judge a check's result."""
    run = request.config.stash[RUN]

    def verify(result: Result) -> None:
        __tracebackhide__ = True
        run.keep(request.node, subject, result)
        if result:
            return
        raise CheckFailed(
            render_failure(
                result,
                location=str(subject.case.location),
                recordings=run.recordings_of(subject, result),
                again=run_again(request),
            )
        )

    return verify


def run_again(request: pytest.FixtureRequest) -> str:
    """The command that runs just this test again, from the folder pytest was started in."""
    config, node = request.config, request.node
    where = Path(node.path)
    if where.is_relative_to(config.rootpath):
        words = ["pytest", node.nodeid]
    else:
        words = ["pytest", "--pyargs", f"harness.suite.{where.stem}::{node.name}"]
    for option in ("cases", "snapshots", "recordings"):
        if (given := config.getoption(f"harness_{option}")) is not None:
            words += [f"--{option}", str(given)]
    if node.get_closest_marker("gpu"):
        words += ["-m", "gpu"]
    return shlex.join(words)


def _answered(request: pytest.FixtureRequest, ask: Callable[[Run], _T]) -> _T:
    __tracebackhide__ = True
    run, subject = request.config.stash[RUN], request.getfixturevalue("subject")
    try:
        return ask(run)
    except EngineError as error:
        raise EngineError(
            error.kind,
            f"{subject.case.location}: {subject.id}: {error.message}\nrun again: {run_again(request)}",
            log=error.log,
            log_tail=error.log_tail,
        ) from error
