"""What all checks on all cases of a suite found: counts, the worst, and what the test of it says."""

from __future__ import annotations

import heapq
import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from harness.checks.result import Result
from harness.errors import CheckFailed, EngineError, ErrorKind
from harness.reports.outcomes import BulkFacts
from harness.reports.refusals import Refusal
from harness.reports.summary import Status, Tally

__all__ = ["SuiteFound", "severity"]

_MOST_TOLD: Final = 10
_MOST_REASONS: Final = 1_000


@dataclass(slots=True)
class SuiteFound:
    """What was found of one suite, by profile: as large for a million cases as for a thousand.

    ``unaccepted`` checks failed since nothing is accepted yet. ``kept`` counts recordings whose full rows
    stay for a failure.
    """

    suite: str
    tallies: dict[str, Tally] = field(default_factory=dict)
    unaccepted: int = 0
    kept: int = 0
    refusals: dict[str, tuple[int, Refusal]] = field(default_factory=dict)
    _worst: list[tuple[float, int, str, str]] = field(default_factory=list)
    _reasons: Counter[str] = field(default_factory=Counter)
    _told: int = 0

    def tell(self, severity: float, text: str, again: str, *, reason: str = "") -> None:
        """Keep a line if it is one of the worst; of one ``reason`` the first stands for all."""
        if reason:
            if reason in self._reasons or len(self._reasons) < _MOST_REASONS:
                self._reasons[reason] += 1
            if self._reasons[reason] > 1:
                return
        self._told += 1
        entry = (severity, -self._told, text, again)  # of equals the first
        (heapq.heappush if len(self._worst) < _MOST_TOLD else heapq.heappushpop)(self._worst, entry)

    @property
    def bad(self) -> int:
        """Checks that failed or had no answer."""
        return sum(self.count(status) for status in (Status.FAILED, Status.ERROR))

    def count(self, status: Status) -> int:
        """Checks that ended so."""
        return sum(tally.count(status) for tally in self.tallies.values())

    def require_answers(self) -> None:
        """Raise `EngineError` where some have no answer and no other fails."""
        __tracebackhide__ = True
        if self.count(Status.ERROR) and not self.count(Status.FAILED):
            raise EngineError(ErrorKind.FAILED, self.text)

    def require(self) -> None:
        """Raise `CheckFailed` where a check failed, with how many did and the worst of them."""
        __tracebackhide__ = True
        if self.count(Status.FAILED):
            raise CheckFailed(self.text)

    @property
    def text(self) -> str:
        """How many checks did not pass, the worst of them with their places, and how to see the first."""
        every = sum(tally.checks for tally in self.tallies.values())
        failed, errors = self.count(Status.FAILED), self.count(Status.ERROR)
        parts = [f"{failed} of {every} checks failed"] if failed else []
        parts += [f"{errors} of {every} without an answer"] if errors else []
        parts += [f"{self.unaccepted} for want of an accepted answer"] if self.unaccepted else []
        worst = sorted(self._worst, reverse=True)
        lines = [f"{self.suite}: {'; '.join(parts)}"]
        lines += [f"  - {text}" for _, _, text, _ in worst]
        if (more := self.bad - self.unaccepted - len(worst)) > 0:
            lines.append(f"  and {more} more")
        lines += [
            f"    {count} for one reason: {reason}" for reason, count in self._reasons.items() if count > 1
        ]
        if worst:
            lines.append(f"the first of them alone: {worst[0][3]}")
        return "\n".join(lines)

    def facts(self) -> BulkFacts:
        """What pytest's main process is to know."""
        return BulkFacts(list(self.tallies.values()), self.unaccepted, self.kept, self.refusals)


def severity(result: Result | str | None) -> float:
    """How many times its limit a result is; infinite where it is no matter of degree."""
    if not isinstance(result, Result):
        return 1.0
    found = [
        finding.value / finding.limit if finding.value is not None and finding.limit else math.inf
        for finding in result.findings
    ]
    return max((math.inf if math.isnan(each) else each for each in found), default=math.inf)
