"""Shards: the cases of one command, dealt to several processes or machines.

Whole batches are dealt, cut from the cases in the order in which one process would ask them all. So each case
is asked in the company that it has there, and an engine whose last digits depend on the company of a case
answers the same. Every process deals for itself: who is given the same cases comes to the same shards.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Hashable, Iterable
from dataclasses import replace
from typing import NamedTuple

from harness.cases.profiles import Profile
from harness.errors import EngineError, HarnessError
from harness.scoring.subjects import Subject, request_for

__all__ = ["Shard", "dealt", "parse_shard"]


class Shard(NamedTuple):
    """One of ``shards`` shares of the cases; ``number`` is from 1."""

    number: int
    shards: int

    def __str__(self) -> str:
        """As it is written in a command."""
        return f"{self.number}/{self.shards}"

    @property
    def file_name(self) -> str:
        """Such as ``3-of-8``, for names of files."""
        return f"{self.number}-of-{self.shards}"


def parse_shard(text: str) -> Shard:
    """The shard of a text such as ``3/8``; raises `HarnessError`."""
    found = re.fullmatch(r"([1-9]\d{0,5})/([1-9]\d{0,5})", text)
    if found is None or int(found[1]) > int(found[2]):
        raise HarnessError(f"--shard: found {text!r}; allowed: K/N, the K-th of N shards, from 1/N to N/N")
    return Shard(int(found[1]), int(found[2]))


def dealt(
    subjects: Iterable[Subject], shard: Shard, images: Callable[[Subject], Hashable]
) -> tuple[Subject, ...]:
    """Those of ``subjects``, which are in the order in which they are asked, that ``shard`` has.

    ``images`` gives the content of a subject's images, or raises `EngineError`. A case goes to one shard with
    all engines of its profile, so that it can be compared there: what is dealt is the least number of cases
    that are whole batches of each engine. Cases of equal content, which are asked once, go together.
    """
    subjects = list(subjects)
    places: dict[str, dict[Hashable, int]] = {}  # by profile and content
    found = []
    for subject in subjects:
        of_profile = places.setdefault(subject.profile.name, {})
        if (content := _content(subject, images)) is None:
            mine = shard.number == 1  # nobody asks it; it is told once, and stands in no batch
        else:
            place = of_profile.setdefault(content, len(of_profile))
            mine = place // _together(subject.profile) % shard.shards == shard.number - 1
        if mine:
            found.append(subject)
    return tuple(found)


def _together(profile: Profile) -> int:
    return math.lcm(*(max(1, engine.settings.batch_size) for engine in profile.engines))


def _content(subject: Subject, images: Callable[[Subject], Hashable]) -> Hashable:
    request = request_for(subject.case, subject.profile)
    try:
        return replace(request, case="", images=()), images(subject)
    except EngineError:
        return None
