"""Which right answers two models do not share, for a terminal or a log."""

from __future__ import annotations

from collections.abc import Sequence

from harness.verdicts.paired_accuracy import LostAndGained

__all__ = ["accuracy_lines"]

_MOST = 10


def accuracy_lines(found: LostAndGained) -> list[str]:
    """Lost and gained by name (the first ones), by tag and by letter."""
    lines = [
        f"{title} ({len(names)}): {_few(names)}"
        for title, names in (("lost", found.lost), ("gained", found.gained))
        if names
    ]
    lines += [f"tag {tag}: {one.cases} cases, {one.words}" for tag, one in found.tags.items()]
    changed = [f"{old}→{new} {count}" for (old, new), count in found.letters.items()]
    return [*lines, f"answers that changed: {_few(changed)}"] if changed else lines


def _few(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - _MOST} more" * (len(texts) > _MOST)
    return ", ".join(texts[:_MOST]) + more
