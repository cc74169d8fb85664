"""Which right answers were lost and gained, by name, by tag and by letter."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

from harness.engines.contract import Request
from harness.verdicts.paired_accuracy import AccuracyChange, LostAndGained, accuracy_change
from harness.verdicts.verdict import CaseVerdict

__all__ = ["NOTHING", "lost_and_gained"]

NOTHING = "nothing"
"""An answer that was never reached."""
THE_TEXT = "the text"
"""An answer that is the accepted text."""


def lost_and_gained(cases: Sequence[CaseVerdict]) -> LostAndGained | None:
    """That of ``cases``, None where no case's answers are known on both sides."""
    known = [case for case in cases if None not in case.right]
    if not known:
        return None
    answers = [(_answer(case, case.answers[0]), _answer(case, case.answers[1])) for case in known]
    return LostAndGained(
        change=_change(known),
        lost=tuple(case.case for case in known if case.right[0] and not case.right[1]),
        gained=tuple(case.case for case in known if case.right[1] and not case.right[0]),
        tags=_grouped(known, lambda case: case.tags),
        expected=_grouped(known, lambda case: (_answer(case, case.expect),)),
        letters=dict(Counter((a, b) for a, b in answers if a != b).most_common()),
    )


def _answer(case: CaseVerdict, answer: str | None) -> str:
    """A letter, or what is told of a text in a list of many: each case has one of its own."""
    return THE_TEXT if answer == case.expect and Request.ELSE in case.letters else answer or NOTHING


def _grouped(
    cases: Sequence[CaseVerdict], names: Callable[[CaseVerdict], Sequence[str]]
) -> dict[str, AccuracyChange]:
    groups: dict[str, list[CaseVerdict]] = defaultdict(list)
    for case in cases:
        for name in names(case):
            groups[name].append(case)
    return {name: _change(groups[name]) for name in sorted(groups)}


def _change(cases: Sequence[CaseVerdict]) -> AccuracyChange:
    before, after = ([bool(case.right[side]) for case in cases] for side in (0, 1))
    return accuracy_change(before, after, [case.cluster or case.case for case in cases])
