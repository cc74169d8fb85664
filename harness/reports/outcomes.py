"""From pytest's reports to the table at the end, and to the full rows that may go.

What a test knows of its subject travels as a user property, so it arrives from pytest-xdist's workers too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import pytest

from harness.reports.refusals import Refusal, Refusals
from harness.reports.summary import CheckSummary, Status

__all__ = ["NOT_ACCEPTED", "PROPERTY", "SNAPSHOT", "Outcomes", "TestFacts"]

PROPERTY = "vlm-harness"
"""The user property in which a test's `TestFacts` travel, from pytest-xdist's workers too."""

SNAPSHOT = "vlm-harness-snapshot"
"""The user property in which what was done with a snapshot travels likewise."""

NOT_ACCEPTED = "vlm-harness-not-accepted"
"""The user property of a test whose case has no accepted answer yet; its value says so."""


@dataclass(slots=True, kw_only=True)
class TestFacts:
    """What is known of a test of the suite before pytest says how it ended.

    ``rows`` maps the keys of the recordings it is about to their paths; ``done_with_rows`` is whether no
    later test will want them once this one has passed. ``refusal`` tells of the summary's refused engine, in
    the first test of a process that asks it.
    """

    __test__ = False

    summary: CheckSummary
    rows: dict[str, list[str]] = field(default_factory=dict)
    done_with_rows: bool = False
    refusal: Refusal | None = None

    def to_json(self) -> dict[str, Any]:
        """As plain JSON."""
        return {**asdict(self), "summary": self.summary.to_json()}


@dataclass(slots=True)
class Outcomes:
    """Takes the reports of one run, in pytest's main process.

    ``refused`` are the ids of the tests that some engine of ``refusals`` has kept from running, and
    ``unaccepted`` those of tests that failed since nothing is accepted yet.
    """

    summaries: list[CheckSummary] = field(default_factory=list)
    refusals: Refusals = field(default_factory=Refusals)
    refused: set[str] = field(default_factory=set)
    unaccepted: set[str] = field(default_factory=set)
    _rows: dict[str, list[str]] = field(default_factory=dict)
    _done: set[str] = field(default_factory=set)
    _wanted: set[str] = field(default_factory=set)

    def take(self, report: pytest.TestReport) -> None:
        """Note how a test of the suite ended; other reports are passed over."""
        facts = dict(report.user_properties).get(PROPERTY)
        status = _status(report)
        if not isinstance(facts, Mapping) or status is None:
            return
        summary = replace(CheckSummary.from_json(facts["summary"]), status=status)
        self.summaries.append(summary)
        if summary.refused:
            self.refused.add(report.nodeid)
            told = facts["refusal"]
            self.refusals.take(summary.refused, None if told is None else Refusal(**told))
        rows: Mapping[str, list[str]] = facts["rows"]
        self._rows.update(rows)
        if NOT_ACCEPTED in dict(report.user_properties):
            self.unaccepted.add(report.nodeid)  # which says nothing of the answer
        elif status not in (Status.PASSED, Status.KNOWN):
            self._wanted.update(rows)
        elif facts["done_with_rows"]:
            self._done.update(rows)

    def rows_to_drop(self) -> Iterator[tuple[str, list[str]]]:
        """Keys and paths of the full rows that nothing needs any more: all their tests passed."""
        for key in sorted(self._done - self._wanted):
            yield key, self._rows[key]

    def rows_wanted(self) -> list[str]:
        """Keys of recordings whose full rows are to stay because a test failed."""
        return sorted(self._wanted)


def _status(report: pytest.TestReport) -> Status | None:
    """How the test ended, None where this phase does not decide it."""
    if report.when != "call":
        return Status.ERROR if report.failed else None
    if report.passed:
        return Status.PASSED
    if report.failed:
        return Status.FAILED
    return Status.KNOWN if hasattr(report, "wasxfail") else None
