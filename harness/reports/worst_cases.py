"""Which cases of a comparison are told, where there is room for a few: the worst ones, and how many more."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.verdicts.verdict import CaseVerdict, Verdict

__all__ = ["MOST", "WorstCases", "one_line", "worst_cases"]

MOST = 10
"""As many as GitHub shows of a step's annotations of one kind, and as one reads."""

# Regressions before errors: errors mostly share one cause, and the count of the rest still names them.
_ORDER = (Verdict.REGRESSION, Verdict.ERROR, Verdict.DRIFT, Verdict.INCONCLUSIVE)
_LONGEST = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class WorstCases:
    """``shown``, the worst first; ``more`` counts by verdict the others that are neither SAME nor NOISE."""

    shown: tuple[CaseVerdict, ...]
    more: Mapping[Verdict, int]

    def rest(self) -> str:
        """Such as 'and 12 more: 8 ERROR, 4 DRIFT'; '' where all are shown."""
        if not self.more:
            return ""
        counts = ", ".join(f"{self.more[verdict]} {verdict}" for verdict in _ORDER if verdict in self.more)
        return f"and {sum(self.more.values())} more: {counts}"


def worst_cases(cases: Sequence[CaseVerdict], *, most: int = MOST) -> WorstCases:
    """At most ``most`` of the cases that are neither SAME nor NOISE.

    REGRESSION first, then ERROR, DRIFT, INCONCLUSIVE; within each those farthest beyond their limit first.
    Of errors with one reason, as where an engine could not be loaded, the first stands for all.
    """
    told = sorted((case for case in cases if case.verdict in _ORDER), key=_severity)
    first = {case.reason: case for case in reversed(told) if case.verdict is Verdict.ERROR}
    shown = [case for case in told if case.verdict is not Verdict.ERROR or first[case.reason] is case][:most]
    more = Counter(case.verdict for case in told)
    more.subtract(case.verdict for case in shown)
    return WorstCases(shown=tuple(shown), more=+more)


def one_line(text: str, *, longest: int = _LONGEST) -> str:
    """Text of any origin on one line, without control characters; cut where it is longer than ``longest``."""
    plain = "".join(character if character.isprintable() else " " for character in text)
    plain = " ".join(plain.split())
    return plain if len(plain) <= longest else f"{plain[: longest - 1]}…"


def _severity(case: CaseVerdict) -> tuple[int, float, str]:
    return _ORDER.index(case.verdict), -_times_its_limit(case), case.case


def _times_its_limit(case: CaseVerdict) -> float:
    if case.largest is None or math.isnan(case.largest) or case.limit <= 0:
        return math.inf
    return case.largest / case.limit
