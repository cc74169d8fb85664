"""How many log-probabilities a server gives: asked, never assumed. Standard library only."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import NamedTuple

from harness.engines.api_server.client import Reply

__all__ = ["TopLimit", "largest_accepted"]


class TopLimit(NamedTuple):
    """The largest number of entries that was accepted, and a word on it where it is not the one wanted."""

    most: int
    note: str


def largest_accepted(
    ask: Callable[[int], Reply], wanted: int, *, refused: Collection[int]
) -> tuple[TopLimit, Reply]:
    """The largest count up to ``wanted`` that ``ask`` is not refused, by bisection, with its reply.

    ``refused`` are the statuses by which a server says that a count is too large. Where even 1 is refused, or
    the reply is another failure, that reply is returned, for the caller to judge.
    """
    first = ask(wanted)
    if wanted <= 1 or first.status not in refused:
        return TopLimit(wanted, ""), first
    low, found = 1, ask(1)
    if not found.ok:
        # It is not the number that it refuses; what it said first is as good a reason.
        return TopLimit(1, ""), found
    high = wanted
    while high - low > 1:
        middle = (low + high) // 2
        reply = ask(middle)
        if reply.ok:
            low, found = middle, reply
        else:
            high = middle
    note = (
        f"the server answered top_logprobs {wanted} with status {first.status} ({first.message}); "
        f"{low} is the most that it took"
    )
    return TopLimit(low, note), found
