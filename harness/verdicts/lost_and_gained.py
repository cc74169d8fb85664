"""Which right answers were lost and gained, by name, by tag and by letter."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from harness.verdicts.case_judging import Look
from harness.verdicts.paired_accuracy import AccuracyChange, LostAndGained, accuracy_change

__all__ = ["NOTHING", "lost_and_gained"]

NOTHING = "nothing"
"""An answer that was never reached."""


def lost_and_gained(looks: Sequence[Look]) -> LostAndGained | None:
    """That of ``looks``, None where no case's answers are known on both sides."""
    known = [look for look in looks if None not in look.right]
    if not known:
        return None
    tagged: dict[str, list[Look]] = defaultdict(list)
    for look in known:
        for tag in look.change.tags:
            tagged[tag].append(look)
    answers = [(a or NOTHING, b or NOTHING) for a, b in (look.answers for look in known)]
    return LostAndGained(
        change=_change(known),
        lost=tuple(look.change.case for look in known if look.right[0] and not look.right[1]),
        gained=tuple(look.change.case for look in known if look.right[1] and not look.right[0]),
        tags={tag: _change(tagged[tag]) for tag in sorted(tagged)},
        letters=dict(Counter((a, b) for a, b in answers if a != b).most_common()),
    )


def _change(looks: Sequence[Look]) -> AccuracyChange:
    before, after = ([bool(look.right[side]) for look in looks] for side in (0, 1))
    return accuracy_change(before, after, [look.change.cluster for look in looks])
