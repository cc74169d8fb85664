"""From pytest's reports to the table at the end, and to the full rows that may go.

What a test knows of its subject travels as a user property, so it arrives from pytest-xdist's workers too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import pytest

from harness.reports.refusals import Refusal, Refusals
from harness.reports.summary import CheckSummary, Status, Tally

__all__ = [
    "AGAIN",
    "BULK",
    "NOT_ACCEPTED",
    "OURS",
    "PROPERTY",
    "SNAPSHOT",
    "BulkFacts",
    "Outcomes",
    "TestFacts",
]

PROPERTY = "vlm-harness"
"""The user property in which a test's `TestFacts` travel, from pytest-xdist's workers too."""

BULK = "vlm-harness-bulk"
"""The user property in which the `BulkFacts` of a test of a whole suite travel likewise."""

OURS = "vlm_harness_error"
"""What is set on the report of a test that ended in an error of the harness, whatever the test is about."""

AGAIN = "\nrun again: "
"""Stands before the command by which a test's error is met again; what comes before it is the case's."""

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
        # Field by field: asdict copies what is below as well, which of ten thousand cases takes a minute.
        return {
            "summary": self.summary.to_json(),
            "rows": self.rows,
            "done_with_rows": self.done_with_rows,
            "refusal": None if self.refusal is None else asdict(self.refusal),
        }


@dataclass(frozen=True, slots=True)
class BulkFacts:
    """What a test of a whole suite found: its checks by profile, how many of them want an accepted answer.

    ``kept`` recordings have full rows for a failure; ``refusals`` are by engine, with their number of checks.
    """

    tallies: list[Tally]
    unaccepted: int
    kept: int
    refusals: Mapping[str, tuple[int, Refusal]]

    def to_json(self) -> dict[str, Any]:
        """As plain JSON."""
        refusals = {engine: [count, asdict(one)] for engine, (count, one) in self.refusals.items()}
        tallies = [tally.to_json() for tally in self.tallies]
        return {"tallies": tallies, "unaccepted": self.unaccepted, "kept": self.kept, "refusals": refusals}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> BulkFacts:
        """The inverse of `to_json`."""
        refusals = {engine: (count, Refusal(**one)) for engine, (count, one) in data["refusals"].items()}
        tallies = list(map(Tally.from_json, data["tallies"]))
        return cls(tallies, data["unaccepted"], data["kept"], refusals)


@dataclass(slots=True)
class Outcomes:
    """Takes the reports of one run, in pytest's main process.

    ``refused`` are the ids of the tests that some engine of ``refusals`` has kept from running,
    ``unaccepted`` those of tests that failed since nothing is accepted yet, and ``repeated`` those of tests
    that have an error which another test has told. ``bulk`` are those of whole suites.
    """

    summaries: list[CheckSummary] = field(default_factory=list)
    refusals: Refusals = field(default_factory=Refusals)
    refused: set[str] = field(default_factory=set)
    unaccepted: set[str] = field(default_factory=set)
    repeated: set[str] = field(default_factory=set)
    bulk: list[BulkFacts] = field(default_factory=list)
    _told: dict[str, int] = field(default_factory=dict)  # by what is told, how many tests say it
    _rows: dict[str, list[str]] = field(default_factory=dict)
    _done: set[str] = field(default_factory=set)
    _wanted: set[str] = field(default_factory=set)

    def take(self, report: pytest.TestReport) -> None:
        """Note how a test of the suite ended; other reports are passed over."""
        properties = dict(report.user_properties)
        facts, status = properties.get(PROPERTY), _status(report)
        if status is not None and isinstance(whole := properties.get(BULK), Mapping):
            self.bulk.append(facts_of_all := BulkFacts.from_json(whole))
            for engine, (count, refusal) in facts_of_all.refusals.items():
                self.refusals.take(engine, refusal, tests=count)
        if not isinstance(facts, Mapping) or status is None:
            if status is not None and vars(report).get(OURS):
                self._note(report)
            return
        summary = replace(CheckSummary.from_json(facts["summary"]), status=status)
        self.summaries.append(summary)
        if summary.refused:
            self.refused.add(report.nodeid)
            told = facts["refusal"]
            self.refusals.take(summary.refused, None if told is None else Refusal(**told))
        elif status in (Status.ERROR, Status.FAILED):
            self._note(report)
        rows: Mapping[str, list[str]] = facts["rows"]
        self._rows.update(rows)
        if NOT_ACCEPTED in dict(report.user_properties):
            self.unaccepted.add(report.nodeid)  # which says nothing of the answer
        elif status not in (Status.PASSED, Status.KNOWN):
            self._wanted.update(rows)
        elif facts["done_with_rows"]:
            self._done.update(rows)

    def _note(self, report: pytest.TestReport) -> None:
        """Note what a test tells, and whether another one has told it."""
        told = str(report.longrepr).partition(AGAIN)[0]  # longreprtext begins with a worker of pytest-xdist
        self._told[told] = self._told.get(told, 0) + 1
        if self._told[told] > 1:
            self.repeated.add(report.nodeid)

    @property
    def tallies(self) -> list[Tally]:
        """Those of whole suites."""
        return [tally for facts in self.bulk for tally in facts.tallies]

    @property
    def without_accepted(self) -> int:
        """How many checks failed since nothing is accepted yet."""
        return len(self.unaccepted) + sum(facts.unaccepted for facts in self.bulk)

    def several_of_one(self) -> Iterator[str]:
        """A line for each reason that several tests have, of which one has told it."""
        for told, count in self._told.items():
            if count > 1:
                head = ": ".join(told.partition("\n")[0].split(": ")[:3])
                yield f"{count} tests for one reason, told once: {head}"

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
