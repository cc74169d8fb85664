"""The checks of the suite's tests as a table, for those who make them without a test for each."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Final, NamedTuple

from harness.checks.agreement import Agreement, check_agreement
from harness.checks.expected_letter import check_expected_letter
from harness.checks.result import Result
from harness.checks.same_question import check_question
from harness.checks.stages import check_stages
from harness.checks.tolerances import Tolerances
from harness.checks.top_k import check_top_k
from harness.errors import GateError
from harness.plugin.run import Run
from harness.recordings.store import Recording
from harness.scoring.subjects import Subject
from harness.snapshots.accepted import AcceptedSuite
from harness.snapshots.answers import differences
from harness.snapshots.extension import stored_text

__all__ = ["CHECKS", "COMPARED", "Check", "Given"]


class Given:
    """What the fixtures of the same names give to a subject's tests; raises as they do."""

    def __init__(self, run: Run, subject: Subject, *, place: str) -> None:
        """Asks for nothing yet. ``place`` is the case's."""
        self.run, self.subject, self.case, self.place = run, subject, subject.case, place

    @cached_property
    def recording(self) -> Recording:
        """As the fixture."""
        return self.run.scoring.recording(self.subject)

    @cached_property
    def device(self) -> str:
        """On what the subject's engine computed, in a line."""
        return self.run.device(self.subject)

    @cached_property
    def agreement(self) -> Agreement:
        """As the fixture."""
        return self.run.scoring.agreement(self.subject.reference(), self.subject)

    @cached_property
    def tolerances(self) -> Tolerances:
        """As the fixture, without a comparison."""
        return self.run.tolerances(self.subject)


class Check(NamedTuple):
    """A test of the suite: for which subjects it is, and what it checks of one."""

    selection: str
    of: Callable[[Given], Result | str | None]


def _top_k(given: Given) -> Result:
    asked, rows = given.subject.engine.settings.top_k, given.run.scoring.rows(given.subject)
    return check_top_k(given.recording, given.case.letters, given.tolerances, asked=asked, rows=rows)


class Unreadable(str):
    """Why accepted answers cannot be read; the same of each case of a file that has no line."""

    __slots__ = ()


def _snapshot(given: Given) -> str | None:
    """What differs from the accepted answer, '' for nothing; None where nothing is accepted yet."""
    subject, recording = given.subject, given.recording
    head = AcceptedSuite(profile=subject.profile.name, engine=subject.engine.name, suite=given.case.suite)
    try:
        stored = stored_text(head.file(given.run.snapshots_folder), given.case.name)
    except GateError as error:
        return Unreadable("; ".join(str(error).splitlines()))
    if stored is None:
        return None
    answer = given.run.answer(subject, recording)
    return "; ".join(differences(stored, json.dumps(answer), given.tolerances.snapshot))


CHECKS: Final[Mapping[str, Check]] = {
    "test_expected_letter": Check("every", lambda given: check_expected_letter(given.recording, given.case)),
    "test_same_question": Check("compared", lambda given: check_question(given.agreement)),
    "test_engines_agree": Check(
        "compared",
        lambda given: check_agreement(given.agreement, given.run.tolerances(given.subject, given.agreement)),
    ),
    "test_stages_consistent": Check(
        "staged", lambda given: check_stages(given.recording, given.case.letters, given.tolerances)
    ),
    "test_top_k_matches_full": Check("top-k", _top_k),
    "test_matches_snapshot": Check("every", _snapshot),
}
"""By the names of the suite's tests, in the order of the table's columns."""

COMPARED: Final = tuple(name for name, check in CHECKS.items() if check.selection == "compared")
